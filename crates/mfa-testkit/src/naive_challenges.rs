//! A naive challenge store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::{Challenge, ChallengeId, Progress, Version, Versioned};

/// A store that reads a challenge, decides, and writes it, with no guard across the three steps. It is
/// correct for one caller at a time; the race suite must fail it.
#[derive(Clone, Default)]
pub struct NaiveChallenges(Arc<Mutex<BTreeMap<ChallengeId, Versioned<Challenge>>>>);

impl NaiveChallenges {
    /// Reads, and waits at least as long as a round trip to a database takes.
    async fn read(&self, id: &ChallengeId) -> Option<Versioned<Challenge>> {
        let read = self.0.lock().unwrap().get(id).cloned();
        tokio::time::sleep(Duration::from_millis(1)).await;
        read
    }

    fn write(&self, value: Challenge, version: Version) {
        self.0.lock().unwrap().insert(value.id, Versioned { value, version });
    }
}

#[async_trait]
impl ChallengeStore for NaiveChallenges {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        if self.read(&challenge.id).await.is_some() {
            return Err(StoreError::new("a challenge with this id already exists"));
        }
        self.write(challenge.clone(), Version(1));
        Ok(())
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        Ok(self.read(id).await)
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        match self.read(id).await {
            Some(read) if read.version == expected => {
                self.write(Challenge { progress: next.clone(), ..read.value }, expected.next());
                Ok(Commit::Won)
            }
            _ => Ok(Commit::Conflict),
        }
    }
}

impl fmt::Debug for NaiveChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveChallenges(..)")
    }
}
