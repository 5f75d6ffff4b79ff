//! How many transactions there were, counted by who wrote the rows.

use std::sync::Arc;

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Account, Message, Version, Versioned};
use mfa_store_postgres::{PostgresError, PostgresStore};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{
    change, delta, factor, inner, key, make, message, now, raw, store, transactions,
    until_one_waits_for_a_lock,
};

/// How many transactions have written events.
async fn writers(url: &str) -> i64 {
    transactions(&mut raw(url).await, "mfa.events").await
}

#[tokio::test]
async fn what_is_queued_together_is_committed_together() {
    const USERS: i64 = 64;
    let (store, url) = store().await;
    let before = writers(&url).await;
    let mut tasks = JoinSet::new();
    for n in 0..USERS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { change(&store, &key(&format!("user-{n}")), |_| ()).await.unwrap() });
    }
    let commits = tasks.join_all().await;
    assert!(commits.iter().all(|commit| *commit == Commit::Won));
    let used = writers(&url).await - before;
    assert!((1..=USERS / 4).contains(&used), "{USERS} commits took {used} transactions");
}

#[tokio::test]
async fn one_at_a_time_each_has_a_transaction_of_its_own() {
    let (store, url) = store().await;
    let before = writers(&url).await;
    for n in 0..10 {
        make(&store, &key(&format!("user-{n}")), |_| ()).await;
    }
    assert_eq!(writers(&url).await - before, 10);
}

#[tokio::test]
async fn several_changes_of_one_account_at_the_same_time_are_still_compared_and_swapped() {
    let (store, url) = store().await;
    let alice = key("alice");
    let mut model = Account::default();
    // Three tasks at each of four versions, one version after the other.
    for version in 0..4 {
        let deltas =
            [1, 2, 3].map(|n| delta(&model, &alice, |draft| draft.put(factor(10 * version + n, 20))));
        let mut tasks = JoinSet::new();
        for (n, delta) in deltas.iter().cloned().enumerate() {
            let (store, alice) = (Arc::clone(&store), alice.clone());
            tasks.spawn(async move { (n, store.commit(&alice, Version(version), &delta).await.unwrap()) });
        }
        let won: Vec<_> =
            tasks.join_all().await.into_iter().filter(|(_, made)| *made == Commit::Won).collect();
        let [(winner, _)] = won[..] else { panic!("{} won at version {version}", won.len()) };
        model.apply(&deltas[winner]);
    }
    assert_eq!(writers(&url).await, 4);
    assert_eq!(store.load(&alice).await.unwrap(), Versioned { value: model, version: Version(4) });
}

/// Requests that are alike in every bit have one winner too.
#[tokio::test(flavor = "multi_thread")]
async fn of_identical_changes_one_wins() {
    let (store, url) = store().await;
    let other = Arc::new(PostgresStore::open(&url).await.unwrap());
    let alice = key("alice");
    let mut model = Account::default();
    for version in 0..20 {
        let delta = delta(&model, &alice, |draft| draft.put(factor(version, 20)));
        let mut tasks = JoinSet::new();
        for n in 0..32 {
            let store = Arc::clone(if n % 2 == 0 { &store } else { &other });
            let (alice, delta) = (alice.clone(), delta.clone());
            tasks.spawn(async move { store.commit(&alice, Version(version), &delta).await.unwrap() });
        }
        let won = tasks.join_all().await.into_iter().filter(|commit| *commit == Commit::Won).count();
        assert_eq!(won, 1, "version {version}");
        model.apply(&delta);
    }
}

/// A code is sent to every second user, while one of each other is verified.
#[tokio::test]
async fn changes_with_and_without_messages_are_committed_together() {
    const USERS: u8 = 32;
    let (store, url) = store().await;
    let mut accounts = Vec::new();
    for n in 0..USERS {
        let user = key(&format!("user-{n}"));
        make(&store, &user, |_| ()).await;
        accounts.push((n, store.load(&user).await.unwrap().value, user));
    }
    // The second change of a version loses, and its message with it.
    let tries = [(0_u8, Commit::Won), (100, Commit::Conflict)];
    let mut tasks = JoinSet::new();
    for (number, expected) in tries {
        for (n, account, user) in &accounts {
            let message = Message { account: user.clone(), ..message(number + *n, now()) };
            let delta = delta(account, user, |draft| {
                if n % 2 == 0 {
                    draft.message(message);
                }
            });
            let (store, user) = (Arc::clone(&store), user.clone());
            tasks.spawn(async move {
                let made = store.commit(&user, Version(1), &delta).await.unwrap();
                assert_eq!(made, expected, "{:?}", user.user);
            });
        }
    }
    tasks.join_all().await;
    for (number, expected) in tries {
        for (n, _, user) in &accounts {
            let message = Message { account: user.clone(), ..message(number + *n, now()) };
            let found = store.outbox().unwrap().message(&user.tenant, message.id).await.unwrap();
            let is_queued = n % 2 == 0 && expected == Commit::Won;
            assert_eq!(found, is_queued.then_some(Versioned { value: message, version: Version(1) }));
        }
    }
    let used = transactions(&mut raw(&url).await, "mfa.accounts").await;
    assert!((1..=8).contains(&used), "{USERS} commits took {used} transactions");
}

#[tokio::test]
async fn a_change_that_cannot_be_made_takes_no_other_with_it() {
    let (store, url) = store().await;
    for n in 0..20 {
        make(&store, &key(&format!("user-{n}")), |_| ()).await;
    }
    // The place of the next event of every seventh is taken, which the server finds out and no check before it.
    let foreign =
        "INSERT INTO mfa.events (tenant_id, account_id, sequence, at, kind, actor, detail, previous, hash)
        SELECT tenant_id, id, audit_sequence + 1, 0, 'foreign', 'nobody', '{}', audit_hash, audit_hash
        FROM mfa.accounts WHERE user_id IN ('user-3', 'user-10', 'user-17')";
    raw(&url).await.execute(foreign).await.unwrap();
    let before = writers(&url).await;
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let user = key(&format!("user-{n}"));
            (n, change(&store, &user, |draft| draft.put(factor(n, 20))).await)
        });
    }
    for (n, made) in tasks.join_all().await {
        let read = store.load(&key(&format!("user-{n}"))).await.unwrap();
        if n % 7 == 3 {
            let error = made.unwrap_err();
            assert!(matches!(inner(&error), PostgresError::Other(_)), "{error:?}");
            assert_eq!((read.version, read.value.factors), (Version(1), vec![]), "user-{n}");
        } else {
            assert_eq!(made.unwrap(), Commit::Won, "user-{n}");
            assert_eq!(read.value.factors, [factor(n, 20)], "user-{n}");
        }
    }
    assert!(writers(&url).await > before, "nobody was in a batch with them");
}

/// Rows are locked in the order of keys, whatever the order in which changes were queued: so no two
/// batches ever wait for each other in a circle.
#[tokio::test]
async fn a_batch_waits_for_the_first_account_before_it_locks_the_second() {
    let (store, url) = store().await;
    let (first, second) = (key("user-1"), key("user-2"));
    for user in [&first, &second] {
        make(&store, user, |_| ()).await;
    }
    let read = [store.load(&first).await.unwrap().value, store.load(&second).await.unwrap().value];
    let deltas = [delta(&read[0], &first, |_| ()), delta(&read[1], &second, |_| ())];
    let (mut holder, mut observer) = (raw(&url).await, raw(&url).await);
    holder.execute("BEGIN; SELECT FROM mfa.accounts WHERE user_id = 'user-1' FOR UPDATE").await.unwrap();
    let (of_second, of_first, ()) = tokio::join!(
        store.commit(&second, Version(1), &deltas[1]),
        store.commit(&first, Version(1), &deltas[0]),
        async {
            until_one_waits_for_a_lock(&mut observer).await;
            observer
                .execute("SELECT FROM mfa.accounts WHERE user_id = 'user-2' FOR UPDATE NOWAIT")
                .await
                .expect("the second is locked while the first is waited for");
            holder.execute("COMMIT").await.unwrap();
        },
    );
    assert_eq!((of_first.unwrap(), of_second.unwrap()), (Commit::Won, Commit::Won));
    assert_eq!(transactions(&mut observer, "mfa.accounts").await, 1, "they were not in one batch");
}
