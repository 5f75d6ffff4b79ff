//! How many loads and commits a second, for one caller and for many: `cargo bench -p mfa-store-postgres`.
//!
//! It starts a PostgreSQL of its own, or uses that of `MFA_TEST_POSTGRES_URL`. Compare the lines of one
//! run with each other, not with those of another machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit, EventQuery};
use mfa_store_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[path = "../tests/support/mod.rs"]
mod support;
use support::{delta, factor, key, raw};

const TASKS: usize = 64;
const ACCOUNTS: usize = 100_000;
const TIME: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let url = support::server::database().await;
    let connections = std::env::var("MFA_BENCH_CONNECTIONS").ok().and_then(|text| text.parse().ok());
    let defaults = PostgresOptions::default();
    let options =
        PostgresOptions { max_connections: connections.unwrap_or(defaults.max_connections), ..defaults };
    let store = Arc::new(PostgresStore::open_with(&url, &options).await.unwrap());
    let other = Arc::new(PostgresStore::open_with(&url, &options).await.unwrap());
    fill(&store).await;
    let one = [Arc::clone(&store)];
    let two = [store, other];
    print("loads, one caller", run(&one, 1, Work::Load).await);
    print("loads, 64 callers", run(&one, TASKS, Work::Load).await);
    print("loads, 64 callers, two stores", run(&two, TASKS, Work::Load).await);
    print("commits, one caller", run(&one, 1, Work::Commit).await);
    print("commits, 64 callers", run(&one, TASKS, Work::Commit).await);
    print("commits, 64 callers, two stores", run(&two, TASKS, Work::Commit).await);
    print("load + commit, one caller", run(&one, 1, Work::Both).await);
    print("load + commit, 64 callers", run(&one, TASKS, Work::Both).await);
    print("load + commit, 256 callers", run(&one, 4 * TASKS, Work::Both).await);
    print("load + commit, 64 callers, two stores", run(&two, TASKS, Work::Both).await);
    print("pages of events, one caller, idle", run(&one, 1, Work::Events).await);
    let pages = tokio::spawn({
        let two = two.clone();
        async move { run(&two, 1, Work::Events).await }
    });
    print("load + commit, 64 callers, beside pages of events", run(&two, TASKS, Work::Both).await);
    print("pages of events, one caller, beside those", pages.await.unwrap());
    let mut shell = raw(&url).await;
    let size: String = sqlx::query_scalar("SELECT pg_size_pretty(pg_database_size(current_database()))")
        .fetch_one(&mut shell)
        .await
        .unwrap();
    println!("database: {size}");
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Load,
    Commit,
    Both,
    Events,
}

/// Every account has one factor.
async fn fill(store: &Arc<PostgresStore>) {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..256 {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= ACCOUNTS as u64 {
                    break;
                }
                support::make(&store, &key(&format!("user-{n}")), |draft| draft.put(factor(n, 60))).await;
            }
        });
    }
    tasks.join_all().await;
}

/// What is done in a second. Each task has accounts of its own.
async fn run(stores: &[Arc<PostgresStore>], tasks: usize, work: Work) -> f64 {
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(&stores[task % stores.len()]);
        running.spawn(async move {
            let mut done = 0_u32;
            let mut n = task;
            while begin.elapsed() < TIME {
                let key = key(&format!("user-{n}"));
                n = (n + tasks) % ACCOUNTS;
                if work == Work::Events {
                    let query = EventQuery { tenant: key.tenant.clone(), user: None, after: None, limit: 10 };
                    store.events(&query).await.unwrap();
                    done += 1;
                    continue;
                }
                let mut account = store.load(&key).await.unwrap();
                // Ten commits of one account, so that the load does not count.
                let rounds = if work == Work::Commit { 10 } else { 1 };
                if matches!(work, Work::Commit | Work::Both) {
                    for _ in 0..rounds {
                        let delta =
                            delta(&account.value, &key, |draft| draft.put(factor(u64::from(done), 60)));
                        let commit = store.commit(&key, account.version, &delta).await.unwrap();
                        assert_eq!(commit, Commit::Won);
                        account.value.apply(&delta);
                        account.version = account.version.next();
                        done += 1;
                    }
                } else {
                    done += 1;
                }
            }
            done
        });
    }
    let done: u32 = running.join_all().await.into_iter().sum();
    f64::from(done) / begin.elapsed().as_secs_f64()
}

fn print(what: &str, rate: f64) {
    println!("{what:<52} {rate:>9.0} /s");
}
