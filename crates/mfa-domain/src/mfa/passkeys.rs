//! Enrolling a passkey.

use super::{Call, ChallengeStatus, Confirmation, EnrolError, Mfa, Undecided};
use crate::account::{
    Account, Authenticator, CodeRejection, Context, Decision, Factor, FactorKind, FactorState, PasskeyDevice,
    PasskeyOffer, PolicyDenial, UNNAMED, Verdict,
};
use crate::challenge::KeptSecret;
use crate::passkey::{CredentialId, PasskeyUser, RegistrationResponse, UserHandle};
use crate::ports::{
    CeremonyError, Commit, CredentialHint, CredentialRefusal, NewCredential, RegistrationRequest, StoreError,
    VaultError,
};
use crate::sealed::SealContext;
use crate::{
    AccountKey, Challenge, ChallengeData, ChallengeId, ChallengeKind, FactorId, Label, Passkey, Progress,
    Purpose, Reason, Sealed, ShownName, TenantId, Timestamp,
};

/// A passkey to enrol.
///
/// ```
/// use mfa_domain::Label;
/// use mfa_domain::mfa::NewPasskey;
///
/// let laptop = NewPasskey { label: Some(Label::new("Laptop")?), ..NewPasskey::default() };
/// # let _ = laptop;
/// # Ok::<(), mfa_domain::text::InvalidText>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewPasskey {
    /// The user's name for the factor. Default: the public name of the authenticator.
    pub label: Option<Label>,
    /// The name that the browser shows, to tell accounts apart. Default: that of the last registered passkey, or the
    /// user id.
    pub account_name: Option<ShownName>,
    /// The name of the person. Default: that of the last registered passkey, or the account name.
    pub display_name: Option<ShownName>,
    /// An active factor that is removed when this one is confirmed.
    pub replaces: Option<FactorId>,
}

/// A pending passkey, and the ceremony that creates it.
#[derive(Debug)]
pub struct PasskeyEnrolment {
    /// The pending factor.
    pub factor: Factor,
    /// The challenge that the new credential answers.
    pub challenge: ChallengeStatus,
    /// The `publicKey` member of the options for `navigator.credentials.create()`, as JSON.
    pub options: String,
}

/// The passkeys of a user that are accepted, for the signal methods of browsers
/// (Web Authentication Level 3, 5.1.10). With them, an authenticator forgets removed passkeys and shows current names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPasskeys {
    /// The relying party.
    pub rp_id: String,
    /// The user as authenticators know them.
    pub user: PasskeyUser,
    /// The ids of the active passkeys.
    pub credential_ids: Vec<CredentialId>,
}

impl Mfa {
    /// Whether a relying party is configured for this tenant. Without one, no passkey can be enrolled or used.
    #[must_use]
    pub fn has_passkeys(&self, tenant: &TenantId) -> bool {
        !self.ports.webauthn.rp_id(tenant).is_empty()
    }

    /// Offers a passkey. It protects nothing, and changes nothing else of the account, until [`Mfa::confirm_passkey`]
    /// gets what the browser returned.
    ///
    /// # Errors
    /// [`EnrolError`] if the account or a policy refuses the factor, or if a port failed. Nothing was changed.
    pub async fn enrol_passkey(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, PasskeyEnrolment>>,
        new: NewPasskey,
    ) -> Result<PasskeyEnrolment, EnrolError> {
        if !self.has_passkeys(&key.tenant) {
            return Err(PolicyDenial::KindNotAdmitted.into());
        }
        let call = call.into();
        self.ensure_relying_party(call.actor, &key.tenant).await?;
        let NewPasskey { label, account_name, display_name, replaces } = new;
        let named = label.is_some();
        let unnamed = || Label::new(UNNAMED).map_err(|error| Undecided::from(VaultError::new(error)));
        let label = label.map_or_else(unnamed, Ok)?;
        let created_at = self.ports.clock.now();
        let id = self.fresh_factor_id(created_at)?;
        let expires_at = created_at.plus(self.policies.enrolment.pending_lifetime());
        let offered = |first, user| Factor {
            id,
            label: label.clone(),
            state: FactorState::Pending { expires_at, replaces },
            created_at,
            last_used_at: None,
            sealed: None,
            authenticator: Authenticator::Passkey(PasskeyDevice::Offered(PasskeyOffer {
                first,
                named,
                user,
            })),
        };
        let new_handle = self.fresh_user_handle()?;
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            let known = account.passkey_user().map_err(unreadable)?;
            let known = known.unwrap_or_else(|| PasskeyUser {
                handle: account.offered_user_handle().unwrap_or(&new_handle).clone(),
                name: key.user.as_str().to_owned(),
                display_name: String::new(),
            });
            let shown =
                |given: Option<&ShownName>, known: &str| given.map_or(known, ShownName::as_str).to_owned();
            let user = PasskeyUser {
                name: shown(account_name.as_ref(), &known.name),
                display_name: shown(display_name.as_ref(), &known.display_name),
                handle: known.handle,
            };
            // After a conflict, another ceremony begins: it holds the handle of the user, which may have changed.
            let first = self.fresh_challenge_id()?;
            let factor = offered(first, user.clone());
            // A refusal comes before anything is stored.
            let delta = account.begin_enrolment(context, factor.clone())?;
            let (challenge, options) =
                self.put_registration(context, &account, &factor, first, &user).await?;
            let enrolment = PasskeyEnrolment { factor, challenge, options };
            if change.commit_delta(delta, &enrolment, call.keep.as_ref()).await? == Commit::Won {
                return Ok(enrolment);
            }
        }
    }

    /// Confirms a pending passkey by what `navigator.credentials.create()` returned.
    ///
    /// A response, right or wrong, ends the challenge: after a refused one, offer the passkey again. The first active
    /// factor of a user comes with backup codes.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed, or [`Undecided::HandleTaken`] if another user of the tenant has the credential,
    /// or if [`begin_passkey`](Self::begin_passkey) invents its id for somebody; the factor stays pending.
    pub async fn confirm_passkey(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Verdict<Confirmation>>>,
        factor: FactorId,
        response: &RegistrationResponse,
    ) -> Result<Verdict<Confirmation>, Undecided> {
        let call = call.into();
        let (mut checked, mut fresh) = (None, None);
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            let first = match account.awaiting_passkey(context, factor) {
                Ok((pending, offer)) => (offer.first, pending.id),
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let checked = match &checked {
                Some(checked) => checked,
                None => match self.check_registration(context, first, response).await? {
                    Verdict::Accepted(result) => checked.insert(result),
                    Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
                },
            };
            let (backup_codes, set) = if !account.is_enrolled() && checked.is_ok() {
                let (codes, set) = self.fresh_backup_codes(&mut fresh, context.now).await?;
                (Some(codes), Some(set))
            } else {
                (None, None)
            };
            let model =
                checked.as_ref().ok().and_then(|(passkey, _)| self.ports.webauthn.model(passkey.aaguid));
            let decision = account.register_passkey(context, factor, checked.clone(), model.as_deref(), set);
            let Decision { answer, delta } = decision.map_err(unreadable)?;
            let mut after = account.clone();
            if let Some(delta) = &delta {
                after.apply(delta);
            }
            let passkeys = self.accepted_passkeys_of(key, &after)?;
            let verdict = answer.map(|factor| Confirmation { factor, backup_codes, passkeys });
            if let Some(verdict) =
                change.commit(Decision { answer: verdict, delta }, call.keep.as_ref()).await?
            {
                return Ok(verdict);
            }
        }
    }

    /// Imports an active passkey from another system. Only an operator may import; the audit trail keeps the `reason`.
    ///
    /// A passkey whose backup eligibility is not known gets it from its first assertion. If the user has no user handle
    /// yet, that of the passkey becomes the user's, and further passkeys get it. Otherwise a passkey with another one
    /// keeps it for itself: to authenticators, its user is another one.
    ///
    /// # Errors
    /// [`EnrolError`] if the passkey is for another relying party, if no assertion can be checked by its public key, if
    /// the account or a policy refuses the factor, or if a port failed. [`Undecided::HandleTaken`] if another user of
    /// the tenant has the credential, or the user handle that would become the user's. Nothing was changed.
    pub async fn import_passkey(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Factor>>,
        label: Label,
        credential: NewCredential,
        reason: &Reason,
    ) -> Result<Factor, EnrolError> {
        let NewCredential { passkey, public_key } = credential;
        if !self.has_passkeys(&key.tenant) || passkey.rp_id != self.ports.webauthn.rp_id(&key.tenant) {
            return Err(PolicyDenial::KindNotAdmitted.into());
        }
        self.ports.webauthn.check_key(&public_key)?;
        let call = call.into();
        self.ensure_relying_party(call.actor, &key.tenant).await?;
        let created_at = self.ports.clock.now();
        let id = self.fresh_factor_id(created_at)?;
        let place = SealContext::Factor { account: key, factor: id, kind: &FactorKind::Passkey };
        let sealed = self.ports.vault.seal(public_key.as_str().as_bytes(), &place).await;
        let user = PasskeyUser {
            handle: passkey.user_handle.clone(),
            name: key.user.as_str().to_owned(),
            display_name: String::new(),
        };
        let factor = Factor {
            id,
            label,
            state: FactorState::Pending { expires_at: created_at, replaces: None },
            created_at,
            last_used_at: None,
            sealed: Some(sealed.map_err(Undecided::from)?),
            authenticator: Authenticator::Passkey(PasskeyDevice::Registered(Box::new(passkey))),
        };
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            let Decision { answer, delta } =
                account.import_passkey(context, factor.clone(), &user, reason).map_err(unreadable)??;
            if change.commit_delta(delta, &answer, call.keep.as_ref()).await? == Commit::Won {
                return Ok(answer);
            }
        }
    }

    /// The passkeys of a user that are accepted; `None` if no passkey was ever registered.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn accepted_passkeys(&self, key: &AccountKey) -> Result<Option<AcceptedPasskeys>, Undecided> {
        let account = self.ports.accounts.load_without_backup_codes(key).await?.value;
        self.accepted_passkeys_of(key, &account)
    }

    pub(super) fn accepted_passkeys_of(
        &self,
        key: &AccountKey,
        account: &Account,
    ) -> Result<Option<AcceptedPasskeys>, Undecided> {
        let user = account.passkey_user().map_err(StoreError::unreadable)?;
        let rp_id = self.ports.webauthn.rp_id(&key.tenant);
        let known = account.passkeys_of(rp_id).map(|(_, passkey)| passkey.credential_id.clone());
        let credential_ids = known.chain(account.unreadable_passkeys()).collect();
        let accepted = |user| AcceptedPasskeys { rp_id: rp_id.to_owned(), user, credential_ids };
        Ok(user.filter(|_| self.has_passkeys(&key.tenant)).map(accepted))
    }

    /// Begins a registration, and stores its challenge, which expires no later than the factor.
    async fn put_registration(
        &self,
        context: Context<'_>,
        account: &Account,
        factor: &Factor,
        id: ChallengeId,
        user: &PasskeyUser,
    ) -> Result<(ChallengeStatus, String), EnrolError> {
        let policy = self.policies.passkeys.as_ref();
        let lifetime = self.policies.challenges.lifetime();
        // The one to replace may be on the same authenticator.
        let rp_id = self.ports.webauthn.rp_id(&context.key.tenant);
        let kept = account.passkeys_of(rp_id).filter(|(other, _)| Some(other.id) != factor.replaces());
        let known = kept.map(|(_, passkey)| (passkey.credential_id.clone(), transports(passkey)));
        let unreadable = account.unreadable_passkeys().map(|id| (id, Vec::new()));
        let taken: Vec<_> = known.chain(unreadable).collect();
        let exclude = taken.iter().map(|(id, transports)| CredentialHint { id, transports });
        let request = RegistrationRequest {
            user_handle: &user.handle,
            user_name: &user.name,
            display_name: &user.display_name,
            exclude: exclude.collect(),
            user_verification: policy.user_verification(),
            resident_key: policy.resident_key(),
            timeout: lifetime,
        };
        let tenant = &context.key.tenant;
        let begun = self.ports.webauthn.begin_registration(tenant, &request).map_err(Undecided::from)?;
        let pending_until = match factor.state {
            FactorState::Pending { expires_at, .. } => expires_at,
            FactorState::Active | FactorState::Removed => Timestamp::MAX,
        };
        let challenge = Challenge {
            id,
            tenant: tenant.clone(),
            user: Some(context.key.user.clone()),
            factor: Some(factor.id),
            kind: ChallengeKind::WebauthnRegistration,
            purpose: Purpose::Enrol,
            caller: context.actor.caller().clone(),
            nonce: None,
            created_at: context.now,
            expires_at: context.now.plus(lifetime).min(pending_until),
            progress: Progress::new(ChallengeData::default()),
        };
        let challenge = self.put_ceremony(challenge, &begun.state).await?;
        Ok((ChallengeStatus::of(&challenge, context.now, None), begun.options))
    }

    /// Takes the challenge of a registration, checks what was returned against it, and seals the public key.
    async fn check_registration(
        &self,
        context: Context<'_>,
        (id, factor): (ChallengeId, FactorId),
        response: &RegistrationResponse,
    ) -> Result<Verdict<Result<(Passkey, Sealed), CredentialRefusal>>, Undecided> {
        let Context { key, actor, now, .. } = context;
        let read = match self.read_challenge(&key.tenant, actor, id.into()).await? {
            Verdict::Accepted(read) => read,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let challenge = &read.value;
        if challenge.whose() != Some((key.clone(), factor))
            || challenge.kind != ChallengeKind::WebauthnRegistration
            || challenge.purpose != Purpose::Enrol
        {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        }
        let (_, state) = match self.take_ceremony(&key.tenant, actor, read, now).await? {
            Verdict::Accepted(taken) => taken,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        match self.ports.webauthn.finish_registration(&key.tenant, &state, response) {
            Ok(NewCredential { passkey, public_key }) => {
                self.ensure_free(key, &passkey.credential_id).await?;
                let place = SealContext::Factor { account: key, factor, kind: &FactorKind::Passkey };
                let sealed = self.ports.vault.seal(public_key.as_str().as_bytes(), &place).await?;
                Ok(Verdict::Accepted(Ok((passkey, sealed))))
            }
            Err(CeremonyError::Refused(refusal)) => Ok(Verdict::Accepted(Err(refusal))),
            Err(CeremonyError::Failed(error)) => Err(error.into()),
        }
    }

    /// Fails if another user of the tenant has the credential, or if it is an invented one. The commit would find out
    /// about a real one, and only about that: whoever submits an id must not learn which sort it is.
    async fn ensure_free(&self, key: &AccountKey, id: &CredentialId) -> Result<(), Undecided> {
        let owner = self.ports.accounts.find(&key.tenant, id.handle()).await?;
        let is_invented = self.decoy(&key.tenant, id)?.is_some();
        let is_taken = owner.map_or(is_invented, |owner| owner != *key);
        if is_taken { Err(Undecided::HandleTaken) } else { Ok(()) }
    }

    /// Seals the state of a ceremony into its challenge, and stores it.
    pub(super) async fn put_ceremony(
        &self,
        mut challenge: Challenge,
        state: &[u8],
    ) -> Result<Challenge, Undecided> {
        let sealed = self.ports.vault.seal(state, &SealContext::Challenge(&challenge)).await?;
        let kept = KeptSecret { sealed, resends: 0 };
        challenge.progress.data = kept.to_data().map_err(VaultError::new)?;
        self.ports.challenges.put(&challenge).await?;
        Ok(challenge)
    }

    fn fresh_user_handle(&self) -> Result<UserHandle, Undecided> {
        let mut random = [0; UserHandle::NEW_LENGTH];
        self.ports.entropy.fill(&mut random)?;
        Ok(UserHandle::new(random).map_err(VaultError::new)?)
    }
}

/// How to reach the authenticator of a passkey. One that is backed up is also on devices that a browser reaches by
/// `hybrid`, wherever it was registered.
pub(super) fn transports(passkey: &Passkey) -> Vec<String> {
    let mut transports = passkey.transports.clone();
    if passkey.backed_up && !transports.is_empty() && !transports.iter().any(|name| name == "hybrid") {
        transports.push("hybrid".to_owned());
        transports.sort_unstable();
    }
    transports
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Undecided {
    StoreError::unreadable(error).into()
}
