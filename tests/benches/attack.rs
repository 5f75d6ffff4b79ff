//! How long other users' verifications take while one account is attacked: 500 wrong backup codes at
//! once, and the next 500 on the next account as soon as those are answered.
//!
//! `cargo xtask bench attack [-- SECONDS ROUNDS RATE]`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    unreachable_pub,
    dead_code,
    reason = "a benchmark measures the real clock and prints"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::join_all;
use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use support::connection::Connection;
use support::drive::{on_a_thread, open_loop, percentile};
use support::postgres::Database;
use support::{median, numbers, population, sqlite};

const CONNECTIONS: u32 = 64;
const AT_ONCE: usize = 500;
/// Accounts to attack, in front of those that log in.
const VICTIMS: u32 = 1000;

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter();
    let seconds = arguments.next().unwrap_or(10);
    let rounds = arguments.next().unwrap_or(5);
    let rate = arguments.next().unwrap_or(200);
    // Everybody logs in once, with the code that their app shows at that moment.
    let users = VICTIMS + rounds * 2 * seconds * rate;
    println!(
        "{rate} TOTP verifications a second, {rounds} rounds of {seconds} s idle and {seconds} s attacked"
    );

    let folder = tempfile::tempdir().unwrap();
    let api_key = sqlite::populate(folder.path(), 0..users, FactorKind::Totp).await;
    let server = server(folder.path(), &api_key, None);
    measure("SQLite", &server, &api_key, [seconds, rounds, rate]).await;
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    database.load(folder.path(), 0..users, FactorKind::Totp, 10).await;
    let server = self::server(folder.path(), &database.api_key, Some(&database.url));
    measure("PostgreSQL", &server, &database.api_key, [seconds, rounds, rate]).await;
}

fn server(data: &Path, api_key: &str, store: Option<&str>) -> Server {
    let mut options = ServerOptions::new([("MFA_LOG", "warn")]);
    options.environment.extend(store.map(|url| ("MFA_STORE".to_owned(), url.to_owned())));
    Server::in_folder(binary!(), data, api_key, options)
}

async fn measure(store: &str, server: &Server, api_key: &str, [seconds, rounds, rate]: [u32; 3]) {
    let next = Arc::new(AtomicU32::new(VICTIMS));
    let victim = Arc::new(AtomicU32::new(0));
    let others = || {
        let next = Arc::clone(&next);
        let logins = (0..seconds * rate).map(move |_| {
            let user = next.fetch_add(1, Ordering::Relaxed);
            (population::user(user), population::totp(user))
        });
        open_loop(&server.url, api_key, CONNECTIONS, rate.into(), Box::new(logins))
    };
    let (mut idle, mut attacked, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut alone = others().await;
        let over = Arc::new(AtomicBool::new(false));
        let attack =
            tokio::spawn(attack(server.url.clone(), api_key.to_owned(), victim.clone(), over.clone()));
        let mut beside = others().await;
        over.store(true, Ordering::Relaxed);
        let waves = attack.await.unwrap();
        let p99 = [&mut alone, &mut beside].map(|all| percentile(all, 99).as_secs_f64() * 1e3);
        ratios.push(p99[1] / p99[0]);
        println!(
            "{store:<10}  idle p50 {:>6.2} p99 {:>6.2} ms   attacked p50 {:>6.2} p99 {:>6.2} ms   {:>5.2} x   {} wrong codes /s",
            percentile(&mut alone, 50).as_secs_f64() * 1e3,
            p99[0],
            percentile(&mut beside, 50).as_secs_f64() * 1e3,
            p99[1],
            p99[1] / p99[0],
            waves * u32::try_from(AT_ONCE).unwrap() / seconds,
        );
        idle.extend(alone);
        attacked.extend(beside);
    }
    let all = [&mut idle, &mut attacked].map(|all| percentile(all, 99).as_secs_f64() * 1e3);
    println!(
        "{store:<10}  p99 of all: {:.2} ms idle, {:.2} ms attacked, {:.2} x; median of the rounds {:.2} x\n",
        all[0],
        all[1],
        all[1] / all[0],
        median(&ratios)
    );
}

/// Attacks until it is over. Gives how many times it posted all of its codes.
async fn attack(url: String, api_key: String, victim: Arc<AtomicU32>, over: Arc<AtomicBool>) -> u32 {
    on_a_thread(move || async move {
        let mut connections = join_all((0..AT_ONCE).map(|_| Connection::open(&url, &api_key))).await;
        let mut waves = 0;
        while !over.load(Ordering::Relaxed) {
            let user = population::user(victim.fetch_add(1, Ordering::Relaxed) % VICTIMS);
            let posts = connections.iter_mut().map(|connection| {
                let user = user.clone();
                async move { connection.verify(&user, population::WRONG_BACKUP_CODE).await }
            });
            let answers = join_all(posts).await;
            let count = |wanted: u16| answers.iter().filter(|status| **status == wanted).count();
            // Wrong, locked, or, where the machine is too slow for all of them in two seconds, given up.
            let (evaluated, locked, given_up) = (count(401), count(429), count(503));
            assert!(evaluated <= 5 && evaluated + locked + given_up == AT_ONCE, "{user}: {answers:?}");
            waves += 1;
        }
        waves
    })
    .await
}
