//! Contract suites for [`DeliveryStore`].
//!
//! Run each suite once, on a store that was only used by other suites of this crate. Commits create the
//! trail, so the store must be an [`AccountStore`] too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mfa_domain::delivery::Claimable;
use mfa_domain::ports::{AccountStore, Commit, DeliveryStore, EventPosition, EventQuery, TrailEvent};
use mfa_domain::{AccountKey, Delivery, EndpointId, TenantId, Timestamp, UserId, Version, Versioned};

use crate::changes::change;
use crate::race::{rounds, together};
use crate::violation::run;
use crate::{Violation, ensure};

/// Checks the contract for one caller at a time.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic<S: DeliveryStore + AccountStore>(store: &S) -> Result<(), Violation> {
    run![
        an_endpoint_is_there_from_its_first_swap_on(store),
        every_field_comes_back(store),
        another_version_changes_nothing(store),
        endpoints_do_not_meet(store),
        the_trail_is_everybodys_in_order(store),
        whoever_begins_at_the_last_event_gets_what_comes(store),
    ]
}

/// Checks that the store keeps the sender's times and uses no clock of its own.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn time<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    run![times_are_kept_and_not_judged(store)]
}

/// Checks the contract for concurrent callers. `one` and `other` are two handles on the same store. Requires
/// a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race<S: DeliveryStore + AccountStore>(one: Arc<S>, other: Arc<S>) -> Result<(), Violation> {
    let stores = &[one, other];
    run![
        one_of_many_claims_wins(stores),
        the_position_never_moves_back(stores),
        no_event_appears_behind_a_page_of_the_trail(stores),
    ]
}

fn endpoint(name: &str) -> EndpointId {
    EndpointId::new(name).unwrap()
}

fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000 + millis)
}

fn fresh() -> Delivery {
    Delivery::starting_after(EventPosition(0))
}

/// Swaps without competition, and compares the stored delivery with the swapped one.
async fn keep(
    store: &dyn DeliveryStore,
    endpoint: &EndpointId,
    expected: Version,
    next: Delivery,
) -> Result<Version, Violation> {
    let commit = store.swap(endpoint, expected, &next).await?;
    ensure!(commit == Commit::Won, "a swap at the stored version {expected:?} did not win");
    let kept = Versioned { value: next, version: expected.next() };
    let read = store.delivery(endpoint).await?;
    ensure!(
        read.as_ref() == Some(&kept),
        "the stored delivery is not the swapped one\n stored: {read:?}\nswapped: {kept:?}"
    );
    Ok(kept.version)
}

async fn an_endpoint_is_there_from_its_first_swap_on<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    let endpoint = endpoint("first-swap");
    ensure!(store.delivery(&endpoint).await?.is_none(), "an endpoint that was never stored was found");
    let commit = store.swap(&endpoint, Version(1), &fresh()).await?;
    ensure!(commit == Commit::Conflict, "an endpoint that does not exist was swapped at version 1");
    ensure!(store.delivery(&endpoint).await?.is_none(), "a swap that did not win created an endpoint");
    keep(store, &endpoint, Version::default(), fresh()).await?;
    Ok(())
}

async fn every_field_comes_back<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    let last = EventPosition(i64::MAX.unsigned_abs());
    let states = [
        fresh(),
        Delivery { position: EventPosition(1), ..fresh() },
        Delivery { position: last, through: Some(last), ..fresh() },
        Delivery { through: Some(EventPosition(0)), ..fresh() },
        Delivery { claimed_until: at(1), ..fresh() },
        Delivery { not_before: at(2), ..fresh() },
        Delivery { failures: u32::MAX, last_failure: Some("status_503".to_owned()), ..fresh() },
        Delivery { last_failure: Some("it's \"so\"".to_owned()), ..fresh() },
        Delivery { stopped: true, ..fresh() },
        Delivery { unreadable: last.0, ..fresh() },
        fresh(),
    ];
    for name in ["fields", &"f".repeat(EndpointId::MAX_LENGTH)] {
        let mut version = Version::default();
        for state in states.clone() {
            version = keep(store, &endpoint(name), version, state).await?;
        }
    }
    Ok(())
}

async fn another_version_changes_nothing<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    let endpoint = endpoint("versions");
    let mut version = Version::default();
    for position in 1..=3 {
        version = keep(store, &endpoint, version, Delivery::starting_after(EventPosition(position))).await?;
    }
    for wrong in [0, 1, 2, 4, i64::MAX.unsigned_abs()] {
        let commit = store.swap(&endpoint, Version(wrong), &fresh()).await?;
        ensure!(commit == Commit::Conflict, "a swap at version {wrong} won where {version:?} is stored");
    }
    let read = store.delivery(&endpoint).await?.map(|stored| (stored.value.position, stored.version));
    ensure!(read == Some((EventPosition(3), version)), "swaps that did not win left {read:?}");
    Ok(())
}

async fn endpoints_do_not_meet<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    let names = ["meet", "meet-2", "meet.2", "meet_2"].map(endpoint);
    for (position, name) in (1..).map(EventPosition).zip(&names) {
        keep(store, name, Version::default(), Delivery::starting_after(position)).await?;
    }
    for (position, name) in (1..).map(EventPosition).zip(&names) {
        let read = store.delivery(name).await?.map(|stored| stored.value.position);
        ensure!(read == Some(position), "{name} is at {read:?}, but {position} was stored");
    }
    Ok(())
}

/// Reads every page of the trail after an event.
async fn walk(
    store: &dyn DeliveryStore,
    after: EventPosition,
    limit: u32,
) -> Result<Vec<TrailEvent>, Violation> {
    let mut walked: Vec<TrailEvent> = Vec::new();
    loop {
        let last = walked.last().map_or(after, |last| last.recorded.position);
        let page = store.trail(last, limit).await?;
        ensure!(page.events.len() <= limit as usize, "a page has more than {limit} events");
        ensure!(!page.more || !page.events.is_empty(), "a page that is not the last is empty");
        for event in page.events {
            let last = walked.last().map_or(after, |last| last.recorded.position);
            ensure!(last < event.recorded.position, "event {} follows event {last}", event.recorded.position);
            walked.push(event);
        }
        if !page.more {
            return Ok(walked);
        }
    }
}

async fn the_trail_is_everybodys_in_order<S: DeliveryStore + AccountStore>(
    store: &S,
) -> Result<(), Violation> {
    let before = store.last_event().await?;
    let tenants = ["trail-b", "trail-a", "trail-c"];
    for round in 0..4 {
        for tenant in tenants {
            let commit = change(store, &key(tenant, &format!("user-{}", round % 2)), |_| ()).await?;
            ensure!(commit == Commit::Won, "a commit did not win");
        }
    }
    let mut expected = Vec::new();
    for tenant in tenants.map(|tenant| TenantId::new(tenant).unwrap()) {
        let query = EventQuery { tenant: tenant.clone(), user: None, after: None, limit: 1000 };
        let events = store.events(&query).await?.events.into_iter();
        expected.extend(events.map(|recorded| TrailEvent { tenant: tenant.clone(), recorded }));
    }
    expected.sort_by_key(|event| event.recorded.position);
    ensure!(expected.len() == 12, "12 events were committed, but {} were found", expected.len());
    for limit in [1, 5, 12, 1000] {
        let walked = walk(store, before, limit).await?;
        ensure!(walked == expected, "in pages of {limit}, the trail is not the committed one\n{walked:?}");
    }
    let all = walk(store, EventPosition(0), 1000).await?;
    ensure!(all.ends_with(&expected), "the whole trail does not end with the last commits");
    let beyond = store.trail(EventPosition(u64::MAX), 10).await?;
    ensure!(beyond.events.is_empty() && !beyond.more, "there are events after the last possible position");
    Ok(())
}

async fn whoever_begins_at_the_last_event_gets_what_comes<S: DeliveryStore + AccountStore>(
    store: &S,
) -> Result<(), Violation> {
    for round in 0..3 {
        let last = store.last_event().await?;
        let page = store.trail(last, 10).await?;
        ensure!(page.events.is_empty(), "{} events follow the last", page.events.len());
        change(store, &key("trail-last", "alice"), |_| ()).await?.won()?;
        let page = store.trail(last, 10).await?;
        let users: Vec<_> = page.events.iter().map(|event| event.recorded.event.sequence).collect();
        ensure!(
            users == [round + 1],
            "after one more commit, the events after the previous last one are of {users:?}"
        );
    }
    Ok(())
}

async fn times_are_kept_and_not_judged<S: DeliveryStore>(store: &S) -> Result<(), Violation> {
    let endpoint = endpoint("times");
    let mut version = Version::default();
    let times = [Timestamp::MAX, Timestamp::default(), at(0), Timestamp::from_unix_millis(1)];
    for claimed_until in times {
        for not_before in times {
            let next = Delivery { claimed_until, not_before, ..fresh() };
            version = keep(store, &endpoint, version, next).await?;
        }
    }
    Ok(())
}

async fn one_of_many_claims_wins<S: DeliveryStore>(stores: &[Arc<S>; 2]) -> Result<(), Violation> {
    const TASKS: usize = 16;
    let endpoint = endpoint("claims");
    // The first round races to create the endpoint.
    for round in 0..rounds(8, 20) {
        let now = at(round * 10_000);
        let claims = together(TASKS, |n| {
            let (store, endpoint) = (Arc::clone(&stores[n % 2]), endpoint.clone());
            async move {
                let Versioned { value, version } = read(store.as_ref(), &endpoint).await?;
                if value.turn(now) != Claimable::Free {
                    return Ok::<_, Violation>(None);
                }
                let claim = value.claimed(EventPosition(n as u64 + 1), now.plus(Duration::from_secs(10)));
                let commit = store.swap(&endpoint, version, &claim).await?;
                Ok((commit == Commit::Won).then_some(claim))
            }
        })
        .await?;
        let claims: Vec<_> = claims.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<_> = claims.into_iter().flatten().collect();
        ensure!(winners.len() == 1, "{} of {TASKS} claims at once won", winners.len());
        for store in stores {
            let read = store.delivery(&endpoint).await?.map(|stored| stored.value);
            ensure!(
                read.as_ref() == Some(&winners[0]),
                "the stored delivery is not the claim that won: {read:?}"
            );
        }
    }
    Ok(())
}

/// Senders that all believe that it is their turn, as when clocks differ.
async fn the_position_never_moves_back<S: DeliveryStore>(stores: &[Arc<S>; 2]) -> Result<(), Violation> {
    const TASKS: usize = 8;
    let times = rounds(8, 20);
    let endpoint = endpoint("positions");
    let moved = together(TASKS, |n| {
        let (store, endpoint) = (Arc::clone(&stores[n % 2]), endpoint.clone());
        async move {
            let mut moved = Vec::new();
            while moved.len() < times {
                let Versioned { value, version } = read(store.as_ref(), &endpoint).await?;
                let to = EventPosition(value.position.0 + 1);
                tokio::task::yield_now().await;
                if store.swap(&endpoint, version, &value.delivered(to)).await? == Commit::Won {
                    moved.push(to);
                }
            }
            Ok::<_, Violation>(moved)
        }
    })
    .await?;
    let moved: Vec<_> = moved.into_iter().collect::<Result<_, _>>()?;
    let distinct: BTreeSet<_> = moved.into_iter().flatten().collect();
    let last = read(stores[0].as_ref(), &endpoint).await?.value.position;
    ensure!(
        distinct.len() == TASKS * times && last == EventPosition((TASKS * times) as u64),
        "{} moves by one position won, over {} positions, and the last position is {last}",
        TASKS * times,
        distinct.len()
    );
    Ok(())
}

/// The stored delivery of an endpoint, or the initial one.
async fn read(store: &dyn DeliveryStore, endpoint: &EndpointId) -> Result<Versioned<Delivery>, Violation> {
    let kept = store.delivery(endpoint).await?;
    Ok(kept.unwrap_or_else(|| Versioned { value: fresh(), version: Version::default() }))
}

async fn no_event_appears_behind_a_page_of_the_trail<S: DeliveryStore + AccountStore>(
    stores: &[Arc<S>; 2],
) -> Result<(), Violation> {
    const WRITERS: usize = 8;
    let commits = rounds(10, 20);
    let before = stores[0].last_event().await?;
    let writing = Arc::new(AtomicBool::new(true));
    let follower = {
        let (store, writing) = (Arc::clone(&stores[1]), Arc::clone(&writing));
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let last_look = !writing.load(Ordering::SeqCst);
                let page = store.trail(seen.last().copied().unwrap_or(before), 3).await?;
                let caught_up = page.events.is_empty();
                seen.extend(page.events.into_iter().map(|event| event.recorded.position));
                if last_look && caught_up {
                    return Ok::<_, Violation>(seen);
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let written = together(WRITERS, |n| {
        // Each task has a tenant and a user of its own, so that commits do not conflict.
        let (store, key) = (Arc::clone(&stores[n % 2]), key(&format!("behind-{n}"), "alice"));
        async move {
            for _ in 0..commits {
                change(store.as_ref(), &key, |_| ()).await?.won()?;
            }
            Ok::<_, Violation>(())
        }
    })
    .await;
    writing.store(false, Ordering::SeqCst);
    let seen = follower.await??;
    written?.into_iter().collect::<Result<(), _>>()?;
    let there: Vec<_> = walk(stores[0].as_ref(), before, 1000).await?;
    let there: Vec<_> = there.into_iter().map(|event| event.recorded.position).collect();
    ensure!(there.len() >= WRITERS * commits, "only {} events were found", there.len());
    ensure!(seen == there, "of {} events, a paging reader saw {}", there.len(), seen.len());
    Ok(())
}

/// A commit without competition, which must win.
trait Won {
    fn won(self) -> Result<(), Violation>;
}

impl Won for Commit {
    fn won(self) -> Result<(), Violation> {
        ensure!(self == Self::Won, "a commit without competition did not win");
        Ok(())
    }
}
