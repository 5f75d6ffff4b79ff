//! The store of challenges.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, StoreError};
use crate::challenge::{Challenge, ChallengeId, Progress};
use crate::{Version, Versioned};

/// Stores challenges for the minutes that they are open, and their result for an hour more: sent codes, `WebAuthn`
/// ceremonies, push prompts.
///
/// A store knows nothing of states and times. The use case that answers a challenge swaps its progress, which only
/// one caller can win, and then commits to the account. So a challenge is answered at most once. A lost challenge
/// does no harm: the user begins another.
///
/// - Every call MUST see the effect of all calls that were answered before it, on any replica.
/// - MUST NOT decide by its own clock whether a challenge has expired; its answers are the same before and after.
/// - MAY forget a challenge that had expired an hour before another was [created](Challenge::created_at), and SHOULD
///   do so eventually, a bounded number per call. MUST NOT forget any other to make room: the caller charges a
///   [`Throttle`](super::Throttle) before it stores a challenge, and that bounds their number.
/// - Need not be durable: MAY lose challenges when its server or process stops or fails, if its documentation says
///   so. MUST NOT bring back an earlier version or a forgotten challenge; if a fault can cause that, its
///   documentation MUST say which.
#[async_trait]
pub trait ChallengeStore: Debug + Send + Sync + 'static {
    /// Stores a new challenge, at a version of the store's choice.
    ///
    /// MUST fail and change nothing if the id exists. The caller MUST make the id from fresh randomness and never
    /// store an id twice, not even after an error, when it is unknown whether the challenge was stored.
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError>;

    /// Reads the current state of one challenge.
    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError>;

    /// Replaces the progress of a challenge.
    ///
    /// MUST replace the whole progress and nothing else, and give the challenge a version that it never had before.
    /// MUST do so only if the stored version is `expected`, compared in the same atomic operation that writes.
    /// Otherwise, and if the challenge does not exist, MUST answer [`Commit::Conflict`] and change nothing. After an
    /// error it is unknown whether the change was made.
    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError>;
}
