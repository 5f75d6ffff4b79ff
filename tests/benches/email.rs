//! What a code by e-mail costs beside a TOTP code: processor time of challenge, mail and answer; logins while
//! a thousand mails a minute are sent, through a mail server that is well, slow or down; memory while a million messages
//! are queued.
//!
//! `cargo xtask bench email [-- SECONDS ROUNDS MESSAGES]`

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
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use sqlx::{AssertSqlSafe, Executor};
use support::connection::Connection;
use support::drive::{in_parallel, on_a_thread, open_loop, permille};
use support::mail::{Condition, MailSink};
use support::postgres::{Database, settings};
use support::{median, numbers, population, processor};

const CONNECTIONS: u32 = 16;
/// TOTP verifications a second while mails are sent.
const LOGINS: u32 = 200;
const MAILS_A_MINUTE: u32 = 1000;

#[tokio::main]
async fn main() {
    let mut arguments = numbers().into_iter();
    let seconds = arguments.next().unwrap_or(5);
    let rounds = arguments.next().unwrap_or(5);
    let messages = arguments.next().unwrap_or(1_000_000);
    println!("PostgreSQL with {}", settings().join(", "));

    let folder = tempfile::tempdir().unwrap();
    let database = Database::start().await;
    // Each app logs in once, with the code that it shows at that moment.
    let apps = 0..rounds * (6 * seconds * LOGINS + 4000 * seconds);
    let addresses = apps.end..apps.end + 10_000;
    database.load(folder.path(), apps.clone(), &FactorKind::Totp, 10).await;
    database.load(folder.path(), addresses.clone(), &FactorKind::Email, 10).await;
    let sink = MailSink::start().await;
    let url = format!("smtp://127.0.0.1:{}?tls=none", sink.port);
    let server = server(folder.path(), &database, &url);
    let all = All { server, database, sink, apps: Turns::of(apps), addresses: Turns::of(addresses) };
    all.costs(Duration::from_secs(seconds.into()), rounds).await;
    all.beside_logins(seconds, rounds).await;

    let All { server, database, .. } = all;
    drop(server);
    memory(folder.path(), &database, messages).await;
}

fn server(data: &Path, database: &Database, url: &str) -> Server {
    let quotas = ["MFA_THROTTLE_RECIPIENT", "MFA_THROTTLE_MESSAGE", "MFA_THROTTLE_TENANT_MESSAGES"];
    let mut options =
        ServerOptions::new([("MFA_LOG", "warn"), ("MFA_STORE", &database.url), ("MFA_EMAIL_URL", url)])
            .and([("MFA_EMAIL_FROM", "Example <mfa@example.com>"), ("MFA_EMAIL_CONNECTIONS", "16")]);
    options.environment.extend(quotas.map(|quota| (quota.to_owned(), "1000000/10m".to_owned())));
    Server::in_folder(binary!(), data, &database.api_key, options)
}

/// Users, each of whom has a turn before one has another.
struct Turns {
    users: Range<u32>,
    next: AtomicU32,
}

impl Turns {
    const fn of(users: Range<u32>) -> Self {
        Self { users, next: AtomicU32::new(0) }
    }

    fn next(&self) -> u32 {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.users.start + turn % (self.users.end - self.users.start)
    }

    fn take(&self, count: u32) -> Vec<u32> {
        (0..count).map(|_| self.next()).collect()
    }
}

struct All {
    server: Server,
    database: Database,
    sink: MailSink,
    apps: Turns,
    addresses: Turns,
}

impl All {
    /// Processor time of the server and the database, for each of either.
    async fn costs(&self, time: Duration, rounds: u32) {
        let (mut ratios, mut totp, mut email) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begin = self.processors();
            let logins = self.log_in(time).await;
            let between = self.processors();
            let mails = self.answer_mails(time).await;
            let end = self.processors();
            totp.push((between - begin) / f64::from(logins) * 1e6);
            email.push((end - between) / f64::from(mails) * 1e6);
            ratios.push(email[email.len() - 1] / totp[totp.len() - 1]);
        }
        println!(
            "\n{rounds} rounds of {} s of each in turns, {CONNECTIONS} connections, medians",
            time.as_secs()
        );
        println!("processor time of the server and PostgreSQL:");
        println!("  a TOTP verification              {:>6.0} µs", median(&totp));
        println!("  challenge, mail and answer       {:>6.0} µs", median(&email));
        println!("  ratio                            {:>6.2} x", median(&ratios));
    }

    fn processors(&self) -> f64 {
        processor::seconds(self.database.process()) + processor::seconds(self.server.id())
    }

    /// Logs in by apps. Gives how many did.
    async fn log_in(&self, time: Duration) -> u32 {
        let users = (0..CONNECTIONS).map(|_| self.apps.take(250 * seconds(time))).collect();
        let log_in = async |connection: &mut Connection, user: u32| {
            let code = population::totp(user);
            assert_eq!(connection.verify(&population::user(user), &code).await, 200);
        };
        let done = in_parallel(&self.server.url, &self.database.api_key, users, time, log_in).await;
        u32::try_from(done.len()).expect("few")
    }

    /// Logs in by mail. Gives how many did.
    async fn answer_mails(&self, time: Duration) -> u32 {
        let users = (0..CONNECTIONS).map(|_| self.addresses.take(600).into_iter().cycle()).collect();
        let sink = self.sink.clone();
        let answer = async move |connection: &mut Connection, user: u32| {
            answer_mail(connection, &sink, user).await;
        };
        let done = in_parallel(&self.server.url, &self.database.api_key, users, time, answer).await;
        u32::try_from(done.len()).expect("few")
    }

    /// How long logins by app take, alone and while mails are sent.
    async fn beside_logins(&self, seconds: u32, rounds: u32) {
        println!(
            "\n{LOGINS} TOTP verifications a second, alone and beside {MAILS_A_MINUTE} mails a minute; p99 in ms"
        );
        println!("mail server   alone  beside   ratio   the call that sends");
        for condition in [Condition::Well, Condition::Slow(Duration::from_secs(3)), Condition::Down] {
            self.sink.set(condition);
            let (mut ratios, mut all) = (Vec::new(), [const { Vec::new() }; 3]);
            for _ in 0..rounds {
                let mut alone = self.logins(seconds).await;
                let mails = self.mails(seconds, matches!(condition, Condition::Well));
                let mut beside = self.logins(seconds).await;
                let mut calls = mails.await.unwrap();
                let p99 =
                    [&mut alone, &mut beside, &mut calls].map(|all| permille(all, 990).as_secs_f64() * 1e3);
                ratios.push(p99[1] / p99[0]);
                for (all, p99) in all.iter_mut().zip(p99) {
                    all.push(p99);
                }
            }
            let [alone, beside, calls] = all.each_ref().map(|all| median(all));
            let condition = format!("{condition:?}");
            println!("{condition:<11} {alone:>7.2} {beside:>7.2} {:>5.2} x {calls:>7.2}", median(&ratios));
        }
        self.sink.set(Condition::Well);
    }

    async fn logins(&self, seconds: u32) -> Vec<Duration> {
        let users = self.apps.take(seconds * LOGINS);
        let logins = users.into_iter().map(|user| (population::user(user), population::totp(user)));
        let (url, api_key) = (&self.server.url, &self.database.api_key);
        open_loop(url, api_key, CONNECTIONS, LOGINS.into(), Box::new(logins)).await
    }

    /// Begins challenges, so many a minute, for so many seconds, and answers them where they arrive. Gives how long each
    /// call took that begins one.
    fn mails(&self, seconds: u32, arrive: bool) -> tokio::task::JoinHandle<Vec<Duration>> {
        let (url, api_key) = (self.server.url.clone(), self.database.api_key.clone());
        let (sink, users) = (self.sink.clone(), self.addresses.take(seconds * MAILS_A_MINUTE / 60));
        tokio::spawn(on_a_thread(move || async move {
            let mut every = tokio::time::interval(Duration::from_mins(1) / MAILS_A_MINUTE);
            let mut answered = tokio::task::JoinSet::new();
            for user in users {
                every.tick().await;
                let (url, api_key, sink) = (url.clone(), api_key.clone(), sink.clone());
                answered.spawn(async move {
                    let mut connection = Connection::open(&url, &api_key).await;
                    if arrive {
                        return answer_mail(&mut connection, &sink, user).await;
                    }
                    let asked = Instant::now();
                    connection.begin_challenge(&population::user(user)).await;
                    asked.elapsed()
                });
            }
            answered.join_all().await
        }))
    }
}

/// A challenge, its mail, and the right answer. Gives how long the first call took.
async fn answer_mail(connection: &mut Connection, sink: &MailSink, user: u32) -> Duration {
    let code = sink.code_to(population::address(user).expose());
    let asked = Instant::now();
    let challenge = connection.begin_challenge(&population::user(user)).await;
    let took = asked.elapsed();
    let code = code.await.expect("a mail");
    assert_eq!(connection.answer_challenge(&challenge, &code).await, 200);
    took
}

/// The memory of a server whose mail server is down: with nothing to send, and with all that.
async fn memory(data: &Path, database: &Database, messages: u32) {
    // Nobody listens there.
    let nowhere = "smtp://127.0.0.1:1?tls=none";
    let idle = resident(data, database, nowhere).await;
    let mut shell = database.connect().await;
    // As large as messages are. Each tenth is due at once, and cannot be opened; the rest after a try that failed.
    let fill = format!(
        "INSERT INTO mfa.messages (tenant_id, id, user_id, version, expires_at, state, due_at, tries, last_failure, key, content)
         SELECT '{}', lpad(to_hex(n), 32, '0'), 'user-' || lpad(n::text, 8, '0'), 2, now.at + 600000, 'queued',
             now.at + CASE WHEN n % 10 = 0 THEN 0 ELSE 120000 + n % 300000 END, 1, 'not_sent', 'k1', sha512(n::text::bytea) || sha512((n + 1)::text::bytea) || sha512((n + 2)::text::bytea)
         FROM generate_series(1, {messages}) n,
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8) AS now (at)",
        population::TENANT
    );
    shell.execute("SET statement_timeout = 0").await.unwrap();
    shell.execute(AssertSqlSafe(fill)).await.unwrap();
    let queued = resident(data, database, nowhere).await;
    println!(
        "\nmemory with no message {idle:.1} MiB, with {messages} queued {queued:.1} MiB: {:.2} x",
        queued / idle
    );
}

/// What a server takes once it has looked for messages for some seconds.
async fn resident(data: &Path, database: &Database, url: &str) -> f64 {
    let server = server(data, database, url);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kilobytes: u32 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    f64::from(kilobytes) / 1024.0
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).expect("few")
}
