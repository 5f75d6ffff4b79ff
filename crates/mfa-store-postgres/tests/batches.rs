//! Challenges and results of messages that are in one batch: each call has its own outcome.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use mfa_domain::ports::{AccountStore, ChallengeStore, Commit};
use mfa_domain::{Challenge, Message, Progress, UserId, Version, Versioned};
use mfa_store_postgres::{PostgresError, PostgresStore};
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinSet;

use crate::support::{
    assert_only_locked_fail, challenge, inner, key, make, message, now, over, raw, store, transactions,
    until_one_waits_for_a_lock,
};

/// Stored challenges with the numbers 0 to 9.
async fn challenges(store: &PostgresStore) -> [Challenge; 10] {
    let all: [u8; 10] = std::array::from_fn(|number| u8::try_from(number).unwrap());
    let all = all.map(|number| challenge(number, now()));
    for challenge in &all {
        store.put(challenge).await.unwrap();
    }
    all
}

/// A progress that differs from others by its number.
fn failed(failures: u32) -> Progress {
    Progress { failures, ..challenge(0, now()).progress }
}

#[tokio::test]
async fn challenges_that_are_queued_together_are_put_and_swapped_together() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.put(&challenge(number, now())).await.unwrap() });
    }
    tasks.join_all().await;
    let put = transactions(&mut shell, "mfa.challenges").await;
    assert!((1..=15).contains(&put), "60 challenges took {put} transactions");
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let id = challenge(number, now()).id;
            store.swap(&id, Version(1), &failed(number.into())).await.unwrap()
        });
    }
    assert!(tasks.join_all().await.iter().all(|commit| *commit == Commit::Won));
    let swapped = transactions(&mut shell, "mfa.challenges").await;
    assert!((1..=15).contains(&swapped), "60 swaps took {swapped} transactions");
    for number in 0..60 {
        let progress = failed(number.into());
        let value = Challenge { progress, ..challenge(number, now()) };
        let read = store.get(&value.id).await.unwrap();
        assert_eq!(read, Some(Versioned { value, version: Version(2) }));
    }
}

#[tokio::test]
async fn of_two_swaps_of_one_challenge_in_one_batch_one_wins() {
    let (store, url) = store().await;
    let all = challenges(&store).await;
    let ids = all.each_ref().map(|challenge| &challenge.id);
    let next = [1, 2, 3].map(failed);
    let commits = tokio::join!(
        store.swap(ids[0], Version(1), &next[0]),
        store.swap(ids[1], Version(1), &next[1]),
        store.swap(ids[0], Version(1), &next[2]),
    );
    let commits = [commits.0.unwrap(), commits.1.unwrap(), commits.2.unwrap()];
    assert_eq!(commits, [Commit::Won, Commit::Won, Commit::Conflict]);
    for (place, progress) in next.iter().take(2).enumerate() {
        let read = store.get(ids[place]).await.unwrap().unwrap();
        assert_eq!((read.value.progress, read.version), (progress.clone(), Version(2)));
    }
    let swapped = "(SELECT xmin FROM mfa.challenges WHERE version = 2) AS swapped";
    let together = transactions(&mut raw(&url).await, swapped).await;
    assert_eq!(together, 1, "they were not in one batch");
}

/// Calls that are alike in every bit have one winner, too.
#[tokio::test(flavor = "multi_thread")]
async fn of_identical_swaps_one_wins() {
    let (store, url) = store().await;
    let other = Arc::new(PostgresStore::open(&url).await.unwrap());
    let one = challenge(1, now());
    store.put(&one).await.unwrap();
    for version in 1..20 {
        let mut tasks = JoinSet::new();
        for n in 0..32 {
            let (store, id) = (Arc::clone(if n % 2 == 0 { &store } else { &other }), one.id);
            tasks.spawn(async move { store.swap(&id, Version(version), &failed(1)).await.unwrap() });
        }
        let won = tasks.join_all().await.into_iter().filter(|commit| *commit == Commit::Won).count();
        assert_eq!(won, 1, "version {version}");
    }
}

#[tokio::test]
async fn an_id_that_is_twice_in_one_batch_is_put_once() {
    let (store, _) = store().await;
    let one = challenge(1, now());
    let other = Challenge { user: UserId::new("bob").ok(), ..one.clone() };
    let further = challenge(2, now());
    let (first, second, third) = tokio::join!(store.put(&one), store.put(&other), store.put(&further));
    first.unwrap();
    let error = second.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::DuplicateChallenge), "{error:?}");
    third.unwrap();
    for expected in [one, further] {
        assert_eq!(store.get(&expected.id).await.unwrap().unwrap().value, expected);
    }
}

#[tokio::test]
async fn known_and_unknown_challenges_are_read_together() {
    let (store, _) = store().await;
    let all = challenges(&store).await;
    let unknown = challenge(200, now()).id;
    let (first, nothing, second, again) = tokio::join!(
        store.get(&all[7].id),
        store.get(&unknown),
        store.get(&all[3].id),
        store.get(&all[7].id),
    );
    let read = |number: usize| Some(Versioned { value: all[number].clone(), version: Version(1) });
    assert_eq!((first.unwrap(), nothing.unwrap()), (read(7), None));
    assert_eq!((second.unwrap(), again.unwrap()), (read(3), read(7)));
}

#[tokio::test]
async fn a_challenge_that_cannot_be_read_keeps_no_other_out() {
    let (store, url) = store().await;
    let all = challenges(&store).await;
    let spoil = format!("UPDATE mfa.challenges SET state = 'approved_in_2' WHERE id = '{}'", all[4].id);
    raw(&url).await.execute(AssertSqlSafe(spoil)).await.unwrap();
    let (before, spoilt, after) =
        tokio::join!(store.get(&all[3].id), store.get(&all[4].id), store.get(&all[5].id));
    let error = spoilt.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Undecodable { column: "state", .. }), "{error:?}");
    assert!(error.is_unreadable());
    assert_eq!(before.unwrap().unwrap().value, all[3]);
    assert_eq!(after.unwrap().unwrap().value, all[5]);
    // It can still be ended.
    let next = over();
    let (ended, other) =
        tokio::join!(store.swap(&all[4].id, Version(1), &next), store.swap(&all[5].id, Version(1), &next));
    assert_eq!((ended.unwrap(), other.unwrap()), (Commit::Won, Commit::Won));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_another_transaction_keeps_locked_holds_up_its_own_swap_only() {
    let (store, url) = store().await;
    let all = challenges(&store).await;
    let mut other = raw(&url).await;
    let lock = format!("BEGIN; SELECT FROM mfa.challenges WHERE id = '{}' FOR UPDATE", all[7].id);
    other.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let mut tasks = JoinSet::new();
    for (n, one) in all.iter().enumerate() {
        let (store, id) = (Arc::clone(&store), one.id);
        tasks.spawn(async move { (n, store.swap(&id, Version(1), &over()).await) });
    }
    assert_only_locked_fail(tasks.join_all().await, |n| n == 7, &Commit::Won);
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(store.swap(&all[7].id, Version(1), &over()).await.unwrap(), Commit::Won);
}

/// Rows are locked in the order of ids, whatever the order in which swaps were queued: so no two batches ever
/// wait for each other in a circle.
#[tokio::test]
async fn a_batch_waits_for_the_first_challenge_before_it_locks_the_second() {
    let (store, url) = store().await;
    let all = challenges(&store).await;
    let (mut holder, mut observer) = (raw(&url).await, raw(&url).await);
    let row =
        |number: usize| format!("SELECT FROM mfa.challenges WHERE id = '{}' FOR UPDATE", all[number].id);
    let hold = format!("BEGIN; {}", row(1));
    holder.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
    let next = over();
    let (second, first, ()) = tokio::join!(
        store.swap(&all[2].id, Version(1), &next),
        store.swap(&all[1].id, Version(1), &next),
        async {
            until_one_waits_for_a_lock(&mut observer).await;
            observer
                .execute(sqlx::raw_sql(AssertSqlSafe(format!("{} NOWAIT", row(2)))))
                .await
                .expect("the second is locked while the first is waited for");
            holder.execute("COMMIT").await.unwrap();
        },
    );
    assert_eq!((first.unwrap(), second.unwrap()), (Commit::Won, Commit::Won));
    let swapped = "(SELECT xmin FROM mfa.challenges WHERE version = 2) AS swapped";
    assert_eq!(transactions(&mut observer, swapped).await, 1, "they were not in one batch");
}

#[tokio::test]
async fn results_of_messages_that_are_queued_together_are_stored_together() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    let alice = key("alice");
    let messages: Vec<Message> = (0..20).map(|number| message(number, now())).collect();
    make(&store, &alice, |draft| messages.iter().for_each(|message| draft.message(message.clone()))).await;
    let mut tasks = JoinSet::new();
    // Each twice: a result that came too late must not win.
    for message in messages.iter().chain(&messages) {
        let (store, id, tenant) = (Arc::clone(&store), message.id, alice.tenant.clone());
        let next = message.sending.sent();
        tasks.spawn(async move {
            let outbox = store.outbox().unwrap();
            (id, outbox.swap(&tenant, id, Version(1), &next).await.unwrap())
        });
    }
    let results = tasks.join_all().await;
    for message in messages {
        let of_it = results.iter().filter(|(id, commit)| *id == message.id && *commit == Commit::Won);
        assert_eq!(of_it.count(), 1, "{:?}", message.id);
        let read = store.outbox().unwrap().message(&alice.tenant, message.id).await.unwrap();
        let value = Message { sending: message.sending.sent(), ..message };
        assert_eq!(read, Some(Versioned { value, version: Version(2) }));
    }
    let used = transactions(&mut shell, "mfa.messages").await;
    assert!((1..=5).contains(&used), "20 results took {used} transactions");
}
