//! How long verifications take at a quarter, half and nine tenths of the highest rate, and a picture
//! of that.
//!
//! `cargo xtask bench latency [-- SECONDS ROUNDS]` draws `docs/latency.svg`.

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

#[path = "support/plot.rs"]
mod plot;
mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use support::drive::{Walk, closed_loop, open_loop, percentile};
use support::postgres::Database;
use support::{median, numbers, population, sqlite};

const USERS: u32 = 20_000;
const CONNECTIONS: u32 = 64;
const SHARES: [u32; 3] = [25, 50, 90];

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter();
    let time = Duration::from_secs(arguments.next().unwrap_or(10).into());
    let rounds = arguments.next().unwrap_or(3);
    println!("medians of {rounds} rounds of {} s; {CONNECTIONS} connections; ms", time.as_secs());

    let folder = tempfile::tempdir().unwrap();
    let api_key = sqlite::populate(folder.path(), 0..2 * USERS, &FactorKind::Hotp).await;
    let options = ServerOptions::new([("MFA_LOG", "warn")]);
    let server = Server::in_folder(binary!(), folder.path(), &api_key, options);
    let sqlite = measure("SQLite", &server, &api_key, time, rounds).await;
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    database.load(folder.path(), 0..2 * USERS, &FactorKind::Hotp, 10).await;
    let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)]);
    let server = Server::in_folder(binary!(), folder.path(), &database.api_key, options);
    let postgres = measure("PostgreSQL", &server, &database.api_key, time, rounds).await;

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/latency.svg");
    plot::draw(&file, &[sqlite, postgres].concat());
    println!("drawn: docs/latency.svg");
}

/// The lines of one store: its median and its 99th percentile.
async fn measure(
    store: &str,
    server: &Server,
    api_key: &str,
    time: Duration,
    rounds: u32,
) -> Vec<plot::Line> {
    let mut walks = Walk::share_out(0..USERS, CONNECTIONS);
    let others = Arc::new(Mutex::new(Walk::share_out(USERS..2 * USERS, 1).remove(0)));
    closed_loop(&server.url, api_key, &mut walks, Duration::from_secs(1)).await;
    let mut highest = Vec::new();
    let mut latencies = SHARES.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        // Again in each round: what the machine can do changes with what else it does.
        let rate = closed_loop(&server.url, api_key, &mut walks, time).await;
        highest.push(rate);
        for (share, latencies) in SHARES.into_iter().zip(&mut latencies) {
            let rate = rate * f64::from(share) / 100.0;
            let count = u32::try_from(Duration::from_secs_f64(rate * time.as_secs_f64()).as_secs()).unwrap();
            let others = Arc::clone(&others);
            let logins = (0..count).map(move |_| {
                let (user, counter) = others.lock().unwrap().next();
                (population::user(user), population::hotp(user, counter))
            });
            let mut all = open_loop(&server.url, api_key, CONNECTIONS, rate, Box::new(logins)).await;
            for (latencies, percent) in latencies.iter_mut().zip([50, 99]) {
                latencies.push(percentile(&mut all, percent).as_secs_f64() * 1e3);
            }
        }
    }
    println!("\n{store}: highest rate {:.0} /s", median(&highest));
    for (share, [p50, p99]) in SHARES.into_iter().zip(&latencies) {
        println!(
            "  at {share} %   p50 {:>7.2} ({})   p99 {:>7.2} ({})",
            median(p50),
            range(p50),
            median(p99),
            range(p99)
        );
    }
    let line = |name: &str, which: usize| plot::Line {
        name: format!("{store}, {name}"),
        points: SHARES
            .into_iter()
            .zip(&latencies)
            .map(|(share, of)| (share.into(), median(&of[which])))
            .collect(),
    };
    vec![line("p50", 0), line("p99", 1)]
}

fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{least:.2} to {most:.2}")
}
