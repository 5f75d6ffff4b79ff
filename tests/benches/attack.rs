//! How long other users' verifications take while one account is attacked by 500 connections, each of
//! which posts the next wrong backup code as soon as it has an answer; and while 500 codes are posted at
//! once, and as soon as all are answered, the next 500 for the next account.
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
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use support::connection::Connection;
use support::drive::{on_a_thread, open_loop, permille};
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
    let users = VICTIMS + rounds * 3 * seconds * rate;
    println!(
        "{rate} TOTP verifications a second; {rounds} rounds of {seconds} s idle and {seconds} s of each attack"
    );

    let folder = tempfile::tempdir().unwrap();
    let api_key = sqlite::populate(folder.path(), 0..users, &FactorKind::Totp).await;
    let server = server(folder.path(), &api_key, None);
    measure("SQLite", &server, &api_key, [seconds, rounds, rate]).await;
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    database.load(folder.path(), 0..users, &FactorKind::Totp, 10).await;
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
    let others = async || {
        let next = Arc::clone(&next);
        let logins = (0..seconds * rate).map(move |_| {
            let user = next.fetch_add(1, Ordering::Relaxed);
            (population::user(user), population::totp(user))
        });
        open_loop(&server.url, api_key, CONNECTIONS, rate.into(), Box::new(logins)).await
    };
    let mut ratios = Attack::MANNERS.map(|_| Vec::new());
    for _ in 0..rounds {
        let mut idle = others().await;
        let [p50, p99, p999] = milliseconds(&mut idle);
        println!("{store:<10}  idle         p50 {p50:>6.2} p99 {p99:>6.2} p99.9 {p999:>6.2} ms");
        for ((manner, name), ratios) in Attack::MANNERS.into_iter().zip(&mut ratios) {
            let attack = Attack::begin(manner, &server.url, api_key, &victim);
            let mut beside = others().await;
            let rate = attack.end().await;
            let [p50, attacked, p999] = milliseconds(&mut beside);
            let ratio = attacked / p99;
            println!(
                "{store:<10}  {name:<11}  p50 {p50:>6.2} p99 {attacked:>6.2} p99.9 {p999:>6.2} ms   p99 {ratio:>5.2} x   {rate:.0} wrong codes /s"
            );
            ratios.push(ratio);
        }
    }
    for ((_, name), ratios) in Attack::MANNERS.iter().zip(&ratios) {
        println!("{store:<10}  {name:<11}  p99, median of the rounds: {:.2} x", median(ratios));
    }
    println!();
}

/// The values that 500, 990 and 999 of a thousand are at most.
fn milliseconds(latencies: &mut [Duration]) -> [f64; 3] {
    [500, 990, 999].map(|of| permille(latencies, of).as_secs_f64() * 1e3)
}

/// Who attacks.
struct Attack {
    over: Arc<AtomicBool>,
    /// How many codes a second it posted.
    rate: tokio::task::JoinHandle<f64>,
}

/// How.
#[derive(Clone, Copy)]
enum Manner {
    /// Each of 500 connections posts the next code for one user as soon as it has an answer.
    OneAccount,
    /// All 500 post at once, and once all are answered, for the next user.
    Waves,
}

impl Attack {
    const MANNERS: [(Manner, &str); 2] = [(Manner::OneAccount, "one account"), (Manner::Waves, "in waves")];

    fn begin(manner: Manner, url: &str, api_key: &str, victim: &Arc<AtomicU32>) -> Self {
        let (url, api_key, victim) = (url.to_owned(), api_key.to_owned(), Arc::clone(victim));
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let rate = tokio::spawn(on_a_thread(move || async move {
            let mut connections = join_all((0..AT_ONCE).map(|_| Connection::open(&url, &api_key))).await;
            let (began, mut posted) = (Instant::now(), 0);
            while !until.load(Ordering::Relaxed) {
                let user = population::user(victim.fetch_add(1, Ordering::Relaxed) % VICTIMS);
                let posts = connections.iter_mut().map(async |connection| {
                    let mut answers = Vec::new();
                    while answers.is_empty()
                        || matches!(manner, Manner::OneAccount) && !until.load(Ordering::Relaxed)
                    {
                        answers.push(connection.verify(&user, population::WRONG_BACKUP_CODE).await);
                    }
                    answers
                });
                let answers = join_all(posts).await.concat();
                let count = |wanted: u16| answers.iter().filter(|status| **status == wanted).count();
                // Wrong, locked, or, where the machine is too slow for all of them in two seconds, given up.
                let (evaluated, locked, given_up) = (count(401), count(429), count(503));
                assert!(
                    evaluated <= 5 && evaluated + locked + given_up == answers.len(),
                    "{user}: {evaluated} wrong, {locked} locked, {given_up} given up of {}",
                    answers.len()
                );
                posted += u32::try_from(answers.len()).unwrap();
            }
            f64::from(posted) / began.elapsed().as_secs_f64()
        }));
        Self { over, rate }
    }

    async fn end(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        self.rate.await.unwrap()
    }
}
