//! Challenges that a passkey answers.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    AnswerTo, BegunChallenge, Call, ChallengeStatus, MAX_TRIES, Mfa, Undecided, passkeys::transports,
};
use crate::account::{
    Account, CodeRejection, Context, Decision, Expected, Factor, FactorKind, Verdict, Verified,
};
use crate::challenge::KeptSecret;
use crate::passkey::{AssertionResponse, CredentialId, PublicKey};
use crate::ports::{
    Assertion, AuthenticationRequest, CeremonyError, CredentialHint, CredentialRefusal, KnownCredential,
    StoreError, VaultError,
};
use crate::sealed::SealContext;
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

/// A credential that options ask for: one of the user, or one that does not exist.
struct Allowed {
    id: CredentialId,
    transports: Vec<String>,
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
            if let Err(rejection) = account.admit_passkey_challenge(context, factor) {
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
    /// Each call costs storage for about an hour: charge a [`Throttle`](crate::ports::Throttle) first.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn begin_passwordless(
        &self,
        tenant: &TenantId,
        actor: &Actor,
    ) -> Result<BegunChallenge, Undecided> {
        let now = self.ports.clock.now();
        self.put_request(Place { tenant, user: None, factor: None, actor, now }, None).await
    }

    /// Checks what `navigator.credentials.get()` returned for a challenge.
    ///
    /// A response, right or wrong, ends the challenge. Of any number of calls, also in parallel and on several
    /// replicas, one is looked at. A refused response costs no attempt, since nothing can be guessed; so it is looked
    /// at while the account is locked, and not while it is disabled.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; nothing was accepted, and the challenge may be over.
    pub async fn answer_passkey(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        to: impl Into<AnswerTo>,
        response: &AssertionResponse,
    ) -> Result<Verdict<PasskeyVerified>, Undecided> {
        let found = match to.into() {
            AnswerTo::Challenge(id) => self.find_challenge(tenant, actor, id).await?,
            AnswerTo::Found(found) => Verdict::Accepted(*found),
        };
        let read = match found {
            Verdict::Accepted(found) if found.is_of(tenant, actor) => found.into_read(),
            Verdict::Accepted(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge)),
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
            Some(key) => Some(key),
            None => self.ports.accounts.find(tenant, response.credential_id.handle()).await?,
        };
        let Some(key) = found else {
            let checked = self.check_assertion(tenant, &state, response, None)?;
            let refusal = checked.err().unwrap_or(CredentialRefusal::Signature);
            return Ok(Verdict::Rejected(refused(refusal)));
        };
        let expected = match (&challenge.user, challenge.factor) {
            (None, _) => Expected::Anyone,
            (Some(_), None) => Expected::User,
            (Some(_), Some(factor)) => Expected::Factor(factor),
        };
        let mut change = self.begin(&key, &Call::<Verdict>::from(actor)).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let found = account.passkey_of(response, expected);
            let public_key = match found {
                Some((factor, _)) => Some(self.public_key_of(&key, factor).await?),
                None => None,
            };
            let known = found.zip(public_key.as_ref());
            let known = known.map(|((_, passkey), public_key)| KnownCredential { passkey, public_key });
            let checked = self.check_assertion(tenant, &state, response, known)?;
            if expected == Expected::Anyone && !account.has_credential(&response.credential_id) {
                // It was removed just now.
                let refusal = checked.err().unwrap_or(CredentialRefusal::Signature);
                return Ok(Verdict::Rejected(refused(refusal)));
            }
            let decision = account.answer_passkey(context, expected, response, checked);
            if let Some(verdict) = change.commit(decision, None).await? {
                return Ok(verdict.map(|verified| PasskeyVerified { user: key.user.clone(), verified }));
            }
        }
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
        let id = read.value.id;
        let mut read = Some(read);
        for _ in 0..MAX_TRIES {
            let open = match read.take() {
                Some(read) => super::challenges::opened(read, now),
                None => self.open_challenge(tenant, actor, id, now).await?,
            };
            let open = match open {
                Verdict::Accepted(open) => open,
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let challenge = open.get().clone();
            // Opened first: if the vault fails, the challenge is still there.
            let kept = KeptSecret::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
            let context = SealContext::Challenge(&challenge);
            let state = self.ports.vault.open(&kept.sealed, &context).await?;
            if self.swap(&open.end()).await? {
                return Ok(Verdict::Accepted((challenge, state)));
            }
        }
        Err(Undecided::Busy)
    }

    async fn put_authentication(
        &self,
        context: Context<'_>,
        account: &Account,
        factor: Option<FactorId>,
    ) -> Result<BegunChallenge, Undecided> {
        let Context { key, actor, now, .. } = context;
        let passkeys = account.passkeys_of(self.ports.webauthn.rp_id(&key.tenant));
        let mut accepted: Vec<_> = passkeys
            .filter(|(of, _)| factor.is_none_or(|id| id == of.id))
            .map(|(_, passkey)| Allowed {
                id: passkey.credential_id.clone(),
                transports: transports(passkey),
            })
            .collect();
        if accepted.is_empty() {
            accepted = self.fakes(key)?;
        }
        let allow =
            accepted.iter().map(|Allowed { id, transports }| CredentialHint { id, transports }).collect();
        let place = Place { tenant: &key.tenant, user: Some(&key.user), factor, actor, now };
        self.put_request(place, Some(allow)).await
    }

    async fn put_request(
        &self,
        Place { tenant, user, factor, actor, now }: Place<'_>,
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
            created_at: now,
            expires_at: now.plus(lifetime),
            progress: Progress::new(ChallengeData::default()),
        };
        let challenge = self.put_ceremony(challenge, &begun.state).await?;
        let challenge = ChallengeStatus::of(&challenge, now, None);
        Ok(BegunChallenge { challenge, destination: None, options: Some(begun.options) })
    }

    /// One or two credentials that do not exist, always the same for a user: of the lengths and transports that real
    /// ones have.
    fn fakes(&self, AccountKey { tenant, user }: &AccountKey) -> Result<Vec<Allowed>, Undecided> {
        let pseudonym = |part: &str| {
            let parts = ["fake passkey", part, tenant.as_str(), user.as_str()];
            self.ports.vault.pseudonym(&parts.join("\0").into_bytes())
        };
        let shape = pseudonym("shape");
        let number = if shape[0] % 4 == 0 { 2 } else { 1 };
        let fake = |place: usize| {
            let (length, transports): (usize, &[&str]) = match shape[place + 1] % 4 {
                0 => (16, &["hybrid", "internal"]),
                1 => (20, &["hybrid", "internal"]),
                2 => (32, &["internal"]),
                _ => (48, &["nfc", "usb"]),
            };
            let bytes = [pseudonym(&format!("{place} a")), pseudonym(&format!("{place} b"))].concat();
            let id = CredentialId::new(&bytes[..length]).map_err(VaultError::new)?;
            Ok(Allowed { id, transports: transports.iter().map(|name| (*name).to_owned()).collect() })
        };
        (0..number).map(fake).collect()
    }
}

/// The rejection of a credential that is in no account. A response that is wrong in another way is told so.
const fn refused(refusal: CredentialRefusal) -> CodeRejection {
    match refusal {
        CredentialRefusal::Signature => CodeRejection::UnknownCredential,
        refusal => CodeRejection::Credential(refusal),
    }
}

/// What a new challenge is bound to.
struct Place<'a> {
    tenant: &'a TenantId,
    user: Option<&'a UserId>,
    factor: Option<FactorId>,
    actor: &'a Actor,
    now: Timestamp,
}

impl fmt::Debug for PasskeyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyStep").field("factor", &self.factor).finish_non_exhaustive()
    }
}
