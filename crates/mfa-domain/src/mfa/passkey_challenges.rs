//! Challenges that a passkey answers.

use std::fmt;

use zeroize::Zeroizing;

use super::fake_passkeys::Allowed;
use super::passkeys::transports;
use super::{BegunChallenge, Call, ChallengeRef, ChallengeStatus, MAX_TRIES, Mfa, Undecided};
use crate::account::{
    Account, CodeRejection, Context, Decision, Expected, Factor, FactorKind, Verdict, Verified, in_no_account,
};
use crate::challenge::KeptSecret;
use crate::passkey::{AssertionResponse, PublicKey};
use crate::ports::{
    Assertion, AuthenticationRequest, CeremonyError, CredentialHint, CredentialRefusal, KnownCredential,
    StoreError,
};
use crate::sealed::SealContext;
use crate::signing::Nonce;
use crate::{
    AccountKey, Actor, Challenge, ChallengeData, ChallengeKind, FactorId, Progress, Purpose, TenantId,
    Timestamp, UserId, Versioned,
};

/// The account and the passkey that [`Mfa::first_step`] found for a challenge.
pub struct PasskeyStep {
    pub(super) account: AccountKey,
    /// The passkey that must answer; `None` for any of the user.
    pub(super) factor: Option<FactorId>,
    /// The account at the time of the read.
    pub(super) read: Versioned<Account>,
}

/// A user who was verified by a passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyVerified {
    /// The user: the one whom the challenge names, or else the owner of the passkey.
    pub user: UserId,
    /// How the user was verified.
    pub verified: Verified,
}

impl Mfa {
    /// Begins a challenge for a passkey of a user.
    ///
    /// A user who is not known or has no passkey gets options of the same form: they ask for credentials that do not
    /// exist, always the same for a user, so that the options do not tell who has a passkey.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn begin_passkey(
        &self,
        call: impl Into<Call<'_, Verdict<BegunChallenge>>>,
        step: PasskeyStep,
    ) -> Result<Verdict<BegunChallenge>, Undecided> {
        let call = call.into();
        let PasskeyStep { account: key, factor, read } = step;
        let mut made = None;
        let mut change = self.begin(&key, &call).await.with(read);
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let rp_id = self.ports.webauthn.rp_id(&key.tenant);
            if let Err(rejection) = account.admit_passkey_challenge(context, factor, rp_id) {
                return Ok(Verdict::Rejected(rejection));
            }
            let begun = match &made {
                Some(begun) => begun,
                None => made.insert(self.put_authentication(context, &account, factor).await?),
            };
            let decision = Decision::without_change(Verdict::Accepted(BegunChallenge::clone(begun)));
            if let Some(begun) = change.commit(decision, call.keep.as_ref()).await? {
                return Ok(begun);
            }
        }
    }

    /// Begins a challenge for a passkey that names its owner: the user need not type a name.
    ///
    /// Each call costs storage for about an hour, and is charged to no user: charge
    /// [`ThrottleKey::tenant_challenges`](crate::ports::ThrottleKey::tenant_challenges) first.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn begin_passwordless(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        nonce: Option<&Nonce>,
    ) -> Result<BegunChallenge, Undecided> {
        let now = self.ports.clock.now();
        self.put_request(Place { tenant, user: None, factor: None, actor, nonce, now }, None).await
    }

    /// Checks what `navigator.credentials.get()` returned for a challenge.
    ///
    /// A response, right or wrong, ends the challenge. Of any number of calls, also in parallel and on several
    /// replicas, one is looked at. A refused response costs no attempt, since nothing can be guessed; so a right one is
    /// accepted while the account is locked. A disabled account accepts none.
    ///
    /// Without a named user, a credential in no account is rejected as unknown, but for those that
    /// [`begin_passkey`](Self::begin_passkey) invents: they are refused like a wrong signature of a real one.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; nothing was accepted, and the challenge may be over.
    pub async fn answer_passkey(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        to: impl Into<ChallengeRef>,
        response: &AssertionResponse,
    ) -> Result<Verdict<PasskeyVerified>, Undecided> {
        let read = match self.challenge_to_answer(tenant, actor, to.into()).await? {
            Verdict::Accepted(read) => read,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        if read.value.kind != ChallengeKind::WebauthnAuthentication {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        }
        let now = self.ports.clock.now();
        let (challenge, state) = match self.take_ceremony(tenant, actor, read, now).await? {
            Verdict::Accepted(taken) => taken,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let found = match challenge.account() {
            Some(key) => Some((key, challenge.factor.map_or(Expected::User, Expected::Factor))),
            None => self.owner_of(tenant, response).await?,
        };
        let Some((key, expected)) = found else {
            let checked = self.check_assertion(tenant, &state, response, None)?;
            return Ok(Verdict::Rejected(in_no_account(checked)));
        };
        let mut change = self.begin(&key, &Call::<Verdict>::from(actor)).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let found = account.passkey_of(response, expected);
            let public_key = if let Some((factor, _)) = found {
                Some(self.public_key_of(&key, factor).await?)
            } else {
                // The vault opens something in any case: its time must not tell which credentials a user has.
                self.open_ceremony(&challenge).await?;
                None
            };
            let known = found.zip(public_key.as_ref());
            let known = known.map(|((_, passkey), public_key)| KnownCredential { passkey, public_key });
            let checked = self.check_assertion(tenant, &state, response, known)?;
            let decision = account.answer_passkey(context, expected, response, checked);
            if let Some(verdict) = change.commit(decision, None).await? {
                return Ok(verdict.map(|verified| PasskeyVerified { user: key.user.clone(), verified }));
            }
        }
    }

    /// The account that an answer without a named user belongs to. That of an invented credential has no passkey, so
    /// the answer is refused like a wrong one of somebody.
    async fn owner_of(
        &self,
        tenant: &TenantId,
        response: &AssertionResponse,
    ) -> Result<Option<(AccountKey, Expected)>, Undecided> {
        let owner = self.ports.accounts.find(tenant, response.credential_id.handle()).await?;
        // Looked for in any case, so that the time does not tell which are invented.
        let decoy = self.decoy(tenant, &response.credential_id)?;
        let owner = owner.map(|key| (key, Expected::Anyone));
        Ok(owner.or(decoy.map(|key| (key, Expected::User))))
    }

    /// Opens the public key of a passkey.
    async fn public_key_of(&self, account: &AccountKey, factor: &Factor) -> Result<PublicKey, Undecided> {
        let sealed = factor.sealed.as_ref();
        let sealed = sealed.ok_or_else(|| StoreError::unreadable("the passkey has no public key"))?;
        let place = SealContext::Factor { account, factor: factor.id, kind: &FactorKind::Passkey };
        let opened = self.ports.vault.open(sealed, &place).await?;
        Ok(PublicKey::new(std::str::from_utf8(&opened).map_err(StoreError::unreadable)?))
    }

    fn check_assertion(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Result<Assertion, CredentialRefusal>, Undecided> {
        match self.ports.webauthn.finish_authentication(tenant, state, response, passkey) {
            Ok(assertion) => Ok(Ok(assertion)),
            Err(CeremonyError::Refused(refusal)) => Ok(Err(refusal)),
            Err(CeremonyError::Failed(error)) => Err(error.into()),
        }
    }

    /// Ends a challenge, and returns it with the state of its ceremony. Of parallel calls, one gets it.
    pub(super) async fn take_ceremony(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        read: Versioned<Challenge>,
        now: Timestamp,
    ) -> Result<Verdict<(Challenge, Zeroizing<Vec<u8>>)>, Undecided> {
        let (id, mut read) = (read.value.id, Some(read));
        for _ in 0..MAX_TRIES {
            let open = match self.open_again(tenant, actor, id, read.take(), now).await? {
                Verdict::Accepted(open) => open,
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let challenge = open.get().clone();
            // Opened first: if the vault fails, the challenge is still there.
            let state = self.open_ceremony(&challenge).await?;
            if self.swap(&open.end()).await? {
                return Ok(Verdict::Accepted((challenge, state)));
            }
        }
        Err(Undecided::Busy)
    }

    /// Opens the state of a ceremony, which its challenge keeps.
    async fn open_ceremony(&self, challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, Undecided> {
        let kept = KeptSecret::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
        Ok(self.ports.vault.open(&kept.sealed, &SealContext::Challenge(challenge)).await?)
    }

    async fn put_authentication(
        &self,
        context: Context<'_>,
        account: &Account,
        factor: Option<FactorId>,
    ) -> Result<BegunChallenge, Undecided> {
        let Context { key, actor, session, now, .. } = context;
        let passkeys = account.passkeys_of(self.ports.webauthn.rp_id(&key.tenant));
        let own: Vec<_> = passkeys
            .filter(|(of, _)| factor.is_none_or(|id| id == of.id))
            .map(|(_, passkey)| Allowed {
                id: passkey.credential_id.clone(),
                transports: transports(passkey),
            })
            .collect();
        // Made in any case, so that their time does not tell who has a passkey.
        let fakes = self.fakes(key)?;
        let accepted = if own.is_empty() { fakes } else { own };
        let allow =
            accepted.iter().map(|Allowed { id, transports }| CredentialHint { id, transports }).collect();
        let nonce = session.nonce;
        let place = Place { tenant: &key.tenant, user: Some(&key.user), factor, actor, nonce, now };
        self.put_request(place, Some(allow)).await
    }

    async fn put_request(
        &self,
        Place { tenant, user, factor, actor, nonce, now }: Place<'_>,
        allow: Option<Vec<CredentialHint<'_>>>,
    ) -> Result<BegunChallenge, Undecided> {
        let lifetime = self.policies.challenges.lifetime();
        let mut challenge = [0; 32];
        self.ports.entropy.fill(&mut challenge)?;
        let user_verification = self.policies.passkeys.user_verification();
        let request = AuthenticationRequest { challenge, allow, user_verification, timeout: lifetime };
        let begun = self.ports.webauthn.begin_authentication(tenant, &request)?;
        let challenge = Challenge {
            id: self.fresh_challenge_id()?,
            tenant: tenant.clone(),
            user: user.cloned(),
            factor,
            kind: ChallengeKind::WebauthnAuthentication,
            purpose: Purpose::Verify,
            caller: actor.caller().clone(),
            nonce: nonce.cloned(),
            created_at: now,
            expires_at: now.plus(lifetime),
            progress: Progress::new(ChallengeData::default()),
        };
        let challenge = self.put_ceremony(challenge, &begun.state).await?;
        let challenge = ChallengeStatus::of(&challenge, now, None);
        Ok(BegunChallenge { challenge, destination: None, options: Some(begun.options) })
    }
}

/// What a new challenge is bound to.
struct Place<'a> {
    tenant: &'a TenantId,
    user: Option<&'a UserId>,
    factor: Option<FactorId>,
    actor: &'a Actor,
    nonce: Option<&'a Nonce>,
    now: Timestamp,
}

impl fmt::Debug for PasskeyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyStep").field("factor", &self.factor).finish_non_exhaustive()
    }
}
