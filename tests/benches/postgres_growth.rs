//! Verifications per second, bytes and dead rows on PostgreSQL, and how each grows with the number of
//! accounts; beside it, how the floor does, which is `pgbench` on the same tables.
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
use support::floor::{Floor, Reads};
use support::postgres::{Database, settings};
use support::{median, numbers, processor};
use tempfile::TempDir;

const CONNECTIONS: u32 = 64;
/// Of `pgbench`.
const CLIENTS: u32 = 16;
const ROUNDS: u32 = 5;

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
        let rate = largest.log_in(Duration::from_mins(1)).await;
        report(&mut connection, &format!("minute {minute:>2}, {rate:>5.0} /s")).await;
    }

    let time = Duration::from_secs(seconds.into());
    let mut rates = vec![Vec::new(); sizes.len()];
    let mut floors = rates.clone();
    let mut costs = rates.clone();
    for _ in 0..ROUNDS {
        for (n, installation) in installations.iter_mut().enumerate() {
            let before = installation.processor_time();
            let rate = installation.log_in(time).await;
            costs[n].push((installation.processor_time() - before) / (rate * time.as_secs_f64()) * 1e6);
            rates[n].push(rate);
            floors[n].push(installation.floor(time));
        }
    }
    println!(
        "\n{ROUNDS} rounds of {seconds} s in turns, medians; {CONNECTIONS} connections, {CLIENTS} of pgbench"
    );
    println!(
        "    accounts   verifications /s   to the first   processor time of each   pgbench /s   to the first"
    );
    let to_first = |rates: &[Vec<f64>], n: usize| {
        let ratios: Vec<f64> = rates[n].iter().zip(&rates[0]).map(|(rate, first)| rate / first).collect();
        median(&ratios)
    };
    for (n, size) in sizes.iter().enumerate() {
        println!(
            "{size:>12} {:>18.0} {:>12.2} x {:>21.0} µs {:>12.0} {:>12.2} x",
            median(&rates[n]),
            to_first(&rates, n),
            median(&costs[n]),
            median(&floors[n]),
            to_first(&floors, n),
        );
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
        let took = database.load(folder.path(), 0..size, FactorKind::Hotp, codes).await.as_secs_f64();
        let mut connection = database.connect().await;
        let mut bytes = Vec::new();
        for table in ["accounts", "factors", "backup_code_sets", "events"] {
            let query = "SELECT pg_total_relation_size(('mfa.' || $1)::regclass)";
            let size: i64 = sqlx::query_scalar(query).bind(table).fetch_one(&mut connection).await.unwrap();
            bytes.push(size as f64);
        }
        let of = f64::from(size);
        println!(
            "{size:>12} {:>11.0} {:>19.0} {:>22.0} {:>11.0} {took:>12.0} s",
            of / took,
            bytes[..3].iter().sum::<f64>() / of,
            bytes[2] / of,
            bytes[3] / of / 3.0,
        );
        let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)]);
        let server = Server::in_folder(binary!(), folder.path(), &database.api_key, options);
        Self { size, walks: Walk::share_out(0..size, CONNECTIONS), server, database, _folder: folder }
    }

    async fn log_in(&mut self, time: Duration) -> f64 {
        closed_loop(&self.server.url, &self.database.api_key, &mut self.walks, time).await
    }

    /// What `pgbench` does in place of it.
    fn floor(&self, time: Duration) -> f64 {
        Floor::new(&self.database, self.size, Reads::Everything).rate(CLIENTS, time)
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
        WHERE schemaname = 'mfa' AND relname IN ('accounts', 'factors', 'events') ORDER BY relname";
    let rows: Vec<(String, i64, i64, i64, i64, i64, i64)> =
        sqlx::query_as(query).fetch_all(connection).await.unwrap();
    let tables = rows.iter().map(|(table, live, dead, updates, hot, vacuums, bytes)| {
        let hot = *hot as f64 / (*updates).max(1) as f64 * 100.0;
        let mib = *bytes as f64 / 1024.0 / 1024.0;
        format!("{table} {live} + {dead} dead, {mib:.0} MiB, {vacuums} vacuums, {hot:.1} % HOT")
    });
    println!("{when:<18}  {}", tables.collect::<Vec<_>>().join("; "));
}
