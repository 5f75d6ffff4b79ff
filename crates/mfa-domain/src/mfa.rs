//! The use cases: load, decide, commit, answer.

use std::fmt;
use std::sync::atomic::AtomicBool;

use event_listener::Event;
use otp_core::{SecretError, UriError};
use thiserror::Error;

use self::latest_commit::LatestCommit;
use self::signing_keys::KeysInMemory;
use crate::account::{Account, CallId, Context, Decision, PolicyDenial, Session};
use crate::audit::{AuditEvent, EventKind};
use crate::keyed_lock::{KeyGuard, KeyedLock};
use crate::policy::{InvalidPolicy, Policies};
use crate::ports::{
    Commit, CredentialRefusal, EntropyError, EventPage, EventQuery, HasherError, InvalidRecipient, Ports,
    SignerError, StoreError, VaultError, WebauthnError,
};
use crate::{AccountKey, Actor, Delta, MessageState, SubmittedCode, Timestamp, Version, Versioned};

mod administer;
mod backup_codes;
mod call;
mod challenges;
mod deliver;
mod enrol;
mod enrol_address;
mod fake_passkeys;
mod latest_commit;
mod manage;
mod passkey_challenges;
mod passkeys;
mod recipient;
mod relying_party;
mod resend;
mod secrets;
mod signing_keys;
mod status;
mod verify;

pub use backup_codes::PlainBackupCodes;
pub use call::{Call, Earlier, Keep, Reply};
pub use challenges::{BegunChallenge, ChallengeRef, ChallengeStatus, FoundChallenge};
pub use deliver::Delivered;
pub use enrol::{Confirmation, Enrolment, EnrolmentWarning, NewFactor};
pub use enrol_address::{AddressEnrolment, NewAddress};
pub use passkey_challenges::{PasskeyStep, PasskeyVerified};
pub use passkeys::{AcceptedPasskeys, NewPasskey, PasskeyEnrolment};
pub use recipient::{FirstStep, Recipient, SendTo};
pub use relying_party::Stranded;
pub use signing_keys::AssertionKey;
pub use status::Status;

/// How often a use case is retried after a conflict.
///
/// Requests of one process for one account run one after another, so each conflict is a commit of another process.
const MAX_TRIES: usize = 64;

/// Multi-factor authentication for the users of one or more tenants.
///
/// All use cases are methods of this type. No decision depends on its own state, so any number of instances, in any
/// number of processes, may share one store. To share one instance between tasks, wrap it in an `Arc`.
///
/// Every method answers only after its decision is committed. Dropping the future of a method does not undo a commit;
/// only its answer is lost.
pub struct Mfa {
    ports: Ports,
    policies: Policies,
    turns: KeyedLock<AccountKey>,
    latest_commit: LatestCommit,
    queued: Event,
    /// Whether the configured relying party is known to be the one in use.
    relying_party_is_in_use: AtomicBool,
    keys_in_memory: KeysInMemory,
}

/// There is no decision, or it is unknown whether the decision was recorded. Let nobody in.
///
/// A code may be used up by the failed call; the user may try a new one.
///
/// An error never turns into an acceptance. Its text is safe to show to anybody. The cause is in
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
    /// The source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// What checks passkeys failed.
    #[error(transparent)]
    Webauthn(#[from] WebauthnError),
    /// An assertion could not be signed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Every try ended in a conflict, or an earlier copy of the same call has been answered already.
    #[error("the account was changed by too many requests at the same time")]
    Busy,
    /// The value to bind, such as a passkey, is bound to another user of the tenant.
    #[error("it is already bound to another user")]
    HandleTaken,
}

/// Why a factor could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The account or a policy refused the factor.
    #[error(transparent)]
    Refused(#[from] PolicyDenial),
    /// The given secret is too weak or malformed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The issuer or account name cannot be part of an `otpauth` URI.
    #[error(transparent)]
    Name(#[from] UriError),
    /// The address cannot receive messages.
    #[error(transparent)]
    Address(#[from] InvalidRecipient),
    /// The passkey cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
    /// There is no decision.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// Why a change was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The account or a policy refused the change.
    #[error(transparent)]
    Refused(#[from] PolicyDenial),
    /// There is no decision.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

impl Mfa {
    /// Creates the use cases for these ports and policies.
    ///
    /// # Errors
    /// [`InvalidPolicy`] if a number of a policy is out of range. Stop the program then: a budget that can never be
    /// spent does not limit guesses.
    pub fn new(ports: Ports, policies: Policies) -> Result<Self, InvalidPolicy> {
        policies.validate()?;
        let (turns, latest_commit, queued) = (KeyedLock::new(), LatestCommit::default(), Event::new());
        let relying_party_is_in_use = AtomicBool::new(false);
        let keys_in_memory = KeysInMemory::default();
        Ok(Self { ports, policies, turns, latest_commit, queued, relying_party_is_in_use, keys_in_memory })
    }

    /// The ports in use.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns one page of the audit trail.
    ///
    /// # Errors
    /// [`Undecided`] if the store fails.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, Undecided> {
        Ok(self.ports.accounts.events(query).await?)
    }

    /// Runs a change without slow work: load, decide, commit, answer. Starts again after a conflict.
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

    /// Begins a change with slow work between `load` and `commit`. The caller repeats both until there is an answer,
    /// and keeps the results of its slow work for the next try.
    async fn begin<'a, T>(&'a self, key: &'a AccountKey, call: &Call<'a, T>) -> Transaction<'a> {
        let turn = self.turns.lock(key).await;
        let (version, now) = (Version::default(), Timestamp::default());
        let id = call.keep.as_ref().map(|keep| keep.call);
        let Call { actor, session, .. } = *call;
        Transaction {
            mfa: self,
            key,
            actor,
            session,
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

/// A change in progress. Holds the lock on the account within this process.
struct Transaction<'a> {
    mfa: &'a Mfa,
    key: &'a AccountKey,
    actor: &'a Actor,
    session: Session<'a>,
    /// The id of the call, if its answer is kept.
    call: Option<CallId>,
    /// The account, if it was read before the change began, without backup codes. A commit based on it succeeds only
    /// if the account has not changed since.
    read: Option<Versioned<Account>>,
    /// The version at the last read.
    version: Version,
    /// The time of the last read.
    now: Timestamp,
    /// The delta that stores the answer if nothing else changes; `None` if the answer is not kept.
    unchanged: Option<Delta>,
    tries: usize,
    _turn: KeyGuard<'a, AccountKey>,
}

impl<'a> Transaction<'a> {
    /// Uses the account for the first try, if it was read before.
    fn with(self, read: impl Into<Option<Versioned<Account>>>) -> Self {
        Self { read: read.into(), ..self }
    }

    /// Reads the account. Fails with [`Undecided::Busy`] after [`MAX_TRIES`].
    async fn load(&mut self) -> Result<(Account, Context<'a>), Undecided> {
        self.read(true).await
    }

    /// Reads the account for a decision that needs no backup codes.
    async fn load_without_backup_codes(&mut self) -> Result<(Account, Context<'a>), Undecided> {
        self.read(false).await
    }

    /// Reads the account to verify `code`. Reads backup codes only if `code` can be one.
    async fn load_for(&mut self, code: &SubmittedCode) -> Result<(Account, Context<'a>), Undecided> {
        self.read(matches!(code, SubmittedCode::Backup(_))).await
    }

    async fn read(&mut self, backup_codes: bool) -> Result<(Account, Context<'a>), Undecided> {
        if self.tries == MAX_TRIES {
            return Err(Undecided::Busy);
        }
        self.tries += 1;
        let Self { mfa, key, actor, session, .. } = *self;
        let accounts = &mfa.ports.accounts;
        let Versioned { value: account, version } = match self.read.take() {
            Some(read) if !backup_codes => read,
            _ if backup_codes => accounts.load(key).await?,
            _ => accounts.load_without_backup_codes(key).await?,
        };
        self.version = version;
        self.now = mfa.ports.clock.now();
        // An earlier copy of this call is committed; its effect must not be repeated.
        if self.call.is_some_and(|call| account.answers.to(call, self.now).is_some()) {
            return Err(Undecided::Busy);
        }
        self.unchanged = self.call.map(|_| account.unchanged(self.now));
        Ok((account, Context { key, actor, now: self.now, policies: &mfa.policies, session }))
    }

    /// Commits a decision, together with its answer if that is kept. Returns the answer only after the commit, and
    /// `None` after a conflict.
    async fn commit<T>(
        &self,
        decision: Decision<T>,
        keep: Option<&Keep<'_, T>>,
    ) -> Result<Option<T>, Undecided> {
        let Decision { answer, delta } = decision;
        let won = self.commit_delta(delta, &answer, keep).await?;
        Ok((won == Commit::Won).then_some(answer))
    }

    /// Commits a delta as [`commit`](Self::commit) does, but borrows the answer, so that the caller still has it
    /// after a conflict.
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
        // An answer is kept even if nothing changed: a repeated call might find something to change.
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
                // The delta may also hold a message that is given up; that one is not queued.
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

/// Logs events that need an operator's attention.
fn tell(events: &[AuditEvent]) {
    for event in events.iter().filter(|event| event.kind == EventKind::FactorAhead) {
        let factor = event.factor.map(|id| id.to_string());
        let until = event.detail.get("until");
        tracing::warn!(
            factor,
            until,
            "the last step of a factor is in the future; it accepts no code before this time"
        );
    }
}

impl fmt::Debug for Mfa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mfa").field("policies", &self.policies).finish_non_exhaustive()
    }
}
