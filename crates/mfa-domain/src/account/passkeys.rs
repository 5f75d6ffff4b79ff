//! Decisions about passkeys: what a registration and an assertion lead to.

use super::data::UnreadableData;
use super::{
    Account, Authenticator, BackupCodes, Claim, CodeRejection, Context, Decision, Draft, Factor,
    PasskeyDevice, PasskeyOffer, PolicyDenial, Verdict, Verification, Verified,
};
use crate::audit::EventKind;
use crate::passkey::{AssertionResponse, CredentialId, PasskeyUser, ResidentKey, UserHandle};
use crate::ports::{Assertion, CredentialRefusal};
use crate::{ChallengeKind, FactorId, Label, Passkey, Reason, Sealed};

/// Whose assertion is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any passkey of the account; the authenticator named the account.
    Anyone,
    /// Any passkey of the account that the challenge names.
    User,
    /// This passkey.
    Factor(FactorId),
}

/// The label of a passkey until its authenticator is known.
pub(crate) const UNNAMED: &str = "Passkey";

impl Account {
    /// The active passkeys, with their factors.
    pub(crate) fn passkeys(&self) -> impl Iterator<Item = (&Factor, &Passkey)> {
        self.active_factors().filter_map(|factor| Some((factor, factor.passkey()?)))
    }

    /// The active passkeys of a relying party. No other can use them.
    pub(crate) fn passkeys_of(&self, rp_id: &str) -> impl Iterator<Item = (&Factor, &Passkey)> {
        self.passkeys().filter(move |(_, passkey)| passkey.rp_id == rp_id)
    }

    /// The ids of active passkeys that a newer version wrote. This one cannot check them, but authenticators must not
    /// forget or overwrite them.
    pub(crate) fn unreadable_passkeys(&self) -> impl Iterator<Item = CredentialId> {
        let unreadable = self.active_factors().filter(|factor| factor.passkey().is_none());
        unreadable.flat_map(|factor| factor.handles().iter().filter_map(CredentialId::from_handle))
    }

    /// Whether a factor has this credential, also one that a newer version wrote.
    pub(crate) fn has_credential(&self, id: &CredentialId) -> bool {
        self.factors.iter().any(|factor| !factor.is_removed() && factor.handles().contains(id.handle()))
    }

    /// The user handle in the options of a pending passkey. Further ones get the same, so that the user has one handle
    /// whichever is confirmed.
    pub(crate) fn offered_user_handle(&self) -> Option<&UserHandle> {
        self.factors.iter().find_map(|factor| Some(&factor.passkey_offer()?.user.handle))
    }

    /// Imports an active passkey. As [`Account::import`].
    ///
    /// # Errors
    /// The [`PolicyDenial`], or unreadable data.
    pub(crate) fn import_passkey(
        &self,
        context: Context<'_>,
        factor: Factor,
        user: &PasskeyUser,
        reason: &Reason,
    ) -> Result<Result<Decision<Factor>, PolicyDenial>, UnreadableData> {
        if factor.passkey().is_some_and(|passkey| self.has_credential(&passkey.credential_id)) {
            return Ok(Err(PolicyDenial::DuplicateCredential));
        }
        let mut decision = match self.import(context, factor, reason) {
            Ok(decision) => decision,
            Err(denial) => return Ok(Err(denial)),
        };
        if self.passkey_user()?.is_none()
            && let Some(delta) = &mut decision.delta
        {
            delta.set_passkey_user(
                self.data_with(Some(user))?,
                user.handle.handle().map_err(|_| UnreadableData)?,
            );
        }
        Ok(Ok(decision))
    }

    /// The pending passkey that a new credential is to confirm, with what the browser was asked for.
    ///
    /// # Errors
    /// The [`CodeRejection`] of a credential that is not looked at. Nothing changes.
    pub(crate) fn awaiting_passkey(
        &self,
        context: Context<'_>,
        id: FactorId,
    ) -> Result<(&Factor, &PasskeyOffer), CodeRejection> {
        let factor = self.known(context, id).map_err(|_| CodeRejection::UnknownFactor)?;
        if factor.is_active() {
            return Err(CodeRejection::AlreadyActive);
        }
        self.check_standing(context, &Claim::Response(&ChallengeKind::WebauthnRegistration))?;
        let offer = factor.passkey_offer().ok_or(CodeRejection::Malformed)?;
        Ok((factor, offer))
    }

    /// Decides about a new credential, which has been checked against its challenge, and stores how authenticators now
    /// know the user. `model` is the public name of its authenticator, and the public key is sealed for the factor. As
    /// [`Account::confirm`], but a refused credential costs no attempt: there is nothing to guess.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(crate) fn register_passkey(
        &self,
        context: Context<'_>,
        id: FactorId,
        checked: Result<(Passkey, Sealed), CredentialRefusal>,
        model: Option<&str>,
        first_codes: Option<BackupCodes>,
    ) -> Result<Decision<Verdict<Factor>>, UnreadableData> {
        let (factor, offer) = match self.awaiting_passkey(context, id) {
            Ok(awaiting) => awaiting,
            Err(rejection) => return Ok(Decision::without_change(Verdict::Rejected(rejection))),
        };
        let known = self.passkey_user()?;
        let admitted =
            |(passkey, public_key)| Ok((self.admit_passkey(context, passkey, known.as_ref())?, public_key));
        let mut draft = self.draft(context);
        let answer = match checked.and_then(admitted) {
            Ok((passkey, public_key)) => {
                if known.as_ref() != Some(&offer.user) {
                    draft.claim(offer.user.handle.handle().map_err(|_| UnreadableData)?);
                    draft.data(self.data_with(Some(&offer.user))?);
                }
                let registered =
                    Factor { sealed: Some(public_key), ..registered(factor, offer, passkey, model) };
                let active = self.activate(&mut draft, context, registered, first_codes);
                draft.put(active.clone());
                Verdict::Accepted(active)
            }
            Err(refusal) => {
                draft.record(
                    EventKind::CredentialRefused,
                    Some(id),
                    [("reason", refusal.as_str().to_owned())],
                );
                Verdict::Rejected(CodeRejection::Credential(refusal))
            }
        };
        Ok(Decision { answer, delta: draft.finish() })
    }

    /// Checks a new passkey against what the account has and the policy asks for. `known` is the user as authenticators
    /// know them now.
    fn admit_passkey(
        &self,
        context: Context<'_>,
        passkey: Passkey,
        known: Option<&PasskeyUser>,
    ) -> Result<Passkey, CredentialRefusal> {
        if self.has_credential(&passkey.credential_id) {
            return Err(CredentialRefusal::Registered);
        }
        // One with another handle was imported after this one was offered. To authenticators, the user would be two.
        if known.is_some_and(|known| known.handle != passkey.user_handle) {
            return Err(CredentialRefusal::UserHandle);
        }
        let required = context.policies.passkeys.resident_key() == ResidentKey::Required;
        if required && passkey.discoverable == Some(false) {
            return Err(CredentialRefusal::ResidentKey);
        }
        Ok(passkey)
    }

    /// Checks whether a challenge for a passkey of this relying party may begin. `factor` names one; otherwise any will
    /// do, and a user who has none is not told from one who has.
    ///
    /// # Errors
    /// The [`CodeRejection`]. Nothing changes.
    pub(crate) fn admit_passkey_challenge(
        &self,
        context: Context<'_>,
        factor: Option<FactorId>,
        rp_id: &str,
    ) -> Result<(), CodeRejection> {
        if let Some(id) = factor
            && !self.passkeys_of(rp_id).any(|(factor, _)| factor.id == id)
        {
            return Err(CodeRejection::UnknownFactor);
        }
        self.check_standing(context, &Claim::Response(&ChallengeKind::WebauthnAuthentication))
    }

    /// The passkey that a response is of, if it is one that is expected.
    pub(crate) fn passkey_of(
        &self,
        response: &AssertionResponse,
        expected: Expected,
    ) -> Option<(&Factor, &Passkey)> {
        self.passkeys().find(|(factor, passkey)| {
            passkey.credential_id == response.credential_id
                && !matches!(expected, Expected::Factor(id) if id != factor.id)
        })
    }

    /// Decides about an assertion, which has been checked against its challenge and the public key of
    /// [`Account::passkey_of`]. It is accepted while the account is locked, since nothing can be guessed, and not
    /// while it is disabled. A refused one costs no attempt, and is recorded only if its signature was right.
    pub(crate) fn answer_passkey(
        &self,
        context: Context<'_>,
        expected: Expected,
        response: &AssertionResponse,
        checked: Result<Assertion, CredentialRefusal>,
    ) -> Decision<Verdict> {
        if expected == Expected::Anyone && !self.has_credential(&response.credential_id) {
            // It was removed after it led to this account.
            return Decision::without_change(Verdict::Rejected(in_no_account(checked)));
        }
        // One that was just removed, since a passkey without an account has a wrong signature.
        let found = self.passkey_of(response, expected).ok_or(CredentialRefusal::Signature);
        // Not recorded: anyone can cause it, so it would fill the trail, and a commit only for users with passkeys
        // would reveal them.
        let (assertion, (factor, passkey)) = match checked.and_then(|assertion| Ok((assertion, found?))) {
            Ok(checked) => checked,
            Err(refusal) => {
                return Decision::without_change(Verdict::Rejected(CodeRejection::Credential(refusal)));
            }
        };
        // After the signature: whoever submits an id without its key must not learn that it is in an account.
        let claim = Claim::Response(&ChallengeKind::WebauthnAuthentication);
        if let Err(rejection) = self.check_standing(context, &claim) {
            return Decision::without_change(Verdict::Rejected(rejection));
        }
        let mut draft = self.draft(context);
        let answer = match accepted(expected, factor.id, passkey, response, assertion, &mut draft) {
            Ok((passkey, user_verified)) => {
                let verification = Verification::by_passkey(factor, &passkey, user_verified, context.now);
                let detail = [
                    ("factor_kind", verification.kind.clone()),
                    ("user_verified", user_verified.to_string()),
                ];
                draft.record(EventKind::Verified, Some(factor.id), detail);
                draft.attempts().succeed(verification.assurance, context.now);
                draft.put(Factor {
                    authenticator: Authenticator::Passkey(PasskeyDevice::Registered(Box::new(passkey))),
                    last_used_at: Some(context.now),
                    ..factor.clone()
                });
                Verdict::Accepted(Verified { verification, backup_codes: None })
            }
            Err(refusal) => {
                let detail = [("reason", refusal.as_str().to_owned())];
                draft.record(EventKind::CredentialRefused, Some(factor.id), detail);
                Verdict::Rejected(CodeRejection::Credential(refusal))
            }
        };
        Decision { answer, delta: draft.finish() }
    }
}

/// The rejection of a credential that is in no account, for a challenge that names no user. A response that is wrong
/// in another way is told so.
pub(crate) const fn in_no_account(checked: Result<Assertion, CredentialRefusal>) -> CodeRejection {
    match checked {
        Ok(_) | Err(CredentialRefusal::Signature) => CodeRejection::UnknownCredential,
        Err(refusal) => CodeRejection::Credential(refusal),
    }
}

/// Compares an assertion with what is stored (Web Authentication Level 3, 7.2, steps 6, 18 to 22), and returns the
/// passkey to store.
fn accepted(
    expected: Expected,
    id: FactorId,
    passkey: &Passkey,
    response: &AssertionResponse,
    assertion: Assertion,
    draft: &mut Draft<'_>,
) -> Result<(Passkey, bool), CredentialRefusal> {
    let Assertion { user_verified, backup_eligible, backed_up, sign_count } = assertion;
    match &response.user_handle {
        Some(handle) if *handle != passkey.user_handle => return Err(CredentialRefusal::UserHandle),
        None if expected == Expected::Anyone => return Err(CredentialRefusal::UserHandle),
        Some(_) | None => {}
    }
    if passkey.backup_eligible.is_some_and(|stored| stored != backup_eligible) {
        return Err(CredentialRefusal::BackupEligibility);
    }
    let counts = sign_count > 0 || passkey.sign_count > 0;
    if counts && sign_count <= passkey.sign_count {
        let detail = [("stored", passkey.sign_count.to_string()), ("received", sign_count.to_string())];
        draft.record(EventKind::PossibleClone, Some(id), detail);
        if draft.context.policies.passkeys.refuses_clones() {
            return Err(CredentialRefusal::SignCount);
        }
    }
    if passkey.backup_eligible.is_none() {
        let detail = [("backup_eligible", backup_eligible.to_string())];
        draft.record(EventKind::BackupEligibilityRecorded, Some(id), detail);
    }
    if passkey.backed_up != backed_up {
        draft.record(EventKind::BackupStateChanged, Some(id), [("backed_up", backed_up.to_string())]);
    }
    let passkey = Passkey {
        sign_count: passkey.sign_count.max(sign_count),
        backup_eligible: Some(backup_eligible),
        backed_up,
        ..passkey.clone()
    };
    Ok((passkey, user_verified))
}

/// The factor with its passkey; named after its authenticator, unless the user chose a label.
fn registered(factor: &Factor, offer: &PasskeyOffer, passkey: Passkey, model: Option<&str>) -> Factor {
    let chosen = offer.named || factor.label.as_str() != UNNAMED;
    let model = model.filter(|_| !chosen).and_then(|model| Label::new(model).ok());
    Factor {
        label: model.unwrap_or_else(|| factor.label.clone()),
        authenticator: Authenticator::Passkey(PasskeyDevice::Registered(Box::new(passkey))),
        ..factor.clone()
    }
}
