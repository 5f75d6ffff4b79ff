//! The answers that a user got, and what the store must therefore contain.

use std::sync::Arc;
use std::time::Duration;

use mfa_tests::{Authenticator, Client, rounds};
use serde_json::json;

use super::load::Replicas;

/// Failures in a row that lock, by default.
const ROW: usize = 5;

/// How often an undecided attempt is repeated before the test fails.
const MAX_TRIES: usize = 1_000;

/// The pause before an undecided attempt is repeated.
const RETRY: Duration = Duration::from_millis(40);

/// A user who logs in with consecutive codes, replays used ones, and guesses. An attempt without a decision
/// is repeated until it has one, so that in the end every code has been accepted exactly once.
pub(crate) struct User {
    pub(crate) name: String,
    token: Authenticator,
    /// The next counter to use.
    counter: u64,
    backup_codes: Vec<String>,
    replicas: Arc<Replicas>,
    pub(crate) ledger: Ledger,
    /// Answered failures since the last success or unlock.
    row: usize,
}

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Codes that were answered with 200.
    pub(crate) accepted: Vec<String>,
    /// Codes that were accepted without an answer: their repetition was rejected.
    pub(crate) untold: Vec<String>,
    /// Guesses that were answered as failures.
    pub(crate) refused: usize,
    /// Used codes that were rejected. Those of the last counters cost nothing, older ones an attempt.
    pub(crate) replayed: usize,
    /// Attempts that were answered with 503 or not at all. Each may have been recorded as a failure.
    pub(crate) undecided: usize,
    /// Locks that were met and lifted.
    pub(crate) locks: usize,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    Locked,
    Undecided,
}

impl User {
    /// Enrols a new user.
    pub(crate) async fn enrol(name: String, client: &Client, replicas: &Arc<Replicas>) -> Self {
        let (token, backup_codes) = client.enrol(&name, "hotp").await;
        let (replicas, ledger) = (Arc::clone(replicas), Ledger::default());
        Self { name, token, counter: 1, backup_codes, replicas, ledger, row: 0 }
    }

    /// Logs in until the load ends.
    pub(crate) async fn keep_on(&mut self) {
        // Other tests go on meanwhile. At full length there is none.
        let pause = Duration::from_millis(rounds(25, 0) as u64);
        for login in 0_usize.. {
            if self.replicas.is_over() {
                return;
            }
            tokio::time::sleep(pause).await;
            self.log_in().await;
            match login % 16 {
                3 | 11 => self.replay_last().await,
                7 => self.use_backup_code().await,
                15 => self.guess().await,
                _ => {}
            }
        }
    }

    /// Until the load ends, uses consecutive backup codes and then repeats the last one, which also takes a
    /// hash.
    pub(crate) async fn spend_backup_codes(&mut self) {
        while !self.replicas.is_over() {
            match self.backup_codes.pop() {
                Some(code) => self.use_up(code).await,
                None => self.replay_last().await,
            }
        }
    }

    /// Logs in with the next code.
    pub(crate) async fn log_in(&mut self) {
        let code = self.token.hotp(self.counter);
        self.counter += 1;
        self.use_up(code).await;
    }

    async fn use_backup_code(&mut self) {
        if let Some(code) = self.backup_codes.pop() {
            self.use_up(code).await;
            self.replay_last().await;
        }
    }

    /// Posts a right code until it is decided.
    async fn use_up(&mut self, code: String) {
        let before = self.ledger.undecided;
        if self.decide(&code).await == Outcome::Accepted {
            self.row = 0;
            self.ledger.accepted.push(code);
        } else {
            assert!(self.ledger.undecided > before, "{}: an unused code was rejected", self.name);
            self.row = 0;
            self.ledger.replayed += 1;
            self.ledger.untold.push(code);
        }
    }

    async fn replay_last(&mut self) {
        if let Some(code) = self.ledger.accepted.last().cloned() {
            self.replay(&code).await;
        }
    }

    /// Posts a used code until it is rejected.
    async fn replay(&mut self, code: &str) {
        // By chance, a used code may be right again.
        if !self.is_near(code) {
            let outcome = self.decide(code).await;
            assert_eq!(outcome, Outcome::Refused, "{}: a code was accepted twice", self.name);
            self.ledger.replayed += 1;
        }
    }

    /// Guesses until the account is locked.
    async fn guess(&mut self) {
        for guess in 0..MAX_TRIES {
            let wrong = (0..1_000_000).map(|n| format!("{:06}", (guess * 7919 + n) % 1_000_000));
            let wrong = wrong.into_iter().find(|code| !self.is_near(code)).unwrap();
            match self.attempt(&wrong).await {
                Outcome::Refused => {
                    self.ledger.refused += 1;
                    self.fail();
                }
                Outcome::Locked => return self.unlock().await,
                Outcome::Undecided => tokio::time::sleep(RETRY).await,
                Outcome::Accepted => panic!("{}: a wrong code was accepted", self.name),
            }
        }
        panic!("{}: the guesses do not lock the account", self.name);
    }

    /// Counts an answered failure. If the server forgot one, the row becomes too long.
    fn fail(&mut self) {
        self.row += 1;
        assert!(self.row <= ROW, "{}: {} failures in a row without a lock", self.name, self.row);
    }

    /// Posts a code until it is accepted or refused. Locks are lifted.
    async fn decide(&mut self, code: &str) -> Outcome {
        for _ in 0..MAX_TRIES {
            match self.attempt(code).await {
                Outcome::Locked => self.unlock().await,
                Outcome::Undecided => tokio::time::sleep(RETRY).await,
                decided => return decided,
            }
        }
        panic!("{}: a code was not decided in {MAX_TRIES} attempts", self.name);
    }

    /// Posts a code once, alternating between the replicas.
    async fn attempt(&mut self, code: &str) -> Outcome {
        let path = format!("/v1/users/{}/verify", self.name);
        match self.replicas.post(&path, &json!({ "code": code })).await {
            Some(answer) if answer.status == 200 => Outcome::Accepted,
            Some(answer) if answer.problem() == "invalid-code" => Outcome::Refused,
            Some(answer) if answer.problem() == "locked" => Outcome::Locked,
            Some(answer) if answer.status != 503 => panic!("{}: {}", self.name, answer.text),
            _ => {
                self.ledger.undecided += 1;
                Outcome::Undecided
            }
        }
    }

    /// Lifts a lock.
    async fn unlock(&mut self) {
        let path = format!("/v1/users/{}/unlock", self.name);
        self.ledger.locks += 1;
        for _ in 0..MAX_TRIES {
            match self.replicas.post(&path, &json!({ "reason": "the test goes on" })).await {
                Some(answer) if answer.status == 204 => {
                    self.row = 0;
                    return;
                }
                Some(answer) if answer.status != 503 => panic!("{}: {}", self.name, answer.text),
                _ => tokio::time::sleep(RETRY).await,
            }
        }
        panic!("{}: the lock was not lifted in {MAX_TRIES} attempts", self.name);
    }

    /// Whether a code is right now or soon.
    fn is_near(&self, code: &str) -> bool {
        self.token.shows(code, self.counter..self.counter + 8)
    }

    /// Checks that the store contains what was answered, and that no code is accepted again.
    pub(crate) async fn settle(&mut self, client: &Client) {
        let Ledger { accepted, untold, refused, replayed, undecided, .. } = &self.ledger;
        let used = accepted.len() + untold.len();
        let verified = client.count_events(&self.name, "verified").await;
        assert_eq!(verified, used, "{}: accepted codes and their events", self.name);
        let failed = client.count_events(&self.name, "verification_failed").await;
        assert!(
            (*refused..=refused + replayed + undecided).contains(&failed),
            "{}: {failed}, {:?}",
            self.name,
            self.ledger
        );
        // The most recent codes, and those without an answer.
        let last = accepted.len().saturating_sub(rounds(12, usize::MAX));
        let used: Vec<_> = accepted[last..].iter().chain(untold).cloned().collect();
        for (number, code) in used.iter().enumerate() {
            self.replay(code).await;
            if number % 4 == 3 {
                // A success ends the row of failures, which would otherwise disable the factors.
                self.log_in().await;
            }
        }
    }
}
