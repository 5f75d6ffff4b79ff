//! Users who log in continuously at some replicas while a test breaks a dependency.

use std::fmt;
use std::process::Output;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mfa_tests::{Answer, Client, Server};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ledger::User;

/// When an answer is late: the promised two seconds, and three more for a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// When a 503 is late by the server's own clock: the promised two seconds, and one more for a busy machine.
const REFUSED_BY: Duration = Duration::from_secs(3);

/// Users with this name use only their backup codes.
const BACKUP_CODES_ONLY: &str = "spender";

/// The maximum wait for progress.
const LOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// The replicas as seen by users.
#[derive(Debug)]
pub(crate) struct Replicas {
    clients: Mutex<Vec<Client>>,
    turn: AtomicUsize,
    over: AtomicBool,
    /// Answers of 200, for each replica.
    accepted: Vec<AtomicUsize>,
    /// Answers of 503, for each replica.
    unavailable: Vec<AtomicUsize>,
    slowest: Mutex<Duration>,
    late: Duration,
}

impl Replicas {
    /// Whether users may stop.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Posts to the replicas in turn; `None` if the connection ended. Every answer must come in time.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Option<Answer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.accepted.len();
        let client = self.clients.lock().unwrap()[turn].clone();
        let begin = Instant::now();
        let answer = timeout(self.late, client.try_send("POST", path, Some(body.to_string()))).await;
        let answer = answer.unwrap_or_else(|_| panic!("replica {turn} did not answer in {:?}", self.late));
        let took = begin.elapsed();
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = slowest.max(took);
        match answer.as_ref().map(|answer| answer.status.as_u16()) {
            Some(200) => self.accepted[turn].fetch_add(1, Ordering::Relaxed),
            Some(503) => self.unavailable[turn].fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        answer
    }
}

/// A load that runs until it is ended.
pub(crate) struct Load {
    pub(crate) replicas: Arc<Replicas>,
    users: JoinSet<User>,
}

impl Load {
    /// Enrols users at the servers, and starts their logins.
    pub(crate) async fn begin(servers: &[&Server], users: usize) -> Self {
        Self::of(servers, "user", users, LATE).await
    }

    /// Enrols users who have only their backup codes left.
    pub(crate) async fn of_backup_codes(servers: &[&Server], users: usize) -> Self {
        Self::of(servers, BACKUP_CODES_ONLY, users, LATE).await
    }

    /// Enrols users with this name. Answers after `late` fail the test.
    pub(crate) async fn of(servers: &[&Server], name: &str, users: usize, late: Duration) -> Self {
        let counters = || servers.iter().map(|_| AtomicUsize::new(0)).collect();
        let replicas = Arc::new(Replicas {
            clients: Mutex::new(servers.iter().map(|server| server.client.clone()).collect()),
            turn: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            accepted: counters(),
            unavailable: counters(),
            slowest: Mutex::new(Duration::ZERO),
            late,
        });
        let mut enrolled = Vec::new();
        for n in 0..users {
            enrolled.push(User::enrol(format!("{name}-{n}"), &servers[0].client, &replicas).await);
        }
        let mut tasks = JoinSet::new();
        for mut user in enrolled {
            let only_backup_codes = name == BACKUP_CODES_ONLY;
            tasks.spawn(async move {
                if only_backup_codes {
                    user.spend_backup_codes().await;
                } else {
                    user.keep_on().await;
                }
                user
            });
        }
        Self { replicas, users: tasks }
    }

    /// Waits until this many more codes were accepted by any replica.
    pub(crate) async fn progress(&self, logins: usize) {
        let accepted = || self.replicas.accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        Self::wait("logins", accepted, logins).await;
    }

    /// Waits until this many more codes were accepted by this replica.
    pub(crate) async fn progress_at(&self, replica: usize, logins: usize) {
        let accepted = &self.replicas.accepted[replica];
        Self::wait("logins", || accepted.load(Ordering::Relaxed), logins).await;
    }

    /// Waits until this many more requests were answered with 503 by this replica.
    pub(crate) async fn refusals_at(&self, replica: usize, refusals: usize) {
        let unavailable = &self.replicas.unavailable[replica];
        Self::wait("answers of 503", || unavailable.load(Ordering::Relaxed), refusals).await;
    }

    async fn wait(what: &str, count: impl Fn() -> usize, more: usize) {
        let (begin, before) = (Instant::now(), count());
        while count() < before + more {
            let so_far = count() - before;
            assert!(begin.elapsed() < LOAD_TIMEOUT, "only {so_far} {what} of {more} in {LOAD_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Records that a replica was restarted.
    pub(crate) fn restarted(&self, replica: usize, server: &Server) {
        self.replicas.clients.lock().unwrap()[replica] = server.client.clone();
    }

    /// Ends the load and checks its results: store and trail contain what was answered, no code is accepted
    /// again, and the trail is intact. Prints the figures of `docs/reliability.md`.
    pub(crate) async fn settle(self, servers: &[Server], survived: &str) {
        self.settle_with(servers, |command| servers[0].command(command), survived).await;
    }

    /// Like [`Load::settle`], for commands of the program that need a wrapper.
    #[expect(clippy::print_stdout, reason = "prints figures")]
    pub(crate) async fn settle_with(
        mut self,
        servers: &[Server],
        run: impl Fn([&str; 2]) -> Output,
        survived: &str,
    ) {
        self.replicas.over.store(true, Ordering::Relaxed);
        let mut users = Vec::new();
        while let Some(user) = self.users.join_next().await {
            users.push(user.unwrap());
        }
        let slowest = *self.replicas.slowest.lock().unwrap();
        let slowest_503 = servers.iter().map(|server| slowest_503(&server.log())).max().unwrap_or_default();
        let mut summary = Summary { slowest, slowest_503, ..Summary::default() };
        for user in &users {
            summary.accepted += user.ledger.accepted.len();
            summary.untold += user.ledger.untold.len();
            summary.refused += user.ledger.refused + user.ledger.replayed;
            summary.undecided += user.ledger.undecided;
            summary.locks += user.ledger.locks;
        }
        // Few enough at a time that no request is refused because of the queue for hashes.
        let settled = users.iter_mut().map(|user| user.settle(&servers[0].client));
        stream::iter(settled).buffer_unordered(8).collect::<()>().await;
        let audit = run(["audit", "verify"]);
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
        println!("{survived}: {summary}");
        assert!(slowest_503 <= REFUSED_BY, "a server took {slowest_503:?} to answer with 503");
    }
}

/// The results of a load.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    accepted: usize,
    untold: usize,
    refused: usize,
    undecided: usize,
    locks: usize,
    slowest: Duration,
    /// By the server's clock, from the head of the request to its answer.
    slowest_503: Duration,
}

/// The slowest 503 that the server logged, except for calls that return backup codes, which may take five
/// times as long.
fn slowest_503(log: &str) -> Duration {
    let refused = log.lines().filter(|line| line.contains("answered status=503"));
    let refused = refused.filter(|line| !line.contains("/confirm") && !line.contains("/backup-codes"));
    let seconds = refused.filter_map(|line| line.rsplit_once("seconds=")?.1.trim().parse().ok());
    Duration::from_secs_f64(seconds.fold(0.0, f64::max))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, untold, refused, undecided, locks, slowest, slowest_503 } = self;
        write!(
            f,
            "{accepted} codes accepted, {untold} counted untold, {refused} attempts refused, {locks} locks, \
             {undecided} undecided, slowest answer {} ms, slowest 503 by the server's clock {} ms",
            slowest.as_millis(),
            slowest_503.as_millis()
        )
    }
}
