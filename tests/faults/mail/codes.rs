//! Users who request codes, and the outcome of each code that an answer promised.

use std::collections::BTreeMap;
use std::time::Duration;

use mfa_tests::{Client, Server, binary, rounds};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::email_codes::{answer, begin, code, mailing};
use crate::faults::told_by_readyz;
use crate::mail_server::MailServer;
use crate::redis::Server as Redis;

/// When an answer is late: the promised two seconds, and three more for a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// The duration of a claim that nobody ends.
const CLAIM: Duration = Duration::from_mins(2);

/// How often queued messages are moved forward by that duration: past such a claim, past later tries.
const TIMES: usize = 4;

/// The quiet period before that. The second try comes after five seconds.
const QUIET: Duration = Duration::from_secs(8);

/// The number of users who ask before an outage, during it, and after it, in this proportion: 3, 1, 2.
pub(super) fn users() -> usize {
    6 * rounds(2, 4)
}

/// The domain of all addresses.
const DOMAIN: &str = "@readers.example";

/// Users who each request one code, at two replicas, and the mail server for their codes.
pub(super) struct Codes {
    pub(super) servers: [Server; 2],
    /// The URL of the store.
    store: String,
    mails: Option<MailServer>,
    /// Users who have not asked yet. The last of them asks at the end.
    fresh: Vec<User>,
    asking: JoinSet<(User, Option<String>, Duration)>,
    /// Users with a promised code, and the id of the challenge.
    promised: Vec<(User, String)>,
    /// Users whose answer was 503 or did not come.
    undecided: Vec<User>,
    /// The number of promised codes, from the first, whose challenge is lost.
    lost: usize,
    slowest: Duration,
}

/// A user with a confirmed address of their own.
struct User {
    name: String,
    factor: String,
}

/// The outcome of a promised code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    Failed,
}

impl User {
    async fn enrol(client: &Client, mails: &MailServer, name: String) -> Self {
        let body = json!({ "kind": "email", "label": "Mail", "address": format!("{name}{DOMAIN}") });
        let offered = client.post(&format!("/v1/users/{name}/factors"), body).await.expect(201);
        let factor = offered.json["factor"]["id"].as_str().unwrap().to_owned();
        let confirm = format!("/v1/users/{name}/factors/{factor}/confirm");
        client.post(&confirm, json!({ "code": code(&mails.mail()) })).await.expect(200);
        Self { name, factor }
    }

    fn address(&self) -> String {
        format!("{}{DOMAIN}", self.name)
    }

    /// Begins a challenge; returns its id if the answer promised a code.
    async fn ask(&self, client: &Client) -> Option<String> {
        let path = format!("/v1/users/{}/challenges", self.name);
        let body = json!({ "factor": self.factor }).to_string();
        let begun = timeout(LATE, client.try_send("POST", &path, Some(body))).await;
        let begun = begun.unwrap_or_else(|_| panic!("{}: no answer in {LATE:?}", self.name))?;
        if begun.status == 503 {
            return None;
        }
        Some(begun.expect(201).json["challenge"]["id"].as_str().unwrap().to_owned())
    }
}

impl Codes {
    /// Two replicas on this store, with challenges there or in a Redis, and this many users.
    pub(super) async fn open(store: &str, challenges: Option<&Redis>, users: usize) -> Self {
        let mails = MailServer::start(&json!({}));
        let mut options = mailing(mails.port).and([("MFA_STORE", store)]);
        options.environment.extend(challenges.map(|redis| ("MFA_EPHEMERAL".to_owned(), redis.url())));
        let one = Server::with(binary!(), options.clone());
        let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
        let mut fresh = Vec::new();
        for n in 0..=users {
            fresh.push(User::enrol(&one.client, &mails, format!("reader-{n}")).await);
        }
        Self {
            servers: [one, other],
            store: store.to_owned(),
            mails: Some(mails),
            fresh,
            asking: JoinSet::new(),
            promised: Vec::new(),
            undecided: Vec::new(),
            lost: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Replaces the mail server.
    pub(super) fn through(&mut self, mut settings: Value) {
        let port = self.mails.take().unwrap().port;
        settings["port"] = json!(port);
        self.mails = Some(MailServer::start(&settings));
    }

    /// Lets this many more users ask at once, alternating between the replicas.
    pub(super) fn ask(&mut self, users: usize) {
        for (n, user) in self.fresh.drain(..users).enumerate() {
            let client = self.servers[n % 2].client.clone();
            self.asking.spawn(async move {
                let asked = Instant::now();
                let promised = user.ask(&client).await;
                (user, promised, asked.elapsed())
            });
        }
    }

    /// Receives this many more answers, or all that are left.
    pub(super) async fn hear(&mut self, most: usize) {
        for _ in 0..most {
            let Some(answered) = self.asking.join_next().await else { return };
            let (user, promised, took) = answered.unwrap();
            self.slowest = self.slowest.max(took);
            match promised {
                Some(id) => self.promised.push((user, id)),
                None => self.undecided.push(user),
            }
        }
    }

    /// Makes the store fail while codes are between commit and sending, and repairs it.
    pub(super) async fn outage(&mut self, fail: impl Fn(), mend: impl Fn()) {
        self.ask(users() / 2);
        self.hear(users() / 3).await;
        assert!(self.is_waiting().await, "no code is between commit and sending");
        fail();
        self.ask(users() / 6);
        self.hear(usize::MAX).await;
        for server in &self.servers {
            told_by_readyz(server, 503).await;
        }
        mend();
        for server in &self.servers {
            told_by_readyz(server, 200).await;
        }
    }

    /// Records that the challenges of all codes promised so far are lost with the store.
    pub(super) fn lose_challenges(&mut self) {
        self.lost = self.promised.len();
    }

    /// Whether a promised code is neither sent nor given up.
    async fn is_waiting(&self) -> bool {
        for n in 0..self.promised.len() {
            if self.fate(n).await.is_none() {
                return true;
            }
        }
        false
    }

    /// The outcome of a promised code, if known. If its challenge is lost, the trail tells.
    async fn fate(&self, n: usize) -> Option<Fate> {
        let ((user, id), client) = (&self.promised[n], &self.servers[n % 2].client);
        let status = client.get(&format!("/v1/challenges/{id}")).await;
        let reported = async || client.count_events(&user.name, "code_not_sent").await;
        if n < self.lost {
            status.expect_problem(404, "not-found");
            return (reported().await == 1).then_some(Fate::Failed);
        }
        let (fate, events) = match status.expect(200).json["challenge"]["delivery"].as_str() {
            Some("sent") => (Fate::Sent, 0),
            Some("failed") => (Fate::Failed, 1),
            _ => return None,
        };
        let reported = reported().await;
        assert_eq!(reported, events, "{}: {fate:?}, and the number of failures in the trail", user.name);
        Some(fate)
    }

    /// The outcome of each promised code, once all are known.
    async fn fates(&self) -> Vec<Fate> {
        let mut fates: Vec<Option<Fate>> = vec![None; self.promised.len()];
        for time in 0..=TIMES {
            if !fates.contains(&None) {
                break;
            }
            if time > 0 {
                self.let_claims_end().await;
            }
            let mut changed = Instant::now();
            while fates.contains(&None) && changed.elapsed() < QUIET {
                tokio::time::sleep(Duration::from_millis(300)).await;
                for (n, fate) in fates.iter_mut().enumerate().filter(|(_, fate)| fate.is_none()) {
                    *fate = self.fate(n).await;
                    if fate.is_some() {
                        changed = Instant::now();
                    }
                }
            }
        }
        assert!(!fates.contains(&None), "promised codes are neither sent nor reported as failed: {fates:?}");
        fates.into_iter().flatten().collect()
    }

    /// On PostgreSQL, moves queued messages forward; on other stores, waits. Moving the servers' clocks would
    /// not work: a server with a wrong clock sends nothing.
    async fn let_claims_end(&self) {
        if self.store.starts_with("postgres") {
            let mut shell = PgConnection::connect(&self.store).await.unwrap();
            let update = "UPDATE mfa.messages SET due_at = due_at - 120000 WHERE state = 'queued'";
            shell.execute(update).await.unwrap();
        } else {
            tokio::time::sleep(CLAIM).await;
        }
    }

    /// The codes that arrived at each address, up to the one that `last` has just requested.
    fn arrived(&self, last: &User) -> BTreeMap<String, Vec<String>> {
        let mut arrived = BTreeMap::<String, Vec<String>>::new();
        while !arrived.contains_key(&last.address()) {
            let mail = self.mails.as_ref().unwrap().mail();
            let address = mail["to"][0].as_str().unwrap().to_owned();
            arrived.entry(address).or_default().push(code(&mail));
        }
        arrived
    }

    /// Checks that every promised code arrived and is valid, or is reported as failed; that duplicates have
    /// the same code; and that no other code logs a user in. Prints the figures of `docs/reliability.md`.
    #[expect(clippy::print_stdout, reason = "prints figures")]
    pub(super) async fn settle(mut self, survived: &str) {
        self.hear(usize::MAX).await;
        let fates = self.fates().await;
        let (last, [one, other]) = (self.fresh.pop().unwrap(), &self.servers);
        let id = begin(&other.client, &last.name, &last.factor).await;
        let arrived = self.arrived(&last);
        for (address, codes) in &arrived {
            assert!(codes.iter().all(|code| *code == codes[0]), "two codes for one challenge of {address}");
            // Dropping a server searches its log for them.
            one.client.confidential().add(&codes[0]);
        }
        let (mut failed, mut copied) = (0, 0);
        for ((user, id), fate) in self.promised.iter().zip(&fates) {
            match (fate, arrived.get(&user.address())) {
                (Fate::Sent, Some(codes)) => {
                    answer(&one.client, id, &codes[0]).await.expect(200);
                    copied += usize::from(codes.len() > 1);
                }
                (Fate::Failed, None) => failed += 1,
                (fate, codes) => panic!("{}: {fate:?}, and {} mails", user.name, codes.map_or(0, Vec::len)),
            }
        }
        let untold = self.undecided.iter().filter_map(|user| arrived.get(&user.address()));
        let untold: Vec<_> = untold.collect();
        // More than four would lock the account.
        for codes in untold.iter().take(3) {
            answer(&other.client, &id, &codes[0]).await.expect_problem(401, "invalid-code");
        }
        answer(&other.client, &id, &arrived[&last.address()][0]).await.expect(200);
        // Both replicas write to this log.
        let log = one.log();
        let shown = log.match_indices(DOMAIN).find(|(at, _)| !log[..*at].ends_with('•'));
        assert_eq!(shown, None, "an address is in the log");
        let audit = one.command(["audit", "verify"]);
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
        println!(
            "{survived}: {} codes promised, {failed} of them reported failed, {copied} sent more than once, \
             {} undecided, {} of them sent, slowest answer {} ms",
            self.promised.len(),
            self.undecided.len(),
            untold.len(),
            self.slowest.as_millis()
        );
    }
}
