//! Verifications per second, bytes and dead rows on PostgreSQL, and how each grows with the number of
//! accounts: when all users log in, and when as many do as there are in the smallest database; beside it, how
//! the floor does, which is `pgbench` on the same tables.
//!
//! `cargo xtask bench postgres-growth [-- SECONDS MINUTES CODES SIZE...]`: seconds of a turn, minutes of
//! load on the largest size before that, while vacuum is watched, backup codes of each account, numbers of
//! accounts. The turns begin with caches as they are after so long a time at work.

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

use std::time::Duration;

use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use sqlx::PgConnection;
use support::drive::{Walk, closed_loop};
use support::floor::Floor;
use support::postgres::{Database, settings};
use support::{median, numbers, processor};
use tempfile::TempDir;

const CONNECTIONS: u32 = 64;
/// Of `pgbench`.
const CLIENTS: u32 = 16;
const ROUNDS: u32 = 7;

/// Who logs in, and by what.
#[derive(Clone, Copy)]
enum Manner {
    All,
    /// As many users as the first size has, spread over all.
    AsMany,
    Floor,
}

const MANNERS: [Manner; 3] = [Manner::All, Manner::AsMany, Manner::Floor];

#[tokio::main]
async fn main() {
    let numbers = numbers();
    let [seconds, minutes, codes] =
        [(0, 10), (1, 1), (2, 10)].map(|(at, or)| *numbers.get(at).unwrap_or(&or));
    let sizes = numbers.get(3..).filter(|sizes| !sizes.is_empty()).unwrap_or(&[10_000, 100_000]);
    println!("PostgreSQL with {}; {codes} backup codes each", settings().join(", "));
    println!(
        "\n    accounts   loaded /s   bytes per account   of that backup codes   per event   load as a whole"
    );
    let mut installations = Vec::new();
    for size in sizes {
        installations.push(Installation::load(*size, codes as usize).await);
    }

    let largest = installations.last_mut().unwrap();
    let mut connection = largest.database.connect().await;
    println!("\n{minutes} minutes of load on the largest");
    report(&mut connection, "before").await;
    for minute in 1..=minutes {
        let rate = largest.log_in(1, Duration::from_mins(1)).await;
        report(&mut connection, &format!("minute {minute:>2}, {rate:>5.0} /s")).await;
    }

    let time = Duration::from_secs(seconds.into());
    let mut rates = vec![[const { Vec::new() }; 3]; sizes.len()];
    let mut costs = vec![Vec::new(); sizes.len()];
    for round in 0..ROUNDS {
        // What is compared comes one right after the other, in turns the one and the other first: the machine
        // gets faster and slower.
        for manner in MANNERS {
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for n in order {
                let installation = &mut installations[n];
                let before = installation.processor_time();
                let rate = match manner {
                    Manner::All => installation.log_in(1, time).await,
                    Manner::AsMany => installation.log_in(sizes[n] / sizes[0], time).await,
                    Manner::Floor => installation.floor(time),
                };
                rates[n][manner as usize].push(rate);
                if let Manner::All = manner {
                    let spent = installation.processor_time() - before;
                    costs[n].push(spent / (rate * time.as_secs_f64()) * 1e6);
                }
            }
        }
    }
    println!("\n{ROUNDS} rounds of {seconds} s each in turns, medians, and ratios to the first");
    println!(
        "    accounts   HTTP, {CONNECTIONS} connections: all users   processor time      as many users as the first has         pgbench, {CLIENTS} clients: all"
    );
    for (n, size) in sizes.iter().enumerate() {
        let [all, of_as_many, floor] = MANNERS.map(|manner| {
            let [rates, first] = [n, 0].map(|n| &rates[n][manner as usize]);
            let ratios: Vec<f64> = rates.iter().zip(first).map(|(rate, first)| rate / first).collect();
            let [least, most] = [f64::min, f64::max].map(|of| ratios.iter().copied().reduce(of).unwrap());
            format!("{:.0} /s, {:.2} x ({least:.2} to {most:.2})", median(rates), median(&ratios))
        });
        println!("{size:>12} {all:>36} {:>13.0} µs {of_as_many:>34} {floor:>34}", median(&costs[n]));
    }
}

/// A server on a database of its own.
struct Installation {
    size: u32,
    walks: Vec<Walk>,
    server: Server,
    database: Database,
    _folder: TempDir,
}

impl Installation {
    async fn load(size: u32, codes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::start().await;
        let took = database.load(folder.path(), 0..size, &FactorKind::Hotp, codes).await.as_secs_f64();
        let mut connection = database.connect().await;
        let mut bytes = Vec::new();
        for table in ["accounts", "backup_code_sets", "events"] {
            let query = "SELECT pg_total_relation_size(('mfa.' || $1)::regclass)";
            let size: i64 = sqlx::query_scalar(query).bind(table).fetch_one(&mut connection).await.unwrap();
            bytes.push(size as f64);
        }
        let of = f64::from(size);
        println!(
            "{size:>12} {:>11.0} {:>19.0} {:>22.0} {:>11.0} {took:>12.0} s",
            of / took,
            (bytes[0] + bytes[1]) / of,
            bytes[1] / of,
            bytes[2] / of / 3.0,
        );
        let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)]);
        let server = Server::in_folder(binary!(), folder.path(), &database.api_key, options);
        Self { size, walks: Walk::share_out(0..size, CONNECTIONS), server, database, _folder: folder }
    }

    /// Logs in one user of so many, spread over all.
    async fn log_in(&mut self, every: u32, time: Duration) -> f64 {
        for walk in &mut self.walks {
            walk.every(every);
        }
        closed_loop(&self.server.url, &self.database.api_key, &mut self.walks, time).await
    }

    /// What `pgbench` does in place of it.
    fn floor(&self, time: Duration) -> f64 {
        Floor::new(&self.database, self.size).rate(CLIENTS, time)
    }

    fn processor_time(&self) -> f64 {
        processor::seconds(self.database.process()) + processor::seconds(self.server.id())
    }
}

/// What vacuum left and did.
async fn report(connection: &mut PgConnection, when: &str) {
    let query = "
        SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd, autovacuum_count,
            pg_total_relation_size(relid)
        FROM pg_stat_user_tables
        WHERE schemaname = 'mfa' AND relname IN ('accounts', 'events') ORDER BY relname";
    let rows: Vec<(String, i64, i64, i64, i64, i64, i64)> =
        sqlx::query_as(query).fetch_all(connection).await.unwrap();
    let tables = rows.iter().map(|(table, live, dead, updates, hot, vacuums, bytes)| {
        let hot = *hot as f64 / (*updates).max(1) as f64 * 100.0;
        let mib = *bytes as f64 / 1024.0 / 1024.0;
        format!("{table} {live} + {dead} dead, {mib:.0} MiB, {vacuums} vacuums, {hot:.1} % HOT")
    });
    println!("{when:<18}  {}", tables.collect::<Vec<_>>().join("; "));
}
