//! Delivery stores that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Clock, Commit, DeliveryStore, EventPage, EventPosition,
    EventQuery, StoreError, SystemClock, TrailPage,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delivery, Delta, EndpointId, Handle, KeyId, TenantId, Timestamp, Version,
    Versioned,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{Violation, delivery_store};

/// What is wrong with a delivery store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    EveryEndpointIsThere,
    AnyVersionCreates,
    AnyVersionSwaps,
    NewerVersionsSwap,
    OneRowForAll,
    ForgetsThrough,
    ForgetsWhetherStopped,
    ForgetsTheFailure,
    VersionStays,
    TrailOfOneTenant,
    TrailBackwards,
    TrailRepeatsTheLast,
    TrailSkipsOne,
    NeverMore,
    AlwaysMore,
    LastIsTheFirst,
    LastIsAhead,
    DropsOldClaims,
    RefusesWhileClaimed,
    WholeSeconds,
    ReadsThenWrites,
    TrailRunsAhead,
}

use Wrong::{
    AlwaysMore, AnyVersionCreates, AnyVersionSwaps, DropsOldClaims, EveryEndpointIsThere, ForgetsTheFailure,
    ForgetsThrough, ForgetsWhetherStopped, LastIsAhead, LastIsTheFirst, NeverMore, NewerVersionsSwap,
    OneRowForAll, ReadsThenWrites, RefusesWhileClaimed, TrailBackwards, TrailOfOneTenant,
    TrailRepeatsTheLast, TrailRunsAhead, TrailSkipsOne, VersionStays, WholeSeconds,
};

const OF_BASIC: [Wrong; 17] = [
    EveryEndpointIsThere,
    AnyVersionCreates,
    AnyVersionSwaps,
    NewerVersionsSwap,
    OneRowForAll,
    ForgetsThrough,
    ForgetsWhetherStopped,
    ForgetsTheFailure,
    VersionStays,
    TrailOfOneTenant,
    TrailBackwards,
    TrailRepeatsTheLast,
    TrailSkipsOne,
    NeverMore,
    AlwaysMore,
    LastIsTheFirst,
    LastIsAhead,
];

const OF_TIME: [Wrong; 3] = [DropsOldClaims, RefusesWhileClaimed, WholeSeconds];

#[tokio::test]
async fn whatever_is_wrong_with_a_delivery_store_is_found() {
    for wrong in OF_BASIC {
        let basic = delivery_store::basic(&broken(wrong)).await;
        assert!(basic.is_err(), "the basic suite does not find {wrong:?}");
    }
    for wrong in OF_TIME {
        assert!(
            delivery_store::time(&broken(wrong)).await.is_err(),
            "the time suite does not find {wrong:?}"
        );
    }
}

async fn race(wrong: Wrong) -> Result<(), Violation> {
    let store = Arc::new(broken(wrong));
    delivery_store::race(store.clone(), store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_reads_and_then_writes_passes_alone_and_fails_the_race() -> Result<(), Violation> {
    delivery_store::basic(&broken(ReadsThenWrites)).await?;
    delivery_store::time(&broken(ReadsThenWrites)).await?;
    let violation = race(ReadsThenWrites).await.expect_err("the suite passed").to_string();
    assert!(violation.contains("of 16 claims at once won"), "{violation}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_does_not_wait_for_writers_fails_the_race() -> Result<(), Violation> {
    delivery_store::basic(&broken(TrailRunsAhead)).await?;
    let violation = race(TrailRunsAhead).await.expect_err("the suite passed").to_string();
    assert!(violation.contains("a paging reader saw"), "{violation}");
    Ok(())
}

fn broken(wrong: Wrong) -> Broken {
    Broken { wrong, inner: MemoryStore::default(), hidden: Mutex::default() }
}

/// A memory store, but for what is wrong.
#[derive(Debug)]
struct Broken {
    wrong: Wrong,
    inner: MemoryStore,
    /// Events that have an id and cannot be seen yet.
    hidden: Mutex<BTreeSet<EventPosition>>,
}

impl Broken {
    fn row(&self, endpoint: &EndpointId) -> EndpointId {
        let one = || EndpointId::new("one").ok();
        if self.wrong == OneRowForAll { one().unwrap_or_else(|| endpoint.clone()) } else { endpoint.clone() }
    }

    fn bent(&self, next: &Delivery) -> Delivery {
        let mut bent = next.clone();
        let now = SystemClock.now();
        match self.wrong {
            ForgetsThrough => bent.through = None,
            ForgetsWhetherStopped => bent.stopped = false,
            ForgetsTheFailure => bent.last_failure = None,
            DropsOldClaims if bent.claimed_until < now => bent.claimed_until = Timestamp::default(),
            WholeSeconds => bent.not_before = Timestamp::from_unix_seconds(bent.not_before.unix_seconds()),
            _ => {}
        }
        bent
    }
}

#[async_trait]
impl DeliveryStore for Broken {
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError> {
        let found = self.inner.delivery(&self.row(endpoint)).await?;
        if self.wrong == EveryEndpointIsThere && found.is_none() {
            let value = Delivery::starting_after(EventPosition(0));
            return Ok(Some(Versioned { value, version: Version(0) }));
        }
        Ok(found)
    }

    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError> {
        let row = self.row(endpoint);
        let stored = self.inner.delivery(&row).await?;
        let version = stored.as_ref().map_or(Version(0), |stored| stored.version);
        let next = self.bent(next);
        let claimed = |stored: &Versioned<Delivery>| stored.value.claimed_until > SystemClock.now();
        match self.wrong {
            AnyVersionCreates if stored.is_none() => self.inner.swap(&row, Version(0), &next).await,
            AnyVersionSwaps if stored.is_some() => self.inner.swap(&row, version, &next).await,
            NewerVersionsSwap if expected > version && stored.is_some() => {
                self.inner.swap(&row, version, &next).await
            }
            RefusesWhileClaimed if stored.as_ref().is_some_and(claimed) => Ok(Commit::Conflict),
            ReadsThenWrites if version == expected => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let version = self.inner.delivery(&row).await?.map_or(Version(0), |stored| stored.version);
                let _ = self.inner.swap(&row, version, &next).await?;
                Ok(Commit::Won)
            }
            VersionStays if stored.is_some() && expected == Version(1) => Ok(Commit::Won),
            _ => self.inner.swap(&row, expected, &next).await,
        }
    }

    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError> {
        let shift = match self.wrong {
            TrailRepeatsTheLast => EventPosition(after.0.saturating_sub(1)),
            TrailSkipsOne if after > EventPosition(0) => EventPosition(after.0.saturating_add(1)),
            _ => after,
        };
        let mut page = self.inner.trail(shift, limit).await?;
        match self.wrong {
            TrailOfOneTenant => {
                let one = TenantId::new("trail-a");
                page.events.retain(|event| one.as_ref().is_ok_and(|one| event.tenant == *one));
            }
            TrailBackwards => page.events.reverse(),
            NeverMore => page.more = false,
            AlwaysMore => page.more = true,
            TrailRunsAhead => {
                let hidden = self.hidden.lock().unwrap();
                page.events.retain(|event| !hidden.contains(&event.recorded.position));
                page.more &= !page.events.is_empty();
            }
            _ => {}
        }
        Ok(page)
    }

    async fn last_event(&self) -> Result<EventPosition, StoreError> {
        match self.wrong {
            LastIsTheFirst => Ok(EventPosition(0)),
            LastIsAhead => Ok(EventPosition(self.inner.last_event().await?.0 + 1)),
            _ => self.inner.last_event().await,
        }
    }
}

#[async_trait]
impl AccountStore for Broken {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.inner.load(key).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let commit = self.inner.commit(key, expected, delta).await?;
        if self.wrong == TrailRunsAhead {
            let last = self.inner.last_event().await?;
            self.hidden.lock().unwrap().insert(last);
            // Those with even ids can be seen later than some that come after them.
            tokio::time::sleep(Duration::from_millis(if last.0.is_multiple_of(2) { 3 } else { 0 })).await;
            self.hidden.lock().unwrap().remove(&last);
        }
        Ok(commit)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.inner.find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.inner.page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.inner.events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.inner.trim(key, from, to).await
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.inner.keys_in_use().await
    }
}
