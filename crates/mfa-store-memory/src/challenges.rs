//! Challenges in a map.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::{Challenge, ChallengeId, Progress, Timestamp, Version, Versioned};

/// How long an expired challenge is kept, so that callers learn that it is over.
const KEPT: Duration = Duration::from_hours(1);

/// Challenges in memory: shared by all clones, lost with the process. Users then start again.
#[derive(Clone, Default)]
pub struct MemoryChallenges(Arc<Mutex<Challenges>>);

#[derive(Default)]
struct Challenges {
    of: BTreeMap<ChallengeId, Versioned<Challenge>>,
    /// The same ids by time of expiry, the first to expire first.
    in_order: BTreeSet<(Timestamp, ChallengeId)>,
}

impl MemoryChallenges {
    /// The number of stored challenges, including those that are over.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.challenges().of.len()
    }

    /// Locked for one whole operation, which cannot panic half way.
    fn challenges(&self) -> MutexGuard<'_, Challenges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChallengeStore for MemoryChallenges {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let mut challenges = self.challenges();
        challenges.forget(challenge.created_at);
        match challenges.of.entry(challenge.id) {
            Entry::Occupied(_) => return Err(StoreError::new("a challenge with this id already exists")),
            Entry::Vacant(place) => place.insert(Versioned { value: challenge.clone(), version: Version(1) }),
        };
        challenges.in_order.insert((challenge.expires_at, challenge.id));
        Ok(())
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        Ok(self.challenges().of.get(id).cloned())
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        match self.challenges().of.get_mut(id).filter(|challenge| challenge.version == expected) {
            Some(challenge) => {
                challenge.value.progress = next.clone();
                challenge.version = expected.next();
                Ok(Commit::Won)
            }
            None => Ok(Commit::Conflict),
        }
    }
}

impl Challenges {
    /// Deletes challenges that expired long ago.
    fn forget(&mut self, now: Timestamp) {
        while let Some((expires_at, id)) = self.in_order.first() {
            if expires_at.plus(KEPT) > now {
                return;
            }
            self.of.remove(id);
            self.in_order.pop_first();
        }
    }
}

impl fmt::Debug for MemoryChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryChallenges(..)")
    }
}

#[cfg(test)]
mod tests {
    use mfa_testkit::changes;

    use super::*;

    const START: u64 = 1_700_000_000;

    /// A challenge that is open for a minute.
    fn challenge(number: u8, second: u64) -> Challenge {
        let created_at = Timestamp::from_unix_seconds(START + second);
        let expires_at = created_at.plus(Duration::from_mins(1));
        Challenge { expires_at, ..changes::challenge(number, created_at) }
    }

    #[tokio::test]
    async fn what_expired_long_ago_is_dropped_and_not_before() {
        let store = MemoryChallenges::default();
        for number in 0..50 {
            store.put(&challenge(number, 0)).await.unwrap();
        }
        store.put(&challenge(50, 3659)).await.unwrap();
        assert_eq!(store.remembered(), 51);
        store.put(&challenge(51, 3660)).await.unwrap();
        assert_eq!(store.remembered(), 2);
    }
}
