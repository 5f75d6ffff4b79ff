//! How many transactions reach the disk, counted in SQLite's own log.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Account, Version, Versioned};
use mfa_store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{change, delta, factor, inner, key, make};

async fn store() -> (SqliteStore, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    (SqliteStore::open(&path).await.unwrap(), path, folder)
}

/// The transactions in the write-ahead log: its frames that say how many pages the database has
/// after them (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn transactions(database: &Path) -> usize {
    let log = fs::read(database.with_extension("db-wal")).unwrap();
    let (header, frames) = log.split_at(32);
    let page_size = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
    let valid = |frame: &&[u8]| frame[8..16] == header[16..24];
    frames.chunks_exact(24 + page_size).take_while(valid).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn what_is_queued_together_is_committed_together() {
    // Few enough for the log not to begin anew, which it does after 1000 pages.
    const USERS: usize = 64;
    let (store, path, _folder) = store().await;
    let before = transactions(&path);
    let mut tasks = JoinSet::new();
    for n in 0..USERS {
        let store = store.clone();
        tasks.spawn(async move { change(&store, &key(&format!("user-{n}")), |_| ()).await.unwrap() });
    }
    let commits = tasks.join_all().await;
    assert!(commits.iter().all(|commit| *commit == Commit::Won));
    let used = transactions(&path) - before;
    assert!((1..=USERS / 4).contains(&used), "{USERS} commits took {used} transactions");
}

#[tokio::test]
async fn one_at_a_time_each_has_a_transaction_of_its_own() {
    let (store, path, _folder) = store().await;
    let before = transactions(&path);
    for n in 0..10 {
        make(&store, &key(&format!("user-{n}")), |_| ()).await;
    }
    assert_eq!(transactions(&path) - before, 10);
}

#[tokio::test]
async fn several_changes_of_one_account_in_one_transaction_are_still_compared_and_swapped() {
    let (store, path, _folder) = store().await;
    let alice = key("alice");
    let mut model = Account::default();
    let mut tasks = JoinSet::new();
    let before = transactions(&path);
    // Three tasks at each of four versions, queued in the order of versions.
    for version in 0..4 {
        let deltas =
            [1, 2, 3].map(|n| delta(&model, &alice, |draft| draft.put(factor(10 * version + n, 20))));
        model.apply(&deltas[0]);
        for delta in deltas {
            let (store, alice) = (store.clone(), alice.clone());
            tasks.spawn(async move { store.commit(&alice, Version(version), &delta).await.unwrap() });
        }
    }
    let commits = tasks.join_all().await;
    let won = commits.iter().filter(|commit| **commit == Commit::Won).count();
    assert_eq!(won, 4);
    assert_eq!(transactions(&path) - before, 1, "they were not in one transaction");
    assert_eq!(store.load(&alice).await.unwrap(), Versioned { value: model, version: Version(4) });
}

#[tokio::test]
async fn a_change_that_cannot_be_made_takes_no_other_with_it() {
    let (store, _, _folder) = store().await;
    let mut tasks = JoinSet::new();
    for n in 0..20_u64 {
        let store = store.clone();
        // Every seventh asks for a version that SQLite cannot hold.
        let version = if n % 7 == 3 { u64::MAX } else { 0 };
        tasks.spawn(async move {
            let user = key(&format!("user-{n}"));
            let delta = delta(&Account::default(), &user, |draft| draft.put(factor(n, 20)));
            (n, store.commit(&user, Version(version), &delta).await)
        });
    }
    for (n, made) in tasks.join_all().await {
        let read = store.load(&key(&format!("user-{n}"))).await.unwrap();
        if n % 7 == 3 {
            inner(&made.unwrap_err());
            assert_eq!(read, Versioned::default(), "user-{n}");
        } else {
            assert_eq!(made.unwrap(), Commit::Won, "user-{n}");
            assert_eq!(read.value.factors, [factor(n, 20)], "user-{n}");
        }
    }
}
