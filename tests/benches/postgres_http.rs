//! Verifications per second over HTTP with PostgreSQL, beside what `pgbench` makes of the same
//! statements on the same server in the same run.
//!
//! `cargo xtask bench postgres-http [-- SECONDS ROUNDS]`

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
use support::drive::{Walk, closed_loop};
use support::floor::Floor;
use support::postgres::{Database, settings};
use support::{median, numbers, processor};

const USERS: u32 = 100_000;
const CONNECTIONS: u32 = 64;

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter();
    let time = Duration::from_secs(arguments.next().unwrap_or(5).into());
    let rounds = arguments.next().unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    let took = database.load(folder.path(), 0..USERS, &FactorKind::Hotp, 10).await;
    println!("PostgreSQL with {}", settings().join(", "));
    println!("{USERS} users loaded in bulk, {:.0} /s", f64::from(USERS) / took.as_secs_f64());

    let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)]);
    let server = Server::in_folder(binary!(), folder.path(), &database.api_key, options);
    let mut walks = Walk::share_out(0..USERS, CONNECTIONS);
    closed_loop(&server.url, &database.api_key, &mut walks, Duration::from_secs(1)).await;

    let pgbench = Floor::new(&database, USERS);
    let mut best = (0, 0.0);
    for clients in [1, 4, 8, 16, 32, 64] {
        let rate = pgbench.rate(clients, time.min(Duration::from_secs(3)));
        println!("pgbench, {clients:>2} clients                 {rate:>9.0} /s");
        if rate > best.1 {
            best = (clients, rate);
        }
    }

    let (mut rates, mut costs) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    let [ours, floor] = [0, 1];
    for _ in 0..rounds {
        let before = Costs::now(&server, &database);
        let rate = closed_loop(&server.url, &database.api_key, &mut walks, time).await;
        rates[ours].push(rate);
        costs[ours].push(Costs::now(&server, &database).since(&before, rate * time.as_secs_f64()));
        let before = Costs::now(&server, &database);
        let rate = pgbench.rate(best.0, time);
        rates[floor].push(rate);
        costs[floor].push(Costs::now(&server, &database).since(&before, rate * time.as_secs_f64()));
    }

    let mut ratios: Vec<f64> =
        rates[ours].iter().zip(&rates[floor]).map(|(one, other)| one / other).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "\n{rounds} rounds of {} s each in turns, medians; every code is used once and right",
        time.as_secs()
    );
    println!("                                     rate   processor time of each, in µs");
    for (what, which) in
        [(format!("pgbench, {} clients", best.0), floor), (format!("HTTP, {CONNECTIONS} connections"), ours)]
    {
        let cost = |of: fn(&Costs) -> f64| median(&costs[which].iter().map(of).collect::<Vec<_>>());
        println!(
            "{what:<31} {:>9.0}   PostgreSQL {:.0}, server {:.0}, client {:.0}",
            median(&rates[which]),
            cost(|costs| costs.database),
            cost(|costs| costs.server),
            cost(|costs| costs.client),
        );
    }
    let [least, most] = [ratios[0], ratios[ratios.len() - 1]];
    println!("HTTP to pgbench: {:.2} x ({least:.2} to {most:.2})", median(&ratios));
}

/// Processor time so far: in seconds, and of each verification in microseconds.
struct Costs {
    database: f64,
    server: f64,
    client: f64,
}

impl Costs {
    fn now(server: &Server, database: &Database) -> Self {
        let of = processor::seconds;
        let (database, server) = (of(database.process()), of(server.id()));
        // The server is a child of this process, and so is what stops the database in the end.
        Self { database, server, client: of(std::process::id()) - server - database }
    }

    fn since(&self, before: &Self, done: f64) -> Self {
        let each = |now: f64, then: f64| (now - then) / done * 1e6;
        Self {
            database: each(self.database, before.database),
            server: each(self.server, before.server),
            client: each(self.client, before.client),
        }
    }
}
