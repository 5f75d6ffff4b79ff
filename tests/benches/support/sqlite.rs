//! A data directory with many users in SQLite.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mfa_domain::FactorKind;
use mfa_domain::Version;
use mfa_domain::ports::{AccountStore, ApiKeyStore, Commit};
use mfa_store_sqlite::SqliteStore;

use super::population;

/// Makes the data directory, or adds to it: a key ring, an API key, and users with ten backup codes
/// each. Gives the API key.
pub async fn populate(data: &Path, users: Range<u32>, kind: &FactorKind) -> String {
    let vault = Arc::new(population::vault(data));
    let store = Arc::new(SqliteStore::open(&data.join("mfa.db")).await.expect("a store"));
    let (api_key, record) = population::api_key();
    store.insert(&record).await.expect("a key");

    // Many at a time, so that they share transactions.
    let next = Arc::new(AtomicU32::new(users.start));
    let tasks = (0..256).map(|_| {
        let (store, vault, next) = (Arc::clone(&store), Arc::clone(&vault), Arc::clone(&next));
        let kind = kind.clone();
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= users.end {
                    return;
                }
                let (key, delta) = population::enrolled(&vault, number, &kind, 10).await;
                assert_eq!(store.commit(&key, Version(0), &delta).await.expect("a commit"), Commit::Won);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a user");
    }
    store.close().await;
    api_key
}
