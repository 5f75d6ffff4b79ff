//! What signed assertions cost: checking one with `mfa-assertion` beside the crate `jsonwebtoken`, and processor time of
//! a verification over HTTP with PostgreSQL, with and without an assertion.
//!
//! `cargo xtask bench assertions [-- CHECKS LOGINS USERS]`: rounds of checks, rounds of logins, and users who log in once
//! in each. The run fails above the limits below.

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

use std::hint::black_box;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use mfa_assertion::{Expected, KeySet, Verifier};
use mfa_domain::FactorKind;
use mfa_tests::{ISSUER, JsonWebToken, Server, ServerOptions, binary, now};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use support::connection::Connection;
use support::drive::in_parallel;
use support::postgres::{Database, settings};
use support::{median, numbers, population, processor};

/// The most that a check may take, as a multiple of one by `jsonwebtoken`.
const CHECK_LIMIT: f64 = 1.0;
/// The most that a verification with an assertion may take, as a multiple of one without.
const LOGIN_LIMIT: f64 = 1.35;

/// Checks in a round, which takes a few milliseconds, so that most rounds are not interrupted.
const CHECKS: u32 = 50;
const CONNECTIONS: u32 = 16;

const AUDIENCE: &str = "acme";
const SUBJECT: &str = "alice";
const SESSION: &str = "f5x_8sBvWq3";
const KEY_ID: &str = "2027-01";

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter();
    let checks = arguments.next().unwrap_or(400);
    let logins = arguments.next().unwrap_or(5);
    let users = arguments.next().unwrap_or(2000);
    let to_other = std::thread::spawn(move || compare_checks(checks)).join().expect("no panic");
    let to_none = Logins::prepare(users).await.compare(logins).await;
    assert!(to_other <= CHECK_LIMIT, "slower than {CHECK_LIMIT} checks by jsonwebtoken");
    assert!(to_none <= LOGIN_LIMIT, "with an assertion slower than {LOGIN_LIMIT} verifications without");
}

/// Short rounds in turns on one core, the fastest of each counts: what else the machine does then slows none. Gives the
/// ratio of our time to that of `jsonwebtoken`.
fn compare_checks(rounds: u32) -> f64 {
    let signed = Signed::new();
    let (keys, verifier) = (KeySet::from_json(&signed.key_set).unwrap(), Verifier::new(ISSUER, AUDIENCE));
    let expected = Expected { subject: SUBJECT, nonce: Some(SESSION) };
    let ours = || {
        let assertion = black_box(signed.assertion.as_str());
        black_box(verifier.verify(&keys, assertion, expected, now()).unwrap());
    };
    let other = JsonWebToken::new(&signed.key_set, "ES256", ISSUER, AUDIENCE);
    let theirs = || {
        let assertion = black_box(signed.assertion.as_str());
        black_box(other.verify(assertion, SUBJECT, SESSION).unwrap());
    };
    // Without looking for the key.
    let key = other.key(KEY_ID).unwrap();
    let theirs_by_key = || {
        let assertion = black_box(signed.assertion.as_str());
        black_box(other.verify_by(key, assertion, SUBJECT, SESSION).unwrap());
    };
    let (signing_input, signature) = signed.parts();
    let bare = || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, black_box(&signed.point));
        key.verify(black_box(signing_input.as_bytes()), &signature).unwrap();
    };

    stay_on_one_core();
    let mut fastest = [f64::INFINITY; 4];
    for _ in 0..rounds {
        let round = [time(bare), time(ours), time(theirs_by_key), time(theirs)];
        for (fastest, time) in fastest.iter_mut().zip(round) {
            *fastest = fastest.min(time);
        }
    }
    println!("an ES256 assertion, the fastest of {rounds} rounds in turns on one core");
    let names = [
        "bare verification, ring",
        "mfa-assertion, key by id",
        "jsonwebtoken on ring, one key",
        "jsonwebtoken on ring, key by id",
    ];
    for (name, time) in names.iter().zip(fastest) {
        println!("  {name:<34} {:>7.1} µs", time * 1e6);
    }
    let [_, ours, theirs, _] = fastest;
    let ratio = ours / theirs;
    println!("mfa-assertion to jsonwebtoken with one key           {ratio:>6.2} x, at most {CHECK_LIMIT}");
    ratio
}

/// Seconds of one check.
fn time(check: impl Fn()) -> f64 {
    let begin = Instant::now();
    for _ in 0..CHECKS {
        check();
    }
    begin.elapsed().as_secs_f64() / f64::from(CHECKS)
}

/// For this thread only: the servers that are measured afterwards use all cores.
fn stay_on_one_core() {
    let thread = std::fs::read_link("/proc/thread-self").expect("Linux");
    let mut moving = Command::new("taskset");
    moving.args(["--cpu-list", "--pid", "0"]).arg(thread.file_name().expect("an id")).stdout(Stdio::null());
    assert!(moving.status().expect("taskset").success());
}

/// An assertion as the server signs it, but for its lifetime, and the key set.
struct Signed {
    assertion: String,
    key_set: String,
    /// The public key, as a point (SEC 1, 2.3.3).
    point: Vec<u8>,
}

impl Signed {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = point[1..].split_at(32);
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID, "x": x, "y": y,
        });
        let now = now();
        let header = json!({ "alg": "ES256", "kid": KEY_ID, "typ": "mfa-assertion+jwt" });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now - 5, "exp": now + 3600,
            "jti": "AAAAAAAAAAAAAAAAAAAAAA", "auth_time": now, "amr": ["otp"], "acr": "medium",
            "factor": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "tenant": AUDIENCE, "nonce": SESSION,
        });
        let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = pair.sign(&random, signed.as_bytes()).unwrap();
        let assertion = format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
        Self { assertion, key_set: json!({ "keys": [jwk] }).to_string(), point }
    }

    /// What is signed, and the signature.
    fn parts(&self) -> (&str, Vec<u8>) {
        let (signed, signature) = self.assertion.rsplit_once('.').unwrap();
        (signed, BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap())
    }
}

/// Two servers on one database, of which one signs assertions, and users with a token each.
struct Logins {
    with: Server,
    without: Server,
    database: Database,
    users: u32,
    _folder: tempfile::TempDir,
}

impl Logins {
    async fn prepare(users: u32) -> Self {
        println!("\nPostgreSQL with {}", settings().join(", "));
        let folder = tempfile::tempdir().unwrap();
        let database = Database::start().await;
        database.load(folder.path(), 0..users, &FactorKind::Hotp, 10).await;
        let start = |more: [(&str, &str); 2]| {
            let options = ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url)]).and(more);
            Server::in_folder(binary!(), folder.path(), &database.api_key, options)
        };
        let with = start([("MFA_ASSERTIONS_ENABLED", "true"), ("MFA_ENROLMENT_PROOF", "session")]);
        let without = start([("MFA_ASSERTIONS_ENABLED", "false"), ("MFA_ENROLMENT_PROOF", "account")]);
        Self { with, without, database, users, _folder: folder }
    }

    /// Each user logs in once in each round at either. Gives the ratio of their costs.
    async fn compare(&self, rounds: u32) -> f64 {
        // Connections, and memory that is used for the first time.
        self.log_in(&self.with, 0, true).await;
        self.log_in(&self.without, 1, false).await;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            // Whoever is first finds the pages of the database as the other left them.
            for (turn, signs) in (0_u64..).zip([round % 2 == 0, round % 2 == 1]) {
                let server = if signs { &self.with } else { &self.without };
                let before = self.processors(server);
                self.log_in(server, u64::from(2 * round) + turn, signs).await;
                let costs = if signs { &mut with } else { &mut without };
                costs.push(self.processors(server).since(&before, self.users));
            }
        }
        println!(
            "{rounds} rounds of {} logins of each in turns, {CONNECTIONS} connections, medians",
            self.users
        );
        println!("processor time of the server and PostgreSQL:");
        for (name, costs) in [("without an assertion", &without), ("with an assertion", &with)] {
            let middle = |of: fn(&Costs) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>());
            println!(
                "  {name:<30} {:>6.0} µs   PostgreSQL {:.0}, server {:.0}",
                middle(Costs::total),
                middle(|costs| costs.database),
                middle(|costs| costs.server)
            );
        }
        let ratios: Vec<f64> =
            with.iter().zip(&without).map(|(one, other)| one.total() / other.total()).collect();
        let ratio = median(&ratios);
        println!("  ratio                          {ratio:>6.2} x, at most {LOGIN_LIMIT}");
        ratio
    }

    /// Each user logs in once, with the code of this counter. The answer must have an assertion, or none.
    async fn log_in(&self, server: &Server, counter: u64, signs: bool) {
        let end = |n: u32| self.users * n / CONNECTIONS;
        let shares: Vec<Range<u32>> = (0..CONNECTIONS).map(|n| end(n)..end(n + 1)).collect();
        let log_in = async move |connection: &mut Connection, user: u32| {
            let path = format!("/v1/users/{}/verify", population::user(user));
            let answer =
                connection.call(&path, &json!({ "code": population::hotp(user, counter) }), 200).await;
            assert_eq!(answer["assertion"].is_string(), signs);
        };
        in_parallel(&server.url, &self.database.api_key, shares, Duration::MAX, log_in).await;
    }

    fn processors(&self, server: &Server) -> Costs {
        let of = processor::seconds;
        Costs { database: of(self.database.process()), server: of(server.id()) }
    }
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
