//! Verifications per second over HTTP with SQLite, beside the rate of one bare transaction per
//! verification on the same disk in the same run.
//!
//! `cargo bench --package mfa-tests --bench throughput [-- SECONDS]`

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
use std::time::{Duration, Instant};

use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use support::connection::Connection;
use support::{median, population, sqlite};

const CONNECTIONS: [u32; 3] = [8, 64, 256];
const USERS_EACH: u32 = 8;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let seconds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(5);
    let duration = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    let users = CONNECTIONS.into_iter().max().unwrap() * USERS_EACH;
    let api_key = sqlite::populate(folder.path(), 0..users, &FactorKind::Hotp).await;
    let options = ServerOptions::new([("MFA_LOG", "warn")]);
    let server = Server::in_folder(binary!(), folder.path(), &api_key, options);
    let mut counters = vec![0; users as usize];

    let mut floors = Vec::new();
    let mut rates = [const { Vec::new() }; CONNECTIONS.len()];
    for round in 1..=ROUNDS {
        floors.push(bare_transactions(folder.path(), round, duration).await);
        for (connections, rates) in CONNECTIONS.into_iter().zip(&mut rates) {
            rates.push(verifications(&server, &api_key, connections, &mut counters, duration).await);
        }
    }

    let floor = median(&floors);
    println!("{ROUNDS} rounds of {seconds} s each, medians; every code is used once and right");
    println!("bare transactions, one after the other   {floor:>9.0} /s");
    for (connections, rates) in CONNECTIONS.into_iter().zip(&rates) {
        let rate = median(rates);
        println!(
            "verifications, {connections:>3} connections           {rate:>9.0} /s   {:.2} x",
            rate / floor
        );
    }
}

/// What one verification must write, and nothing around it.
async fn bare_transactions(folder: &Path, round: usize, duration: Duration) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("floor-{round}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, hash BLOB)",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, account INTEGER, kind TEXT, previous BLOB, hash BLOB)",
        "INSERT INTO accounts VALUES (1, 0, NULL)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let hash = [7_u8; 32];
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < duration {
        let mut transaction = connection.begin().await.unwrap();
        let update =
            sqlx::query("UPDATE accounts SET version = version + 1, hash = ? WHERE id = 1 AND version = ?");
        let updated = update.bind(&hash[..]).bind(done).execute(&mut *transaction).await.unwrap();
        assert_eq!(updated.rows_affected(), 1);
        let insert =
            sqlx::query("INSERT INTO events (account, kind, previous, hash) VALUES (1, 'verified', ?, ?)");
        insert.bind(&hash[..]).bind(&hash[..]).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        done += 1;
    }
    let rate = f64::from(done) / started.elapsed().as_secs_f64();
    connection.close().await.unwrap();
    rate
}

/// Each connection logs its own users in, one after the other, each code once.
async fn verifications(
    server: &Server,
    api_key: &str,
    connections: u32,
    counters: &mut [u64],
    duration: Duration,
) -> f64 {
    let started = Instant::now();
    let tasks = (0..connections).map(|number| {
        let (url, api_key) = (server.url.clone(), api_key.to_owned());
        let users = number * USERS_EACH..(number + 1) * USERS_EACH;
        let mut counters: Vec<u64> = users.clone().map(|user| counters[user as usize]).collect();
        tokio::spawn(async move {
            let mut connection = Connection::open(&url, &api_key).await;
            let mut done = 0_u64;
            while started.elapsed() < duration {
                for (user, counter) in users.clone().zip(&mut counters) {
                    let code = population::hotp(user, *counter);
                    assert_eq!(connection.verify(&population::user(user), &code).await, 200);
                    *counter += 1;
                    done += 1;
                }
            }
            (done, users, counters)
        })
    });
    let mut total = 0;
    for task in tasks.collect::<Vec<_>>() {
        let (done, users, after) = task.await.unwrap();
        total += done;
        for (user, counter) in users.zip(after) {
            counters[user as usize] = counter;
        }
    }
    total as f64 / started.elapsed().as_secs_f64()
}
