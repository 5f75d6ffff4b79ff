//! What a login by passkey costs beside a TOTP code: processor time of challenge and answer, over HTTP with PostgreSQL.
//!
//! `cargo xtask bench passkeys [-- CHECKS ROUNDS USERS]`. The first number is for the checks without HTTP, which the
//! benchmark `assertion` of `mfa-webauthn` measures.

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

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::FactorKind;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_tests::{SecurityKey, Server, ServerOptions, binary};
use serde_json::json;
use support::connection::Connection;
use support::drive::in_parallel;
use support::postgres::{Database, settings};
use support::{median, numbers, population, processor};

const CONNECTIONS: u32 = 16;
const ORIGIN: &str = "https://login.example.com";
/// The most that a login by passkey may take, as a multiple of a TOTP verification.
const LIMIT: f64 = 4.0;
/// How long an app shows a code, in seconds.
const STEP: u64 = 30;

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter().skip(1);
    let rounds = arguments.next().unwrap_or(5);
    let users = arguments.next().unwrap_or(2000);
    println!("PostgreSQL with {}", settings().join(", "));

    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    database.load(folder.path(), 0..users, &FactorKind::Totp, 10).await;
    let origins = json!([ORIGIN]).to_string();
    // Users log in and add a passkey without a session of a host.
    let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)])
        .and([("MFA_ENROLMENT_PROOF", "account")])
        .and([("MFA_WEBAUTHN_RP_ID", "example.com"), ("MFA_WEBAUTHN_ORIGINS", &origins)]);
    let server = Server::in_folder(binary!(), folder.path(), &database.api_key, options);
    let all = All { server, database, users };
    all.compare(rounds).await;
}

/// Users, each of whom has an app and a passkey.
struct All {
    server: Server,
    database: Database,
    users: u32,
}

impl All {
    /// Each user logs in once in each round by either.
    async fn compare(&self, rounds: u32) {
        let keys = Arc::new(self.each(register).await);
        let (mut totp, mut passkey) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            next_code().await;
            let begin = self.processors();
            self.each(log_in).await;
            let between = self.processors();
            let keys = Arc::clone(&keys);
            self.each(async move |connection: &mut Connection, user: u32| {
                log_in_by_passkey(connection, user, &keys[user as usize]).await;
            })
            .await;
            let end = self.processors();
            totp.push(between.since(&begin, self.users));
            passkey.push(end.since(&between, self.users));
        }
        println!(
            "\n{rounds} rounds of {} logins of each in turns, {CONNECTIONS} connections, medians",
            self.users
        );
        println!("processor time of the server and PostgreSQL:");
        for (name, costs) in [("a TOTP verification", &totp), ("challenge and answer", &passkey)] {
            let middle = |of: fn(&Costs) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>());
            println!(
                "  {name:<30} {:>6.0} µs   PostgreSQL {:.0}, server {:.0}",
                middle(Costs::total),
                middle(|costs| costs.database),
                middle(|costs| costs.server)
            );
        }
        let ratios: Vec<f64> =
            passkey.iter().zip(&totp).map(|(one, other)| one.total() / other.total()).collect();
        println!("  ratio                          {:>6.2} x, at most {LIMIT}", median(&ratios));
    }

    /// Does this for each user. Gives the results in the order of the users.
    async fn each<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&mut Connection, u32) -> T + Send + 'static,
    ) -> Vec<T> {
        let end = |n: u32| self.users * n / CONNECTIONS;
        let shares: Vec<Range<u32>> = (0..CONNECTIONS).map(|n| end(n)..end(n + 1)).collect();
        in_parallel(&self.server.url, &self.database.api_key, shares, Duration::MAX, work).await
    }

    fn processors(&self) -> Costs {
        let of = processor::seconds;
        Costs { database: of(self.database.process()), server: of(self.server.id()) }
    }
}

/// Adds a passkey, for which a user has to log in first.
async fn register(connection: &mut Connection, user: u32) -> SecurityKey {
    let path = format!("/v1/users/{}/verify", population::user(user));
    let verified = connection.call(&path, &json!({ "code": population::totp(user) }), 200).await;
    let path = format!("/v1/users/{}/factors", population::user(user));
    let offer = json!({ "kind": "passkey", "proof": verified["assertion"] });
    let offered = connection.call(&path, &offer, 201).await;
    let mut key = SecurityKey::new(ORIGIN);
    let credential = key.create(&offered["webauthn"]["publicKey"]);
    let factor = offered["factor"]["id"].as_str().expect("a factor");
    let path = format!("{path}/{factor}/confirm");
    connection.call(&path, &json!({ "credential": credential }), 200).await;
    key
}

/// Logs in with the code that the app shows.
async fn log_in(connection: &mut Connection, user: u32) {
    let code = population::totp(user);
    assert_eq!(connection.verify(&population::user(user), &code).await, 200);
}

/// Logs in with the passkey: a challenge, and its answer.
async fn log_in_by_passkey(connection: &mut Connection, user: u32, key: &SecurityKey) {
    let path = format!("/v1/users/{}/challenges", population::user(user));
    let begun = connection.call(&path, &json!({ "kind": "passkey" }), 201).await;
    let credential = key.get(&begun["webauthn"]["publicKey"]);
    let path = format!("/v1/challenges/{}/verify", begun["challenge"]["id"].as_str().expect("an id"));
    connection.call(&path, &json!({ "credential": credential }), 200).await;
}

/// Waits until apps show another code: each is accepted once.
async fn next_code() {
    let shown_for = SystemClock.now().unix_seconds() % STEP;
    tokio::time::sleep(Duration::from_secs(STEP - shown_for)).await;
}

/// Processor time so far: in seconds, and of each login in microseconds.
struct Costs {
    database: f64,
    server: f64,
}

impl Costs {
    fn since(&self, before: &Self, logins: u32) -> Self {
        let each = |now: f64, then: f64| (now - then) / f64::from(logins) * 1e6;
        Self { database: each(self.database, before.database), server: each(self.server, before.server) }
    }

    fn total(&self) -> f64 {
        self.database + self.server
    }
}
