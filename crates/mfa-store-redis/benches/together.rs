//! How many loads, commits and charges a second, for one caller and for many:
//! `cargo bench -p mfa-store-redis`.
//!
//! It starts servers of its own: one with `appendfsync always`, and one with a replica that must have every
//! change. Compare the lines of one run with each other, not with those of another machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit, Throttle, ThrottleKey};
use mfa_domain::quota::Quota;
use mfa_store_redis::{RedisEphemeral, RedisStore};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[path = "../tests/support/mod.rs"]
mod support;
use support::server::{DURABLE, Sentinels, Server, with};
use support::{delta, factor, key, make, now, open, open_ephemeral};

const ACCOUNTS: usize = 10_000;
const CALLERS: [(usize, &str); 2] = [(1, "one caller"), (64, "64 callers")];
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let server = Server::durable();
    let (one, other) = (open(&server.url()).await, open(&server.url()).await);
    fill(&one).await;
    accounts("", &[one.clone(), other]).await;
    let throttle = open_ephemeral(&server.url()).await;
    for (callers, who) in CALLERS {
        print(&format!("charges, {who}"), charge(&throttle, callers).await);
    }
    let plain = Server::start(&[]);
    let throttle = open_ephemeral(&plain.url()).await;
    for (callers, who) in CALLERS {
        print(&format!("charges, {who}, nothing written to disk"), charge(&throttle, callers).await);
    }
    let [appendonly, appendfsync] = DURABLE;
    let sentinels = Sentinels::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let url = with(&sentinels.url(), "replicas=1");
    let (one, other) = (open(&url).await, open(&url).await);
    fill(&one).await;
    accounts(", a replica has it", &[one, other]).await;
}

async fn accounts(how: &str, stores: &[Arc<RedisStore>; 2]) {
    let one = &stores[..1];
    let [(alone, single), (many, crowd)] = CALLERS;
    for (stores, callers, who, which) in
        [(one, alone, single, ""), (one, many, crowd, ""), (&stores[..], many, crowd, ", two stores")]
    {
        print(&format!("loads, {who}{which}{how}"), run(stores, callers, false).await);
        print(&format!("load + commit, {who}{which}{how}"), run(stores, callers, true).await);
    }
}

/// Every account has one factor.
async fn fill(store: &Arc<RedisStore>) {
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for n in (task..ACCOUNTS).step_by(64) {
                make(&store, &key(&format!("user-{n}")), |draft| draft.put(factor(1, 60))).await;
            }
        });
    }
    tasks.join_all().await;
}

/// What is done in a second. Each task has accounts of its own.
async fn run(stores: &[Arc<RedisStore>], tasks: usize, commits: bool) -> f64 {
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(&stores[task % stores.len()]);
        running.spawn(async move {
            let (mut done, mut n) = (0_u32, task);
            while begin.elapsed() < TIME {
                let key = key(&format!("user-{n}"));
                n = (n + tasks) % (ACCOUNTS - ACCOUNTS % tasks);
                let account = store.load(&key).await.unwrap();
                if commits {
                    let delta = delta(&account.value, &key, |draft| draft.put(factor(done.into(), 60)));
                    let commit = store.commit(&key, account.version, &delta).await.unwrap();
                    assert_eq!(commit, Commit::Won);
                }
                done += 1;
            }
            done
        });
    }
    let done: u32 = running.join_all().await.into_iter().sum();
    f64::from(done) / begin.elapsed().as_secs_f64()
}

async fn charge(throttle: &Arc<RedisEphemeral>, tasks: usize) -> f64 {
    let begin = Instant::now();
    let quota = Quota::new(1_000_000, Duration::from_secs(1)).unwrap();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let throttle = Arc::clone(throttle);
        running.spawn(async move {
            let mut done = 0_u32;
            while begin.elapsed() < TIME {
                let user = ThrottleKey::user(&key(&format!("user-{task}-{}", done % 100)));
                let _ = throttle.charge(&user, quota, now()).await.unwrap();
                done += 1;
            }
            done
        });
    }
    let done: u32 = running.join_all().await.into_iter().sum();
    f64::from(done) / begin.elapsed().as_secs_f64()
}

fn print(what: &str, rate: f64) {
    println!("{what:<60} {rate:>9.0} /s");
}
