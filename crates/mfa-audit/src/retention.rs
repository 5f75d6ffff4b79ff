//! Retention: removing old events from the beginning of each trail.

use std::time::Duration;

use mfa_domain::Timestamp;
use mfa_domain::ports::{
    AccountEntry, AccountPlace, AccountQuery, AccountStore, Commit, EventPosition, EventQuery, StoreError,
};
use thiserror::Error;

use crate::readable;

/// Accounts, or events of one account, that are read at once. One transaction removes at most this many
/// events.
const BATCH: u32 = 500;

/// The assumed limit of the difference between clocks plus the duration of a change.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// The events that may be removed.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// Events before this time.
    pub before: Timestamp,
    /// And up to this position, so that events which webhooks have yet to deliver stay.
    pub through: EventPosition,
}

/// Whether to remove events or only count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Remove them permanently.
    Remove,
    /// Count them and change nothing.
    Count,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of accounts whose trails were shortened.
    pub accounts: u64,
    /// Number of removed events.
    pub events: u64,
    /// Accounts whose trails do not hold or cannot be read. They are not changed: they are evidence.
    pub broken: Vec<AccountPlace>,
}

/// Why retention stopped. Events removed before stay removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The store failed to list accounts.
    #[error("accounts cannot be read")]
    Accounts(#[source] StoreError),
    /// The store failed to list events.
    #[error("events cannot be read")]
    Events(#[source] StoreError),
    /// The store failed to load an account or to shorten its trail.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The time before which retention may have removed events, for checks that find events missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// This time.
    At(Timestamp),
    /// This long ago: servers continue to remove older events.
    Behind(Duration),
}

impl Old {
    /// All events before this time, delivered or not.
    #[must_use]
    pub const fn than(before: Timestamp) -> Self {
        Self { before, through: EventPosition(u64::MAX) }
    }
}

impl Horizon {
    /// The time before which all events lie that are missing at `now`. Includes 10 minutes for differences
    /// between clocks and for the delay between decision and write.
    #[must_use]
    pub fn gone_before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Behind(retention) => kept_since(now, retention),
        }
        .plus(CLOCKS_DIFFER)
    }
}

/// The time before which events are not kept at `now`, if they are kept for `retention`.
#[must_use]
pub fn kept_since(now: Timestamp, retention: Duration) -> Timestamp {
    let millis = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_millis(now.unix_millis().saturating_sub(millis))
}

/// Removes old events from the beginning of every trail, except for the last old event of each
/// ([`AuditHead::shortened`](mfa_domain::AuditHead::shortened)). Calls `each` for every examined account.
///
/// Several calls may run at once, and an interrupted call keeps its progress.
///
/// # Errors
/// [`PruneError`] if the store fails.
pub async fn prune(
    accounts: &dyn AccountStore,
    old: Old,
    mode: Mode,
    mut each: impl FnMut(),
) -> Result<Pruned, PruneError> {
    let mut pruned = Pruned::default();
    let mut query = AccountQuery {
        after: None,
        not_sealed_with: None,
        second_event_before: Some(old.before),
        limit: BATCH,
    };
    loop {
        let page = accounts.page(&query).await.map_err(PruneError::Accounts)?;
        query.after = page.next;
        pruned.broken.extend(page.unreadable.into_iter().map(|account| account.place));
        for account in page.accounts {
            match shorten(accounts, &account, old, mode).await? {
                Some(0) => {}
                Some(events) => {
                    pruned.accounts += 1;
                    pruned.events += events;
                }
                None => pruned.broken.push(AccountPlace::from(&account.key)),
            }
            each();
        }
        if query.after.is_none() {
            return Ok(pruned);
        }
    }
}

/// How many events of one account were removed; `None` if its trail does not hold.
async fn shorten(
    accounts: &dyn AccountStore,
    account: &AccountEntry,
    old: Old,
    mode: Mode,
) -> Result<Option<u64>, PruneError> {
    let AccountEntry { key, audit_base, .. } = account;
    let mut base = *audit_base;
    let mut query =
        EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: BATCH };
    loop {
        let page = readable(accounts.events(&query).await).map_err(PruneError::Events)?;
        let Some(page) = page.filter(|page| page.unreadable.is_empty()) else { return Ok(None) };
        let mine = page.events.iter().take_while(|recorded| recorded.position <= old.through);
        let events: Vec<_> = mine.map(|recorded| recorded.event.clone()).collect();
        let Ok(next) = base.shortened(key, &events, old.before) else {
            // If another call has just removed the same events, there is nothing left to do.
            let now = readable(accounts.load(key).await)?;
            let moved = now.is_some_and(|now| now.value.audit_base != base);
            return Ok(moved.then(|| base.sequence - audit_base.sequence));
        };
        let done = next == base || !page.more || events.len() < page.events.len();
        if next != base && mode == Mode::Remove && accounts.trim(key, base, next).await? == Commit::Conflict {
            return Ok(Some(base.sequence - audit_base.sequence));
        }
        let mut removed = page.events.iter().filter(|recorded| recorded.event.sequence <= next.sequence);
        query.after = removed.next_back().map(|recorded| recorded.position).or(query.after);
        base = next;
        if done {
            return Ok(Some(base.sequence - audit_base.sequence));
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use mfa_domain::ports::{AccountPage, EventPage};
    use mfa_domain::{Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, Version, Versioned};
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::changes::{self, key};
    use tokio::task::yield_now;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn old(seconds: u64) -> Old {
        Old::than(at(seconds))
    }

    async fn happen(store: &MemoryStore, user: &str, times: impl IntoIterator<Item = u64>) {
        changes::happen(store, &key(user), times).await.unwrap();
    }

    async fn base(store: &MemoryStore, user: &str) -> u64 {
        store.load(&key(user)).await.unwrap().value.audit_base.sequence
    }

    #[test]
    fn clocks_may_differ_by_ten_minutes() {
        let hour = Duration::from_hours(1);
        assert_eq!(Horizon::At(at(1000)).gone_before(at(0)), at(1600));
        assert_eq!(Horizon::Behind(hour).gone_before(at(10_000)), at(10_000 - 3600 + 600));
        // No retention period reaches before 1970.
        assert_eq!(Horizon::Behind(Duration::MAX).gone_before(at(10_000)), at(600));
        assert_eq!(kept_since(at(10), hour), at(0));
    }

    #[tokio::test]
    async fn what_is_too_old_goes_but_for_the_last_of_it() {
        let store = MemoryStore::default();
        happen(&store, "all-old", 0..1700).await;
        happen(&store, "some-old", (0..1000).map(|n| 9000 + n * 2)).await;
        happen(&store, "one-old", [0, 20_000]).await;
        happen(&store, "young", [20_000, 20_001]).await;
        for (mode, again) in [(Mode::Count, 2698), (Mode::Remove, 0)] {
            let pruned = prune(&store, old(11_000), mode, || ()).await.unwrap();
            assert_eq!((pruned.accounts, pruned.events, pruned.broken.len()), (2, 1699 + 999, 0), "{mode:?}");
            let pruned = prune(&store, old(11_000), Mode::Count, || ()).await.unwrap();
            assert_eq!(pruned.events, again, "{mode:?}");
        }
        for (user, removed) in [("all-old", 1699), ("some-old", 999), ("one-old", 0), ("young", 0)] {
            assert_eq!(base(&store, user).await, removed, "{user}");
        }
        // The rest is removed later.
        happen(&store, "all-old", [12_000, 12_001, 30_000]).await;
        let pruned = prune(&store, old(12_002), Mode::Remove, || ()).await.unwrap();
        assert_eq!((pruned.events, base(&store, "all-old").await), (2, 1701));
    }

    #[tokio::test]
    async fn what_webhooks_have_still_to_deliver_stays() {
        let store = MemoryStore::default();
        happen(&store, "alice", 0..10).await;
        happen(&store, "bob", 0..10).await;
        for (through, kept_of_alice, kept_of_bob) in [(0, 10, 10), (1, 10, 10), (4, 7, 10), (12, 1, 9)] {
            let old = Old { through: EventPosition(through), ..old(100) };
            prune(&store, old, Mode::Remove, || ()).await.unwrap();
            let kept = (10 - base(&store, "alice").await, 10 - base(&store, "bob").await);
            assert_eq!(kept, (kept_of_alice, kept_of_bob), "up to {through}");
        }
    }

    /// A store that yields to other tasks before each call, as a remote store does.
    #[derive(Debug)]
    struct Elsewhere(MemoryStore);

    #[async_trait]
    impl AccountStore for Elsewhere {
        async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
            yield_now().await;
            self.0.load(key).await
        }

        async fn commit(&self, key: &AccountKey, at: Version, delta: &Delta) -> Result<Commit, StoreError> {
            yield_now().await;
            self.0.commit(key, at, delta).await
        }

        async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
            yield_now().await;
            self.0.find(tenant, handle).await
        }

        async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
            yield_now().await;
            self.0.page(query).await
        }

        async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
            yield_now().await;
            self.0.events(query).await
        }

        async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
            yield_now().await;
            self.0.trim(key, from, to).await
        }

        async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
            yield_now().await;
            self.0.keys_in_use().await
        }
    }

    #[tokio::test]
    async fn several_may_do_it_at_once() {
        let store = MemoryStore::default();
        for user in 0..20 {
            happen(&store, &format!("user-{user}"), 0..30).await;
        }
        let store = Elsewhere(store);
        let prune = || prune(&store, old(25), Mode::Remove, || ());
        let (one, other) = tokio::join!(prune(), prune());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.broken.is_empty() && other.broken.is_empty());
        // Each event is removed once, by the first call.
        assert_eq!(one.events + other.events, 20 * 24);
    }

    #[tokio::test]
    async fn a_trail_that_does_not_hold_is_left_alone() {
        let store = MemoryStore::default();
        happen(&store, "alice", 0..10).await;
        happen(&store, "bob", 0..10).await;
        // A base that was moved by hand: the remaining events do not follow it.
        let none = AuditHead::default();
        let wrong = AuditHead { sequence: 4, hash: none.hash };
        assert_eq!(store.trim(&key("alice"), none, wrong).await.unwrap(), Commit::Won);
        let pruned = prune(&store, old(100), Mode::Remove, || ()).await.unwrap();
        assert_eq!((pruned.events, pruned.broken), (9, vec![(&key("alice")).into()]));
        assert_eq!(base(&store, "alice").await, 4);
    }
}
