//! Challenges: a code is queued, sent, and answered.

use std::fmt;

use zeroize::Zeroizing;

use super::{Call, MAX_TRIES, Mfa, Recipient, SendTo, Undecided};
use crate::account::{CodeRejection, Context, Decision, Factor, FactorState, Finding, Verdict};
use crate::challenge::{CodeDigest, KeptSecret, OpenChallenge, Step};
use crate::outbox::Content;
use crate::ports::{Commit, EntropyError, Outbox, StoreError, VaultError};
use crate::sealed::SealContext;
use crate::signing::Nonce;
use crate::{
    AccountKey, Actor, Address, Challenge, ChallengeData, ChallengeId, ChallengeKind, ChallengeState,
    FactorId, Message, MessageId, MessageState, Progress, Purpose, Sealed, SentCode, TenantId, Timestamp,
    UserId, Versioned,
};

/// The public state of a challenge. Holds nothing that helps to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeStatus {
    /// The id by which it is answered.
    pub id: ChallengeId,
    /// The user, if known.
    pub user: Option<UserId>,
    /// The factor whose code answers it; `None` if it is not for one factor.
    pub factor: Option<FactorId>,
    /// The kind of answer that is expected.
    pub kind: ChallengeKind,
    /// The state; [`ChallengeState::Over`] also if the challenge has expired.
    pub state: ChallengeState,
    /// The purpose of an answer.
    pub purpose: Purpose,
    /// The time from which an answer is too late.
    pub expires_at: Timestamp,
    /// The state of the message with its code; `None` if there is no message.
    pub delivery: Option<MessageState>,
}

/// A new challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunChallenge {
    /// The challenge.
    pub challenge: ChallengeStatus,
    /// The masked address that the code is sent to; `None` if no code is sent.
    pub destination: Option<String>,
    /// The `publicKey` member of the options for `navigator.credentials.get()`, as JSON; `None` unless a passkey is
    /// asked.
    pub options: Option<String>,
}

/// A challenge that [`Mfa::find_challenge`] returned.
#[derive(Clone)]
pub struct FoundChallenge {
    owner: Option<AccountKey>,
    read: Versioned<Challenge>,
}

/// The challenge that a call is about: a [`ChallengeId`], or a [`FoundChallenge`], which need not be read again.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChallengeRef {
    /// The challenge with this id.
    Id(ChallengeId),
    /// A challenge that [`Mfa::find_challenge`] returned.
    Found(Box<FoundChallenge>),
}

/// A stored challenge, and the message with its code, which is not queued yet.
pub(super) struct Outgoing {
    challenge: Challenge,
    pub(super) message: Message,
    destination: String,
}

/// What a challenge must match for its answer to count.
pub(super) struct Asked<'a> {
    /// Its id; `None` if the factor refers to no challenge.
    pub(super) id: Option<ChallengeId>,
    /// The challenge, if it was read already.
    pub(super) read: Option<Versioned<Challenge>>,
    /// The factor that it must be for.
    pub(super) factor: &'a Factor,
    /// The purpose that it must have.
    pub(super) purpose: Purpose,
}

impl Mfa {
    /// Begins a challenge, and queues a code for the address of an active factor.
    ///
    /// The task that [claims](Self::claim_messages) the message sends it.
    /// [`answer_challenge`](Self::answer_challenge) accepts the code once, from the same caller.
    ///
    /// Each call costs a message, and storage for about an hour: charge a [`Throttle`](crate::ports::Throttle) first,
    /// as described at [`recipient`](Self::recipient).
    ///
    /// # Errors
    /// [`Undecided`] if a port failed. A code may still be sent that answers nothing.
    pub async fn begin_challenge(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Verdict<BegunChallenge>>>,
        to: impl Into<SendTo>,
    ) -> Result<Verdict<BegunChallenge>, Undecided> {
        self.outbox()?;
        let call = call.into();
        let Recipient { factor, address, read, .. } =
            match self.recipient(key, call.actor, to, Purpose::Verify).await? {
                Verdict::Accepted(to) => to,
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
        let mut made = None;
        let mut change = self.begin(key, &call).await.with(read);
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let factor = match account.admit_challenge(context, factor, Purpose::Verify) {
                Ok(factor) => factor,
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let outgoing = if let Some(outgoing) = &made {
                outgoing
            } else {
                let id = self.fresh_challenge_id()?;
                made.insert(self.put_challenge(context, id, factor, Purpose::Verify, &address).await?)
            };
            let delta = account.send_code(context, factor, Purpose::Verify, outgoing.message.clone());
            let answer = Verdict::Accepted(outgoing.begun(context.now));
            if let Some(begun) = change.commit(Decision { answer, delta }, call.keep.as_ref()).await? {
                return Ok(begun);
            }
        }
    }

    /// Returns a challenge if this caller began it in this tenant; any other is rejected as unknown. Charge the
    /// answer to its [owner](FoundChallenge::owner), then call [`answer_challenge`](Self::answer_challenge).
    ///
    /// # Errors
    /// [`Undecided`] if the challenge store failed.
    pub async fn find_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<FoundChallenge>, Undecided> {
        let read = self.read_challenge(tenant, actor, id.into()).await?;
        Ok(read.map(|read| FoundChallenge { owner: read.value.account(), read }))
    }

    /// Returns the state of a challenge and of its message.
    ///
    /// # Errors
    /// [`Undecided`] if a store failed.
    pub async fn challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<ChallengeStatus>, Undecided> {
        let challenge = match self.read_challenge(tenant, actor, id.into()).await? {
            Verdict::Accepted(Versioned { value, .. }) => value,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let message = match self.ports.accounts.outbox() {
            Some(outbox) if challenge.kind.is_sent() => outbox.message(tenant, id.into()).await?,
            _ => None,
        };
        let delivery = message.map(|message| message.value.sending.state);
        Ok(Verdict::Accepted(ChallengeStatus::of(&challenge, self.ports.clock.now(), delivery)))
    }

    /// Verifies the code that was sent for a challenge.
    ///
    /// A right code is used up: of any number of calls with it, also in parallel and on several replicas, one gets
    /// [`Verdict::Accepted`]. A wrong code costs an attempt of the account, and the last of
    /// [`ChallengePolicy::max_failures`](crate::policy::ChallengePolicy::max_failures) ends the challenge. A code
    /// with another number of digits than the policy asks for now is also just a wrong code, since the challenge may
    /// be older than the policy.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; nothing was accepted. The code may be used up.
    pub async fn answer_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        to: impl Into<ChallengeRef>,
        code: &SentCode,
    ) -> Result<Verdict, Undecided> {
        let read = match self.challenge_to_answer(tenant, actor, to.into()).await? {
            Verdict::Accepted(read) => read,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let Some((key, factor)) = read.value.whose().filter(|_| read.value.kind.is_sent()) else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        let id = read.value.id;
        let (mut read, mut found) = (Some(read), None);
        let mut change = self.begin(&key, &Call::<Verdict>::from(actor)).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let finding = match (found, account.admit_challenge(context, factor, Purpose::Verify)) {
                // The code was compared before the conflict, so the account must charge it.
                (Some(finding), _) => finding,
                (None, Ok(factor)) => {
                    let asked = Asked { id: Some(id), read: read.take(), factor, purpose: Purpose::Verify };
                    match self.check_code(asked, context, Some(code)).await? {
                        Verdict::Accepted(finding) => *found.insert(finding),
                        Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
                    }
                }
                (None, Err(rejection)) => return Ok(Verdict::Rejected(rejection)),
            };
            if let Some(verdict) = change.commit(account.answer(context, factor, finding), None).await? {
                return Ok(verdict);
            }
        }
    }

    /// Ends a challenge without an answer. Succeeds also if the challenge is already over, so the call can be
    /// repeated.
    ///
    /// # Errors
    /// [`Undecided`] if the challenge store failed.
    pub async fn cancel_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        challenge: impl Into<ChallengeRef>,
    ) -> Result<Verdict<()>, Undecided> {
        let read = match self.read_challenge(tenant, actor, challenge.into()).await? {
            Verdict::Accepted(read) => read,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let (id, mut read) = (read.value.id, Some(read));
        for _ in 0..MAX_TRIES {
            let open = match self.open_again(tenant, actor, id, read.take(), self.ports.clock.now()).await? {
                Verdict::Accepted(open) => open,
                Verdict::Rejected(CodeRejection::ChallengeOver) => return Ok(Verdict::Accepted(())),
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            if self.swap(&open.end()).await? {
                return Ok(Verdict::Accepted(()));
            }
        }
        Err(Undecided::Busy)
    }

    /// Reads a challenge, if it was not read already. Rejects it as unknown unless this caller began it in this tenant.
    pub(super) async fn read_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        challenge: ChallengeRef,
    ) -> Result<Verdict<Versioned<Challenge>>, Undecided> {
        let found = match challenge {
            ChallengeRef::Id(id) => self.ports.challenges.get(&id).await?,
            ChallengeRef::Found(found) => Some(found.read),
        };
        let found = found.filter(|read| is_of(&read.value, tenant, actor));
        Ok(found.map_or(Verdict::Rejected(CodeRejection::UnknownChallenge), Verdict::Accepted))
    }

    /// The challenge that an answer is for. Rejects it as unknown unless this caller began it in this tenant, to verify
    /// a user.
    pub(super) async fn challenge_to_answer(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        to: ChallengeRef,
    ) -> Result<Verdict<Versioned<Challenge>>, Undecided> {
        Ok(match self.read_challenge(tenant, actor, to).await? {
            Verdict::Accepted(read) if read.value.purpose != Purpose::Verify => {
                Verdict::Rejected(CodeRejection::UnknownChallenge)
            }
            read => read,
        })
    }

    /// Compares `code` with a challenge, and swaps the challenge in the same step: a right code ends it, a wrong one
    /// counts as a failure. Of parallel calls, one swap succeeds; the others read again.
    pub(super) async fn check_code(
        &self,
        Asked { id, mut read, factor, purpose }: Asked<'_>,
        context: Context<'_>,
        code: Option<&SentCode>,
    ) -> Result<Verdict<Finding>, Undecided> {
        let (Some(id), Some(code)) = (id, code) else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        let Context { key, actor, now, policies, .. } = context;
        for _ in 0..MAX_TRIES {
            let open = match self.open_again(&key.tenant, actor, id, read.take(), now).await? {
                Verdict::Accepted(open) if open.get().is_for(key, factor, purpose) => open,
                Verdict::Accepted(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge)),
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let (finding, step) = if self.is_code_of(open.get(), code).await? {
                (Finding::Right, open.end())
            } else {
                (Finding::Wrong, open.fail(policies.challenges.max_failures()))
            };
            if self.swap(&step).await? {
                return Ok(Verdict::Accepted(finding));
            }
        }
        Err(Undecided::Busy)
    }

    /// Whether `code` is the current code of a challenge.
    pub(super) async fn is_code_of(&self, challenge: &Challenge, code: &SentCode) -> Result<bool, Undecided> {
        let kept = KeptSecret::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
        let opened = self.ports.vault.open(&kept.sealed, &SealContext::Challenge(challenge)).await?;
        Ok(CodeDigest::of(code).matches(&opened))
    }

    /// Opens a challenge of this caller and tenant for the next try: as it was read before, or else as it is now.
    /// Rejects it if it is over.
    pub(super) async fn open_again(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
        read: Option<Versioned<Challenge>>,
        now: Timestamp,
    ) -> Result<Verdict<OpenChallenge>, Undecided> {
        let read = match read {
            Some(read) => Verdict::Accepted(read),
            None => self.read_challenge(tenant, actor, id.into()).await?,
        };
        Ok(read.and_then(|read| opened(read, now)))
    }

    /// Stores the next step of a challenge. Returns `false` if the challenge changed in the meantime.
    pub(super) async fn swap(&self, Step { id, expected, next }: &Step) -> Result<bool, Undecided> {
        Ok(self.ports.challenges.swap(id, *expected, next).await? == Commit::Won)
    }

    /// The outbox of the account store.
    ///
    /// # Errors
    /// [`StoreError`] if the store has none.
    pub(super) fn outbox(&self) -> Result<&dyn Outbox, StoreError> {
        self.ports.accounts.outbox().ok_or_else(|| StoreError::new("the account store has no outbox"))
    }

    /// Stores a new challenge for `factor`, and makes the message with its code. The challenge of a pending factor
    /// expires no later than the factor.
    pub(super) async fn put_challenge(
        &self,
        context: Context<'_>,
        id: ChallengeId,
        factor: &Factor,
        purpose: Purpose,
        to: &Address,
    ) -> Result<Outgoing, Undecided> {
        let AccountKey { tenant, user } = context.key.clone();
        let kind = factor
            .challenge_kind()
            .ok_or_else(|| VaultError::new("no code can be sent for a factor of this kind"))?;
        let lifetime = context.now.plus(self.policies.challenges.lifetime());
        let expires_at = match factor.state {
            FactorState::Pending { expires_at, .. } => lifetime.min(expires_at),
            FactorState::Active | FactorState::Removed => lifetime,
        };
        let mut challenge = Challenge {
            id,
            tenant,
            user: Some(user),
            factor: Some(factor.id),
            kind,
            purpose,
            caller: context.actor.caller().clone(),
            nonce: context.session.nonce.cloned(),
            created_at: context.now,
            expires_at,
            progress: Progress::new(ChallengeData::default()),
        };
        let code = self.fresh_sent_code()?;
        let kept = KeptSecret { sealed: self.seal_sent_code(&challenge, &code).await?, resends: 0 };
        challenge.progress.data = kept.to_data().map_err(VaultError::new)?;
        let message = self.message(context, &challenge, factor, to, &code).await?;
        self.ports.challenges.put(&challenge).await?;
        Ok(Outgoing { challenge, message, destination: to.masked() })
    }

    /// Makes the message that brings `code` to its owner. It replaces an earlier message of the same challenge that
    /// is still queued.
    pub(super) async fn message(
        &self,
        context: Context<'_>,
        challenge: &Challenge,
        factor: &Factor,
        to: &Address,
        code: &SentCode,
    ) -> Result<Message, Undecided> {
        let (id, account) = (MessageId::from(challenge.id), context.key);
        let body = Content { kind: factor.kind(), factor: factor.id, purpose: challenge.purpose, to, code };
        let bytes = body.to_bytes().map_err(VaultError::new)?;
        let sealed = self.ports.vault.seal(&bytes, &SealContext::Message { account, id }).await?;
        Ok(Message::queued(id, account.clone(), context.now, challenge.expires_at, sealed))
    }

    pub(super) fn fresh_sent_code(&self) -> Result<SentCode, Undecided> {
        let mut random = Zeroizing::new([0; 8]);
        self.ports.entropy.fill(random.as_mut_slice())?;
        let code = SentCode::from_entropy(u64::from_be_bytes(*random), self.policies.challenges.digits());
        Ok(code.ok_or_else(|| EntropyError::new("the policy returned a number of digits outside 6 to 10"))?)
    }

    /// Seals the digest of a code for its challenge.
    pub(super) async fn seal_sent_code(
        &self,
        challenge: &Challenge,
        code: &SentCode,
    ) -> Result<Sealed, Undecided> {
        let digest = CodeDigest::of(code);
        Ok(self.ports.vault.seal(digest.as_bytes(), &SealContext::Challenge(challenge)).await?)
    }

    pub(super) fn fresh_challenge_id(&self) -> Result<ChallengeId, Undecided> {
        let mut random = [0; ChallengeId::LENGTH];
        self.ports.entropy.fill(&mut random)?;
        Ok(ChallengeId::from_entropy(random))
    }
}

/// Whether this caller began the challenge in this tenant.
fn is_of(challenge: &Challenge, tenant: &TenantId, actor: &Actor) -> bool {
    challenge.tenant == *tenant && challenge.caller == *actor.caller()
}

/// Rejects a challenge that is over.
pub(super) fn opened(read: Versioned<Challenge>, now: Timestamp) -> Verdict<OpenChallenge> {
    OpenChallenge::new(read, now).map_or(Verdict::Rejected(CodeRejection::ChallengeOver), Verdict::Accepted)
}

impl FoundChallenge {
    /// The account that the challenge belongs to; `None` if a passkey is to name it.
    #[must_use]
    pub const fn owner(&self) -> Option<&AccountKey> {
        self.owner.as_ref()
    }

    /// The kind of answer that is expected.
    #[must_use]
    pub const fn kind(&self) -> &ChallengeKind {
        &self.read.value.kind
    }

    /// The host's session that it was begun for.
    #[must_use]
    pub const fn nonce(&self) -> Option<&Nonce> {
        self.read.value.nonce.as_ref()
    }
}

impl From<ChallengeId> for ChallengeRef {
    fn from(id: ChallengeId) -> Self {
        Self::Id(id)
    }
}

impl From<FoundChallenge> for ChallengeRef {
    fn from(found: FoundChallenge) -> Self {
        Self::Found(Box::new(found))
    }
}

impl fmt::Debug for FoundChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundChallenge").field("id", &self.read.value.id).finish_non_exhaustive()
    }
}

impl Outgoing {
    /// The answer for the caller.
    pub(super) fn begun(&self, now: Timestamp) -> BegunChallenge {
        let challenge = ChallengeStatus::of(&self.challenge, now, Some(MessageState::Queued));
        BegunChallenge { challenge, destination: Some(self.destination.clone()), options: None }
    }
}

impl ChallengeStatus {
    pub(super) fn of(challenge: &Challenge, now: Timestamp, delivery: Option<MessageState>) -> Self {
        let over = challenge.is_expired(now);
        Self {
            id: challenge.id,
            user: challenge.user.clone(),
            factor: challenge.factor,
            kind: challenge.kind.clone(),
            state: if over { ChallengeState::Over } else { challenge.progress.state },
            purpose: challenge.purpose,
            expires_at: challenge.expires_at,
            delivery,
        }
    }
}
