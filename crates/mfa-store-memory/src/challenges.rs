//! Challenges in a map.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::{Challenge, ChallengeId, Progress, Timestamp, Version, Versioned};

/// For so long a challenge is kept after it expired: a clock that is behind by less still finds it.
const KEPT: Duration = Duration::from_hours(1);

/// Challenges in memory: shared by all clones, gone with the process, so that users start again.
#[derive(Clone, Default)]
pub struct MemoryChallenges(Arc<Mutex<Challenges>>);

#[derive(Default)]
struct Challenges {
    of: BTreeMap<ChallengeId, Versioned<Challenge>>,
    /// The same ids by when they expire, the first to expire first.
    in_order: BTreeSet<(Timestamp, ChallengeId)>,
}

impl MemoryChallenges {
    /// How many challenges it remembers, expired ones included.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.challenges().of.len()
    }

    /// For one whole operation, which cannot panic half way.
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
            Entry::Occupied(_) => return Err(StoreError::new("there is a challenge of that id already")),
            Entry::Vacant(place) => place.insert(Versioned { value: challenge.clone(), version: Version(1) }),
        };
        challenges.in_order.insert((challenge.expires_at, challenge.id));
        Ok(())
    }

    async fn get(
        &self,
        id: &ChallengeId,
        now: Timestamp,
    ) -> Result<Option<Versioned<Challenge>>, StoreError> {
        Ok(self.challenges().open(id, now).cloned())
    }

    async fn swap(
        &self,
        id: &ChallengeId,
        expected: Version,
        next: &Progress,
        now: Timestamp,
    ) -> Result<Commit, StoreError> {
        match self.challenges().open(id, now).filter(|challenge| challenge.version == expected) {
            Some(challenge) => {
                challenge.value.progress = next.clone();
                challenge.version = expected.next();
                Ok(Commit::Won)
            }
            None => Ok(Commit::Conflict),
        }
    }

    async fn take(&self, id: &ChallengeId, now: Timestamp) -> Result<Option<Challenge>, StoreError> {
        let mut challenges = self.challenges();
        if challenges.open(id, now).is_none() {
            return Ok(None);
        }
        let taken = challenges.of.remove(id).map(|challenge| challenge.value);
        if let Some(challenge) = &taken {
            challenges.in_order.remove(&(challenge.expires_at, *id));
        }
        Ok(taken)
    }
}

impl Challenges {
    /// A challenge that is there and has not expired.
    fn open(&mut self, id: &ChallengeId, now: Timestamp) -> Option<&mut Versioned<Challenge>> {
        self.of.get_mut(id).filter(|challenge| !challenge.value.is_expired(now))
    }

    /// Drops what expired long ago.
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
    use mfa_domain::{AccountKey, ChallengeData, ChallengeKind, TenantId, UserId};

    use super::*;

    const START: u64 = 1_700_000_000;

    /// Open for a minute.
    fn challenge(number: u8, second: u64) -> Challenge {
        let created_at = Timestamp::from_unix_seconds(START + second);
        Challenge {
            id: ChallengeId::from_entropy([number; 16]),
            account: AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap()),
            factor: None,
            kind: ChallengeKind::EmailCode,
            created_at,
            expires_at: created_at.plus(Duration::from_mins(1)),
            progress: Progress::new(ChallengeData::default()),
        }
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

    #[tokio::test]
    async fn what_was_taken_takes_no_room() {
        let store = MemoryChallenges::default();
        let now = Timestamp::from_unix_seconds(START);
        for number in 0..50 {
            store.put(&challenge(number, 0)).await.unwrap();
            assert!(store.take(&challenge(number, 0).id, now).await.unwrap().is_some());
        }
        assert_eq!(store.remembered(), 0);
        assert!(store.challenges().in_order.is_empty());
    }
}
