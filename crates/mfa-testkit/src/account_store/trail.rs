//! The audit trail: every event once, in order, and only of its own account and tenant.

use std::collections::BTreeMap;

use mfa_domain::ports::{AccountStore, EventPosition, EventQuery, RecordedEvent};
use mfa_domain::{Actor, EventKind, TenantId, Timestamp, UserId};

use super::samples::id;
use super::subject::{Subject, chain, walk};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn trail(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        events_come_back(store),
        events_are_paged_in_their_order(store),
        events_of_others_are_not_seen(store),
    ]
}

async fn events_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "events", "alice");
    let known = [
        EventKind::EnrolmentStarted,
        EventKind::EnrolmentAbandoned,
        EventKind::FactorActivated,
        EventKind::FactorRenamed,
        EventKind::FactorRevoked,
        EventKind::FactorResynchronised,
        EventKind::FactorSetBack,
        EventKind::FactorAhead,
        EventKind::SecretResealed,
        EventKind::Verified,
        EventKind::VerificationFailed,
        EventKind::CredentialRefused,
        EventKind::PossibleClone,
        EventKind::BackupEligibilityRecorded,
        EventKind::BackupStateChanged,
        EventKind::Locked,
        EventKind::Disabled,
        EventKind::BackupCodesIssued,
        EventKind::Unlocked,
        EventKind::Reset,
        EventKind::Erased,
        EventKind::Other("of_a_newer_version".to_owned()),
    ];
    subject.change(|draft| known.into_iter().for_each(|kind| draft.record(kind, None, []))).await?;
    let awkward =
        "line one\r\nline \"two\" 'three' \\ \t {\"a\": [null]} \u{1F510} '); DROP TABLE events; --";
    subject
        .change(|draft| {
            draft.record(EventKind::Reset, Some(id(1)), [("reason", awkward.to_owned())]);
            let detail = [("a", String::new()), ("B", "2".to_owned()), ("ключ", awkward.repeat(20))];
            draft.record(EventKind::Verified, Some(id(255)), detail);
        })
        .await?;
    subject.check_events().await?;
    let seen = chain(store, &subject.key).await?;
    let actor = Actor::admin("testkit").to_string();
    ensure!(seen.iter().all(|recorded| recorded.event.actor == actor), "an event has another actor");
    ensure!(seen.iter().all(|recorded| recorded.user == subject.key.user), "an event has another user");
    Ok(())
}

async fn events_are_paged_in_their_order(store: &dyn AccountStore) -> Result<(), Violation> {
    let tenant = TenantId::new("event-pages").unwrap();
    let mut subjects = ["alice", "bob", "Alice"].map(|user| Subject::new(store, tenant.as_str(), user));
    let mut expected = Vec::new();
    for round in 0..5_u64 {
        for subject in &mut subjects {
            let before = subject.events.len();
            // The order is that of the commits, whatever their times are.
            let at = Timestamp::from_unix_seconds(1000 - round);
            subject.change_at(at, |draft| draft.record(EventKind::Verified, None, [])).await?;
            let new = subject.events[before..].iter().cloned();
            expected.extend(new.map(|event| (subject.key.user.clone(), event)));
        }
    }
    for limit in [1, 2, 7, 30, 1000] {
        let seen = walk(store, &tenant, None, limit).await?;
        let pairs: Vec<_> =
            seen.iter().map(|recorded| (recorded.user.clone(), recorded.event.clone())).collect();
        ensure!(pairs == expected, "pages of {limit} do not contain every event once in order: {pairs:?}");
        let mut by_user: BTreeMap<&UserId, Vec<&RecordedEvent>> = BTreeMap::new();
        for recorded in &seen {
            by_user.entry(&recorded.user).or_default().push(recorded);
        }
        for (user, events) in by_user {
            let of_user = walk(store, &tenant, Some(user), limit).await?;
            ensure!(
                of_user.iter().eq(events),
                "pages of {limit} of {user:?} do not contain exactly their events: {of_user:?}"
            );
        }
    }
    for user in [None, Some(subjects[0].key.user.clone())] {
        let query =
            EventQuery { tenant: tenant.clone(), user, after: Some(EventPosition(u64::MAX)), limit: 10 };
        let page = store.events(&query).await?;
        ensure!(page.events.is_empty() && !page.more, "there are events after the last possible one");
    }
    Ok(())
}

async fn events_of_others_are_not_seen(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut ours = Subject::new(store, "own-events", "alice");
    let mut theirs = Subject::new(store, "own-events-2", "alice");
    let mut cased = Subject::new(store, "own-events", "ALICE");
    for subject in [&mut ours, &mut theirs, &mut cased] {
        subject.change(|draft| draft.record(EventKind::Verified, None, [])).await?;
    }
    for subject in [&ours, &theirs, &cased] {
        subject.check_events().await?;
    }
    let of_tenant = walk(store, &ours.key.tenant, None, 1000).await?;
    ensure!(of_tenant.len() == 4, "the tenant has 4 events, not {}", of_tenant.len());
    for (tenant, user) in [("own-events", "nobody"), ("own-events-3", "alice")] {
        let tenant = TenantId::new(tenant).unwrap();
        let events = walk(store, &tenant, Some(&UserId::new(user).unwrap()), 1000).await?;
        ensure!(events.is_empty(), "an account that does not exist has events: {events:?}");
    }
    let nobody = walk(store, &TenantId::new("own-events-3").unwrap(), None, 1000).await?;
    ensure!(nobody.is_empty(), "a tenant that does not exist has events: {nobody:?}");
    Ok(())
}
