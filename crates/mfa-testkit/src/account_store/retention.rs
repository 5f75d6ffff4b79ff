//! Retention: a trail can be trimmed at its beginning and nowhere else.

use mfa_domain::ports::{AccountEntry, AccountPlace, AccountQuery, AccountStore, Commit};
use mfa_domain::{AuditHead, EventKind, TenantId, Timestamp};

use super::subject::{Subject, chain, delta, key, now, walk};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn retention(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        a_beginning_is_removed(store),
        trimming_is_guarded(store),
        what_was_decided_before_still_wins(store),
        accounts_with_old_events_are_found(store),
    ]
}

async fn a_beginning_is_removed(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "trim", "alice");
    let mut other = Subject::new(store, "trim", "bob");
    for _ in 0..6 {
        subject.change(|draft| draft.record(EventKind::Verified, None, [])).await?;
        other.change(|_| ()).await?;
    }
    let before = chain(store, &subject.key).await?;
    for removed in [1, 2, 7, 11] {
        let to = before[removed - 1].event.head();
        subject.trim(to).await?;
        let kept = chain(store, &subject.key).await?;
        ensure!(kept == before[removed..], "after {removed} events were removed, the trail is {kept:?}");
        for limit in [1, 3] {
            let paged = walk(store, &subject.key.tenant, Some(&subject.key.user), limit).await?;
            ensure!(paged == kept, "pages of {limit} do not contain the stored events: {paged:?}");
        }
    }
    other.check().await?;
    other.check_events().await?;
    let of_tenant = walk(store, &subject.key.tenant, None, 1000).await?;
    ensure!(of_tenant.len() == 7, "the tenant has 7 events left, not {}", of_tenant.len());

    // The chain continues, and no position is reused.
    let last = of_tenant.iter().map(|recorded| recorded.position).max();
    subject.change(|_| ()).await?;
    let kept = chain(store, &subject.key).await?;
    ensure!(
        kept.len() == 2 && kept.last().map(|event| event.position) > last,
        "a position was reused: {kept:?}"
    );
    Ok(())
}

async fn trimming_is_guarded(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "trim-guard", "alice");
    for _ in 0..5 {
        subject.change(|_| ()).await?;
    }
    let events = chain(store, &subject.key).await?;
    let head = |n: usize| events[n - 1].event.head();
    let no_beginning = AuditHead { sequence: 0, hash: head(1).hash };
    let trimmed = store.trim(&subject.key, no_beginning, head(2)).await?;
    ensure!(trimmed == Commit::Conflict, "a trail was trimmed from an event where it does not begin");
    subject.trim(head(2)).await?;
    let none = AuditHead::default();
    let other_hash = AuditHead { sequence: 2, hash: head(3).hash };
    let nobody = key("trim-guard", "nobody");
    for (key, from, to) in [
        (&subject.key, none, head(3)),
        (&subject.key, head(1), head(3)),
        (&subject.key, head(3), head(4)),
        (&subject.key, other_hash, head(3)),
        // The last event stays, so there is nothing after it to remove.
        (&subject.key, head(2), head(5)),
        (&subject.key, head(2), AuditHead { sequence: 6, hash: none.hash }),
        (&nobody, none, head(1)),
        (&nobody, none, none),
    ] {
        let trimmed = store.trim(key, from, to).await?;
        ensure!(trimmed == Commit::Conflict, "{key:?} was trimmed from {from:?} to {to:?}");
        subject.check().await?;
        let kept = chain(store, &subject.key).await?;
        ensure!(kept == events[2..], "a rejected trim removed events: {kept:?}");
    }
    let listed = store.load(&nobody).await?;
    ensure!(
        listed == mfa_domain::Versioned::default(),
        "trimming a trail that does not exist created an account"
    );
    Ok(())
}

async fn what_was_decided_before_still_wins(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "trim-version", "alice");
    for _ in 0..3 {
        subject.change(|_| ()).await?;
    }
    let decided = delta(&subject.model.value, &subject.key, now(), |draft| draft.attempts().fail(now()));
    subject.trim(subject.events[1].head()).await?;
    let commit = store.commit(&subject.key, subject.model.version, &decided).await?;
    ensure!(commit == Commit::Won, "a commit decided before a trim did not win");
    subject.model.value.apply(&decided);
    subject.model.version = subject.model.version.next();
    subject.check().await?;
    let kept = chain(store, &subject.key).await?;
    ensure!(kept.len() == 2, "two events are left, not {kept:?}");
    Ok(())
}

async fn accounts_with_old_events_are_found(store: &dyn AccountStore) -> Result<(), Violation> {
    let at = |seconds: u64| Timestamp::from_unix_seconds(1_000_000 + seconds);
    let times: [(&str, &[u64]); 5] =
        [("a", &[10]), ("b", &[10, 20]), ("c", &[10, 20, 30, 40]), ("d", &[40, 50]), ("e", &[10, 30, 20])];
    let mut subjects = Vec::new();
    for (user, times) in times {
        let mut subject = Subject::new(store, "old", user);
        for seconds in times {
            subject.change_at(at(*seconds), |_| ()).await?;
        }
        subjects.push(subject);
    }
    let tenant = TenantId::new("old").unwrap();
    let found = async |before| -> Result<Vec<String>, Violation> {
        let mut found = Vec::new();
        let mut after = Some(AccountPlace::from(&key("ol", "z")));
        // One page at a time, and only of this tenant.
        while after.is_some() {
            let query = AccountQuery {
                after,
                not_sealed_with: None,
                second_event_before: Some(at(before)),
                limit: 1,
            };
            let page = store.page(&query).await?;
            ensure!(page.accounts.len() <= 1, "a page has more than one account");
            for AccountEntry { key, .. } in
                page.accounts.into_iter().filter(|entry| entry.key.tenant == tenant)
            {
                found.push(key.user.as_str().to_owned());
            }
            after = page.next.filter(|next| next.tenant.as_slice() <= tenant.as_str().as_bytes());
        }
        Ok(found)
    };
    for (before, expected) in
        [(0, &[][..]), (20, &[]), (21, &["b", "c"]), (31, &["b", "c", "e"]), (51, &["b", "c", "d", "e"])]
    {
        let found = found(before).await?;
        ensure!(found == expected, "with a second event before {before}: {found:?}");
    }
    // Only events that are still stored count.
    let to = subjects[2].events[1].head();
    subjects[2].trim(to).await?;
    let left = found(40).await?;
    ensure!(left == ["b", "e"], "with a second event before 40, once two were removed: {left:?}");
    let left = found(41).await?;
    ensure!(left == ["b", "c", "e"], "with a second event before 41, once two were removed: {left:?}");
    Ok(())
}
