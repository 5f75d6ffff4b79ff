//! Factors with a first step: a code is queued, and comes back.

use std::fmt;

use zeroize::Zeroizing;

use super::{Call, MAX_TRIES, Mfa, Recipient, SendTo, Undecided};
use crate::account::{CodeRejection, Context, Decision, Factor, FactorState, Finding, Verdict};
use crate::challenge::{CodeDigest, KeptCode, OpenChallenge, Step};
use crate::outbox::Content;
use crate::ports::{Commit, EntropyError, Outbox, StoreError, VaultError};
use crate::sealed::SealContext;
use crate::{
    AccountKey, Actor, Address, Challenge, ChallengeData, ChallengeId, ChallengeKind, ChallengeState,
    FactorId, Message, MessageId, MessageState, Progress, Purpose, Sealed, SentCode, TenantId, Timestamp,
    UserId, Versioned,
};

/// A challenge as its caller may see it. It holds nothing that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeStatus {
    /// Its id, to answer it by.
    pub id: ChallengeId,
    /// Whose it is, if that is known.
    pub user: Option<UserId>,
    /// The factor that answers it, if it is one.
    pub factor: Option<FactorId>,
    /// What kind of answer it waits for.
    pub kind: ChallengeKind,
    /// How far it is; [`ChallengeState::Over`] if it has expired, too.
    pub state: ChallengeState,
    /// What an answer is good for.
    pub purpose: Purpose,
    /// When it is too late for an answer.
    pub expires_at: Timestamp,
    /// Whether its code was sent, where there is one.
    pub delivery: Option<MessageState>,
}

/// A challenge that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunChallenge {
    /// The challenge.
    pub challenge: ChallengeStatus,
    /// Where its code is sent, as it may be shown.
    pub destination: String,
}

/// A challenge as [`Mfa::find_challenge`] read it.
pub struct FoundChallenge {
    owner: AccountKey,
    factor: FactorId,
    read: Versioned<Challenge>,
}

/// Which challenge an answer is for.
///
/// [`Mfa::answer_challenge`] takes a [`ChallengeId`] as well; a [`FoundChallenge`] spares it reading the challenge again.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnswerTo {
    /// The one of that id.
    Challenge(ChallengeId),
    /// What [`Mfa::find_challenge`] found.
    Found(Box<FoundChallenge>),
}

/// A challenge that is kept, and the message with its code, which is not queued yet.
pub(super) struct Outgoing {
    challenge: Challenge,
    pub(super) message: Message,
    destination: String,
}

/// What a challenge must be for its answer to count.
pub(super) struct Asked<'a> {
    /// Which one; none if the factor names none.
    pub(super) id: Option<ChallengeId>,
    /// It, if it was read already.
    pub(super) read: Option<Versioned<Challenge>>,
    /// Whose answer it waits for.
    pub(super) factor: &'a Factor,
    /// What for.
    pub(super) purpose: Purpose,
}

impl Mfa {
    /// Queues a code for the address of an active factor. [`answer_challenge`](Self::answer_challenge) takes it, once,
    /// from the same caller. It is sent by whoever [claims](Self::claim_messages) it.
    ///
    /// Each costs a message and some room for an hour: charge a [`Throttle`](crate::ports::Throttle) first, as
    /// [`recipient`](Self::recipient) says.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed. Then a code may be sent that answers nothing.
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
                Verdict::Accepted(to) if to.account == *key => to,
                Verdict::Accepted(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownFactor)),
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

    /// The challenge, if this caller began it in that tenant; any other is as unknown as one that never was. Charge an
    /// answer to its [owner](FoundChallenge::owner), then [give it](Self::answer_challenge).
    ///
    /// # Errors
    /// [`Undecided`] if the store of challenges failed.
    pub async fn find_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<FoundChallenge>, Undecided> {
        Ok(match self.read_challenge(tenant, actor, id).await? {
            Verdict::Accepted(read) => match read.value.whose() {
                Some((owner, factor)) => Verdict::Accepted(FoundChallenge { owner, factor, read }),
                None => Verdict::Rejected(CodeRejection::UnknownChallenge),
            },
            Verdict::Rejected(rejection) => Verdict::Rejected(rejection),
        })
    }

    /// How far a challenge is, and its message.
    ///
    /// # Errors
    /// [`Undecided`] if a store failed.
    pub async fn challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<ChallengeStatus>, Undecided> {
        let challenge = match self.read_challenge(tenant, actor, id).await? {
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

    /// Takes the code that was sent for a challenge. A right one is used up: however often and wherever it is posted at
    /// the same time, one caller gets [`Verdict::Accepted`]. A wrong one costs an attempt of the account, and the last of
    /// [`ChallengePolicy::max_failures`](crate::policy::ChallengePolicy::max_failures) ends the challenge. A code with
    /// another number of digits than codes have now is as wrong as any other: the challenge may be older than the policy.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; nothing was accepted. The code may be used up.
    pub async fn answer_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        to: impl Into<AnswerTo>,
        code: &SentCode,
    ) -> Result<Verdict, Undecided> {
        let found = match to.into() {
            AnswerTo::Challenge(id) => self.find_challenge(tenant, actor, id).await?,
            AnswerTo::Found(found) => Verdict::Accepted(*found),
        };
        let FoundChallenge { owner: key, factor, read } = match found {
            Verdict::Accepted(found) if found.is_of(tenant, actor) => found,
            Verdict::Accepted(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge)),
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let id = read.value.id;
        let (mut read, mut found) = (Some(read), None);
        let mut change = self.begin(&key, &Call::<Verdict>::from(actor)).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let finding = match (found, account.admit_challenge(context, factor, Purpose::Verify)) {
                // What a code that was looked at costs is for the account to say.
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

    /// Ends a challenge without an answer. For one that is over already there is nothing left to do: whoever asks twice
    /// hears the same twice.
    ///
    /// # Errors
    /// [`Undecided`] if the store of challenges failed.
    pub async fn cancel_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<()>, Undecided> {
        for _ in 0..MAX_TRIES {
            let open = match self.open_challenge(tenant, actor, id, self.ports.clock.now()).await? {
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

    /// The challenge, if this caller began it in that tenant.
    pub(super) async fn read_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<Versioned<Challenge>>, Undecided> {
        let found = self.ports.challenges.get(&id).await?;
        let found = found.filter(|read| is_of(&read.value, tenant, actor));
        Ok(found.map_or(Verdict::Rejected(CodeRejection::UnknownChallenge), Verdict::Accepted))
    }

    /// Whether `code` answers the challenge that is asked. Finding it out has one winner: a right code ends the challenge,
    /// and a wrong one is one of its failures.
    pub(super) async fn check_code(
        &self,
        Asked { id, mut read, factor, purpose }: Asked<'_>,
        context: Context<'_>,
        code: Option<&SentCode>,
    ) -> Result<Verdict<Finding>, Undecided> {
        let (Some(id), Some(code)) = (id, code) else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        let Context { key, actor, now, policies } = context;
        for _ in 0..MAX_TRIES {
            let open = match read.take() {
                Some(read) => opened(read, now),
                None => self.open_challenge(&key.tenant, actor, id, now).await?,
            };
            let open = match open {
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

    /// Whether `code` is the one that a challenge has.
    pub(super) async fn is_code_of(&self, challenge: &Challenge, code: &SentCode) -> Result<bool, Undecided> {
        let kept = KeptCode::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
        let opened = self.ports.vault.open(&kept.sealed, &SealContext::Challenge(challenge)).await?;
        Ok(CodeDigest::of(code).matches(&opened))
    }

    /// The challenge, if this caller began it in that tenant and it is open.
    pub(super) async fn open_challenge(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
        now: Timestamp,
    ) -> Result<Verdict<OpenChallenge>, Undecided> {
        Ok(match self.read_challenge(tenant, actor, id).await? {
            Verdict::Accepted(read) => opened(read, now),
            Verdict::Rejected(rejection) => Verdict::Rejected(rejection),
        })
    }

    /// Whether the step was taken: nobody else took one first.
    pub(super) async fn swap(&self, Step { id, expected, next }: &Step) -> Result<bool, Undecided> {
        Ok(self.ports.challenges.swap(id, *expected, next).await? == Commit::Won)
    }

    /// Where messages are queued.
    ///
    /// # Errors
    /// [`StoreError`] if the store has no outbox.
    pub(super) fn outbox(&self) -> Result<&dyn Outbox, StoreError> {
        self.ports.accounts.outbox().ok_or_else(|| StoreError::new("the store of accounts has no outbox"))
    }

    /// Keeps a new challenge for `factor`, and makes the message with its code. It ends no later than a factor that waits
    /// for it.
    pub(super) async fn put_challenge(
        &self,
        context: Context<'_>,
        id: ChallengeId,
        factor: &Factor,
        purpose: Purpose,
        to: &Address,
    ) -> Result<Outgoing, Undecided> {
        let AccountKey { tenant, user } = context.key.clone();
        let kind =
            factor.challenge_kind().ok_or_else(|| VaultError::new("nothing is sent for such a factor"))?;
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
            created_at: context.now,
            expires_at,
            progress: Progress::new(ChallengeData::default()),
        };
        let code = self.fresh_sent_code()?;
        let kept = KeptCode { sealed: self.seal_sent_code(&challenge, &code).await?, resends: 0 };
        challenge.progress.data = kept.to_data().map_err(VaultError::new)?;
        let message = self.message(context, &challenge, factor, to, &code).await?;
        self.ports.challenges.put(&challenge).await?;
        Ok(Outgoing { challenge, message, destination: to.masked() })
    }

    /// The message that takes `code` to its owner. As long as the one before is queued, it takes its place.
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
        Ok(code.ok_or_else(|| EntropyError::new("the policy asks for a number of digits that no code has"))?)
    }

    /// What a challenge keeps of its code.
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

/// Whether that caller began the challenge in that tenant.
fn is_of(challenge: &Challenge, tenant: &TenantId, actor: &Actor) -> bool {
    challenge.tenant == *tenant && challenge.caller == *actor.caller()
}

/// A challenge that was read, if it is open.
fn opened(read: Versioned<Challenge>, now: Timestamp) -> Verdict<OpenChallenge> {
    OpenChallenge::new(read, now).map_or(Verdict::Rejected(CodeRejection::ChallengeOver), Verdict::Accepted)
}

impl FoundChallenge {
    /// Whose challenge it is.
    #[must_use]
    pub const fn owner(&self) -> &AccountKey {
        &self.owner
    }

    /// Whether that caller may answer it, for a verification in that tenant.
    fn is_of(&self, tenant: &TenantId, actor: &Actor) -> bool {
        self.read.value.purpose == Purpose::Verify && is_of(&self.read.value, tenant, actor)
    }
}

impl From<ChallengeId> for AnswerTo {
    fn from(id: ChallengeId) -> Self {
        Self::Challenge(id)
    }
}

impl From<FoundChallenge> for AnswerTo {
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
    /// What its caller is told.
    pub(super) fn begun(&self, now: Timestamp) -> BegunChallenge {
        let challenge = ChallengeStatus::of(&self.challenge, now, Some(MessageState::Queued));
        BegunChallenge { challenge, destination: self.destination.clone() }
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
