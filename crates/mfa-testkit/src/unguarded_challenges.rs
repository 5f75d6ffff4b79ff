//! A challenge store with its guards removed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::{Challenge, ChallengeId, Progress, Version, Versioned};

/// A wrapper that compares in memory and then writes to the inner store unconditionally. It shows that the
/// race suite depends on the guards of the inner store. It is correct for one caller at a time; the race
/// suite must fail it.
pub struct UnguardedChallenges<S>(pub Arc<S>);

#[async_trait]
impl<S: ChallengeStore> ChallengeStore for UnguardedChallenges<S> {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        self.0.put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.0.get(id).await
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        match self.get(id).await? {
            Some(read) if read.version == expected => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = self.0.swap(id, expected, next).await?;
                Ok(Commit::Won)
            }
            _ => Ok(Commit::Conflict),
        }
    }
}

impl<S> fmt::Debug for UnguardedChallenges<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnguardedChallenges(..)")
    }
}
