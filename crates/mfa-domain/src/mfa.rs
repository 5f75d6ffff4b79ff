//! The use cases: load, decide, commit, answer.

use std::fmt;

use event_listener::Event;
use otp_core::{SecretError, UriError};
use thiserror::Error;

use self::latest_commit::LatestCommit;
use crate::account::{Account, CallId, Context, Decision, PolicyDenial};
use crate::audit::{AuditEvent, EventKind};
use crate::keyed_lock::{KeyGuard, KeyedLock};
use crate::policy::{InvalidPolicy, Policies};
use crate::ports::{
    Commit, EntropyError, EventPage, EventQuery, HasherError, InvalidRecipient, Ports, StoreError, VaultError,
};
use crate::{AccountKey, Actor, Delta, MessageState, SubmittedCode, Timestamp, Version, Versioned};

mod administer;
mod backup_codes;
mod call;
mod challenges;
mod deliver;
mod enrol;
mod enrol_address;
mod latest_commit;
mod manage;
mod recipient;
mod resend;
mod secrets;
mod status;
mod verify;

pub use backup_codes::PlainBackupCodes;
pub use call::{Call, Earlier, Keep, Reply};
pub use challenges::{AnswerTo, BegunChallenge, ChallengeStatus, FoundChallenge};
pub use deliver::Delivered;
pub use enrol::{Confirmation, Enrolment, EnrolmentWarning, NewFactor};
pub use enrol_address::{AddressEnrolment, NewAddress};
pub use recipient::{Recipient, SendTo};
pub use status::Status;

/// How often a change is tried anew when somebody else's came first.
///
/// Within one process requests for one account queue, so this many other processes must have won
/// in the meantime.
const MAX_TRIES: usize = 64;

/// Multi-factor authentication for the users of one or more tenants.
///
/// All use cases are methods of it. Its decisions depend on no state of its own: any number of them, in any number
/// of processes, may share one store. Put it into an `Arc` and clone that.
///
/// Every method answers only after what it decided was committed. Dropping a method's future does
/// not undo a commit; it only means that nobody hears of it.
pub struct Mfa {
    ports: Ports,
    policies: Policies,
    turns: KeyedLock<AccountKey>,
    latest_commit: LatestCommit,
    queued: Event,
}

/// It could not be decided, or nobody can tell whether what was decided was recorded: either way
/// nobody may be let in. A code that was sent may be used up; a fresh one may be tried.
///
/// It never turns into acceptance. Its text may be shown to anybody; what went wrong inside is in
/// [`source`](std::error::Error::source), for the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Undecided {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A backup code could not be hashed.
    #[error(transparent)]
    Hasher(#[from] HasherError),
    /// There was no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Somebody else changed the account each time that it was tried, or the same call came first.
    #[error("too many others changed the account at the same time")]
    Busy,
    /// What was to be bound is bound to another user of the tenant already, such as a passkey.
    #[error("it is bound to another user already")]
    HandleTaken,
}

/// Why a factor could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The account or a policy refused it.
    #[error(transparent)]
    Refused(#[from] PolicyDenial),
    /// The secret that was given is not good enough.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The issuer or account name cannot be in an `otpauth` URI.
    #[error(transparent)]
    Name(#[from] UriError),
    /// Nothing can be sent to the address.
    #[error(transparent)]
    Address(#[from] InvalidRecipient),
    /// It could not be decided.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// Why a change was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The account or a policy refused it.
    #[error(transparent)]
    Refused(#[from] PolicyDenial),
    /// It could not be decided.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

impl Mfa {
    /// Use cases on those ports under those policies.
    ///
    /// # Errors
    /// [`InvalidPolicy`] if a policy's numbers make no sense. Let it stop the program: a budget that
    /// cannot be reached is no budget.
    pub fn new(ports: Ports, policies: Policies) -> Result<Self, InvalidPolicy> {
        policies.validate()?;
        let (turns, latest_commit, queued) = (KeyedLock::new(), LatestCommit::default(), Event::new());
        Ok(Self { ports, policies, turns, latest_commit, queued })
    }

    /// The ports it works on.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Pages through the audit trail.
    ///
    /// # Errors
    /// [`Undecided`] if the store fails.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, Undecided> {
        Ok(self.ports.accounts.events(query).await?)
    }

    /// The four steps of a change that needs no slow work: load, decide, commit, answer; again from
    /// the start if somebody else's change came first.
    async fn change<T, E: From<Undecided>>(
        &self,
        key: &AccountKey,
        call: Call<'_, T>,
        mut decide: impl FnMut(&Account, Context<'_>) -> Result<Decision<T>, E>,
    ) -> Result<T, E> {
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            if let Some(answer) = change.commit(decide(&account, context)?, call.keep.as_ref()).await? {
                return Ok(answer);
            }
        }
    }

    /// Begins a change that needs slow work between the steps: it goes round `load` and `commit`
    /// until there is an answer, and keeps its slow work over a retry.
    async fn begin<'a, T>(&'a self, key: &'a AccountKey, call: &Call<'a, T>) -> Transaction<'a> {
        let turn = self.turns.lock(key).await;
        let (version, now) = (Version::default(), Timestamp::default());
        let id = call.keep.as_ref().map(|keep| keep.call);
        let actor = call.actor;
        Transaction {
            mfa: self,
            key,
            actor,
            call: id,
            read: None,
            version,
            now,
            unchanged: None,
            tries: 0,
            _turn: turn,
        }
    }
}

/// A change on its way, holding the account's turn.
struct Transaction<'a> {
    mfa: &'a Mfa,
    key: &'a AccountKey,
    actor: &'a Actor,
    /// Which call it is, if its answer is to be kept.
    call: Option<CallId>,
    /// The account, if it was read without its backup codes before the change began. A commit to it wins only if it is
    /// still so.
    read: Option<Versioned<Account>>,
    /// At which the account was read last.
    version: Version,
    /// When that was.
    now: Timestamp,
    /// What an answer is committed with that changes nothing, if it is to be kept.
    unchanged: Option<Delta>,
    tries: usize,
    _turn: KeyGuard<'a, AccountKey>,
}

impl<'a> Transaction<'a> {
    /// First tries the account as it was read before.
    fn with(self, read: Versioned<Account>) -> Self {
        Self { read: Some(read), ..self }
    }

    /// Reads the account, unless it was tried too often.
    async fn load(&mut self) -> Result<(Account, Context<'a>), Undecided> {
        self.read(true).await
    }

    /// The same for what looks at no backup codes.
    async fn load_without_backup_codes(&mut self) -> Result<(Account, Context<'a>), Undecided> {
        self.read(false).await
    }

    /// The same to verify `code`, which looks at backup codes only if it may be one.
    async fn load_for(&mut self, code: &SubmittedCode) -> Result<(Account, Context<'a>), Undecided> {
        self.read(matches!(code, SubmittedCode::Backup(_))).await
    }

    async fn read(&mut self, backup_codes: bool) -> Result<(Account, Context<'a>), Undecided> {
        if self.tries == MAX_TRIES {
            return Err(Undecided::Busy);
        }
        self.tries += 1;
        let Self { mfa, key, actor, .. } = *self;
        let accounts = &mfa.ports.accounts;
        let Versioned { value: account, version } = match self.read.take() {
            Some(read) if !backup_codes => read,
            _ if backup_codes => accounts.load(key).await?,
            _ => accounts.load_without_backup_codes(key).await?,
        };
        self.version = version;
        self.now = mfa.ports.clock.now();
        // The same call came first: what it did must not be done again.
        if self.call.is_some_and(|call| account.answers.to(call, self.now).is_some()) {
            return Err(Undecided::Busy);
        }
        self.unchanged = self.call.map(|_| account.unchanged(self.now));
        Ok((account, Context { key, actor, now: self.now, policies: &mfa.policies }))
    }

    /// Commits what was decided, and with it the answer if it is to be kept. Only then is the answer to be
    /// had; `None` after a conflict.
    async fn commit<T>(
        &self,
        decision: Decision<T>,
        keep: Option<&Keep<'_, T>>,
    ) -> Result<Option<T>, Undecided> {
        let Decision { answer, delta } = decision;
        let won = self.commit_delta(delta, &answer, keep).await?;
        Ok((won == Commit::Won).then_some(answer))
    }

    /// The same for an answer that a conflict must not use up.
    async fn commit_delta<T>(
        &self,
        delta: Option<Delta>,
        answer: &T,
        keep: Option<&Keep<'_, T>>,
    ) -> Result<Commit, Undecided> {
        let kept = match keep.and_then(|keep| Some((keep, (keep.reply)(answer)?))) {
            Some((keep, reply)) => Some(self.mfa.seal_answer(self.key, keep, reply, self.now).await?),
            None => None,
        };
        // An answer that changed nothing is kept, too: by the time its call is sent again there may be something.
        let delta = delta.or_else(|| self.unchanged.clone().filter(|_| kept.is_some()));
        let Some(mut delta) = delta else { return Ok(Commit::Won) };
        if let Some(kept) = kept {
            delta.keep(kept);
        }
        self.mfa.reseal_answers(self.key, &mut delta).await;
        let Mfa { ports, latest_commit, queued, .. } = self.mfa;
        let commit = ports.accounts.commit(self.key, self.version, &delta).await;
        latest_commit.record(commit.is_err().then(|| ports.clock.now()));
        let commit = commit?;
        match commit {
            Commit::Won => {
                tell(delta.events());
                // One that is given up is put as well.
                if delta.messages().iter().any(|message| message.sending.state == MessageState::Queued) {
                    queued.notify(1);
                }
            }
            Commit::Conflict => {}
            Commit::HandleTaken => return Err(Undecided::HandleTaken),
        }
        Ok(commit)
    }
}

/// Logs what an operator should look at.
fn tell(events: &[AuditEvent]) {
    for event in events.iter().filter(|event| event.kind == EventKind::FactorAhead) {
        let factor = event.factor.map(|id| id.to_string());
        let until = event.detail.get("until");
        tracing::warn!(factor, until, "a factor accepts no code before that time: its last step lies ahead");
    }
}

impl fmt::Debug for Mfa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mfa").field("policies", &self.policies).finish_non_exhaustive()
    }
}
