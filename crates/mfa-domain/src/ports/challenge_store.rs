//! Where challenges are kept while they are open.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, StoreError};
use crate::challenge::{Challenge, ChallengeId, Progress};
use crate::{Version, Versioned};

/// Keeps what is open for minutes: codes that were sent, `WebAuthn` ceremonies, push prompts; and for an hour more
/// what became of it.
///
/// A store knows nothing of states and times: whoever answers a challenge swaps it to its next progress, which has one
/// winner, and then commits to the account. So a challenge is answered once, and one that is lost costs nobody
/// anything: the user starts again.
///
/// - What a call was answered MUST hold for every call after it, on whichever replica.
/// - An implementation MUST NOT decide by a clock of its own whether a challenge has expired, and answers the same
///   before and after.
/// - It MAY forget a challenge that had expired an hour before another was
///   [made](Challenge::created_at), and SHOULD forget it sooner or later, a bounded number in passing. It MUST NOT
///   forget any other to make room: whoever puts challenges charges a [`Throttle`](super::Throttle) first, and that
///   bounds their number.
/// - It need not be durable: it MAY lose challenges when what it is kept in stops or fails, if its
///   documentation says so. It MUST NOT bring back an earlier version, nor one that it has forgotten; where a
///   fault can make it, its documentation MUST say which.
#[async_trait]
pub trait ChallengeStore: Debug + Send + Sync + 'static {
    /// Keeps a new challenge, at a version of the store's choice.
    ///
    /// MUST refuse an id that is there already with an error, and then change nothing.
    /// The caller MUST make the id from fresh randomness, and never put one again that it has put; also
    /// not after an error, when it is unknown whether it was put.
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError>;

    /// Reads one challenge as it is now.
    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError>;

    /// Changes what may change in a challenge.
    ///
    /// MUST replace the whole progress and nothing else, and give it a version that it never had before;
    /// and only while the stored version is `expected`, compared in the same atomic operation that writes.
    /// MUST otherwise answer [`Commit::Conflict`] and change nothing, also if it is not there. After an
    /// error it is unknown whether the change was made.
    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError>;
}
