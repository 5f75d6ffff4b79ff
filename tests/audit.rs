//! The audit trail against those who can write to the database: every kind of tampering, by plain SQL,
//! on SQLite and on PostgreSQL, and what must raise no alarm.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mfa_domain::ports::{AccountStore, EventQuery};
use mfa_domain::{AccountKey, AuditEvent, AuditHead, Draft, EventKind};
use mfa_store_postgres::PostgresStore;
use mfa_store_sqlite::SqliteStore;
use mfa_testkit::changes::{self, key};
use mfa_tests::{Server, ServerOptions, binary, program};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

#[path = "../crates/mfa-store-postgres/tests/support/server.rs"]
mod postgres;

/// A database with accounts, and a data directory for commands that work on it.
struct Installation {
    folder: TempDir,
    store: Arc<dyn AccountStore>,
    /// As the configuration names it.
    url: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Installation {
    async fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, store): (_, Arc<dyn AccountStore>) = match kind {
            Kind::Sqlite => {
                let path = folder.path().join("mfa.db");
                (format!("sqlite:{}", path.display()), Arc::new(SqliteStore::open(&path).await.unwrap()))
            }
            Kind::Postgres => {
                let url = postgres::database().await;
                let store = Arc::new(PostgresStore::open(&url).await.unwrap());
                (url, store)
            }
        };
        Self { folder, store, url, kind }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        command(self.folder.path(), &self.url, line)
    }

    async fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs what must succeed, and reads its answer.
    async fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json")).await;
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `audit verify` finds: user, event and what is wrong with it.
    async fn broken(&self, arguments: &str) -> Vec<(String, u64, String)> {
        let output = self.run(&format!("audit verify --json {arguments}")).await;
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let broken = answer["broken"].as_array().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!broken.is_empty())), "{output:?}");
        assert_eq!(answer["found"], broken.len());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = broken.iter().map(|finding| {
            assert_eq!(finding["tenant"], "acme");
            (text(&finding["user"]), finding["sequence"].as_u64().unwrap(), text(&finding["what"]))
        });
        found.collect()
    }

    /// Adds events to a user's chain.
    async fn happen(&self, user: &str, events: usize) {
        for _ in 0..events {
            let _ = changes::change(self.store.as_ref(), &key(user), |_| ()).await.unwrap();
        }
    }

    async fn chain(&self, key: &AccountKey) -> Vec<AuditEvent> {
        let (tenant, user) = (key.tenant.clone(), Some(key.user.clone()));
        let page = self.store.events(&EventQuery { tenant, user, after: None, limit: 1000 }).await.unwrap();
        page.events.into_iter().map(|recorded| recorded.event).collect()
    }

    /// Runs a statement past the store. Tables and columns are named as in PostgreSQL.
    async fn sql(&self, statement: &str) {
        match self.kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
            }
            Kind::Sqlite => {
                let mut statement = statement.replace("mfa.", "");
                for (theirs, ours) in
                    [("user_id", "user"), ("account_id", "account"), ("tenant_id", "tenant")]
                {
                    statement = statement.replace(theirs, ours);
                }
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                connection.execute("PRAGMA foreign_keys = OFF").await.unwrap();
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
            }
        }
    }

    /// Bytes as a literal.
    fn literal(&self, hash: impl ToString) -> String {
        match self.kind {
            Kind::Sqlite => format!("x'{}'", hash.to_string()),
            Kind::Postgres => format!(r"'\x{}'", hash.to_string()),
        }
    }

    async fn set_head(&self, user: &str, head: AuditHead) {
        let (id, hash) = (account(user), self.literal(head.hash));
        let sequence = head.sequence;
        let update = format!(
            "UPDATE mfa.accounts SET audit_sequence = {sequence}, audit_hash = {hash} WHERE id = {id}"
        );
        self.sql(&update).await;
    }

    /// Writes a user's trail anew from one event on, with another actor and hashes that fit.
    async fn rewrite(&self, user: &str, from: u64) {
        let mut head = AuditHead::default();
        for mut event in self.chain(&key(user)).await {
            event.previous = head.hash;
            if event.sequence >= from {
                event.actor = "user mallory".to_owned();
            }
            event.hash = event.computed_hash(&key(user));
            head = event.head();
            let (actor, previous, hash) =
                (&event.actor, self.literal(event.previous), self.literal(event.hash));
            let (id, sequence) = (account(user), event.sequence);
            let update = format!(
                "UPDATE mfa.events SET actor = '{actor}', previous = {previous}, hash = {hash} \
                 WHERE account_id = {id} AND sequence = {sequence}"
            );
            self.sql(&update).await;
        }
        self.set_head(user, head).await;
    }
}

fn command(folder: &Path, url: &str, line: &str) -> Command {
    let mut command = program(binary!());
    command.args(line.split_whitespace()).current_dir(folder);
    command.args(["--data-dir", "."]).env("MFA_STORE", url);
    command
}

/// The id of a user's account, as a subquery.
fn account(user: &str) -> String {
    format!("(SELECT a.id FROM mfa.accounts a WHERE a.user_id = '{user}')")
}

fn found(findings: &[(&str, u64, &str)]) -> Vec<(String, u64, String)> {
    findings
        .iter()
        .map(|(user, sequence, what)| ((*user).to_owned(), *sequence, (*what).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_on_sqlite() {
    tampering_is_found(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_on_postgresql() {
    tampering_is_found(Kind::Postgres).await;
}

/// Every user has five events at the checkpoint and six now, and something was done to each but `z`.
async fn tampering_is_found(kind: Kind) {
    let installation = Installation::new(kind).await;
    let users = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "z"];
    for user in users {
        installation.happen(user, 5).await;
    }
    let written = installation.json("audit checkpoint --out cp.jsonl").await;
    assert_eq!(written["accounts"], users.len());
    for user in users {
        installation.happen(user, 1).await;
    }
    assert_eq!(installation.broken("--checkpoint cp.jsonl").await, []);

    let events =
        |user: &str, which: &str| format!("mfa.events WHERE account_id = {} AND {which}", account(user));
    let update = |user: &str, set: &str, which: &str| {
        format!("UPDATE mfa.events SET {set} WHERE account_id = {} AND {which}", account(user))
    };
    let delete = |user: &str, which: &str| format!("DELETE FROM {}", events(user, which));
    let sql = async |statement: String| installation.sql(&statement).await;

    // An event is altered, taken out, or given another place.
    sql(update("a", "kind = 'verification_failed'", "sequence = 2")).await;
    sql(delete("b", "sequence = 3")).await;
    sql(update("c", "sequence = 0", "sequence = 4")).await;
    // The end is cut off, without and with a head that fits.
    sql(delete("d", "sequence >= 5")).await;
    let before = installation.chain(&key("e")).await;
    sql(delete("e", "sequence >= 4")).await;
    installation.set_head("e", before[2].head()).await;
    // Everything is gone, with a head that fits.
    sql(delete("f", "sequence > 0")).await;
    installation.set_head("f", AuditHead::default()).await;
    // The trail is written anew, with a head that fits: all of it, its end, and what came later.
    installation.rewrite("g", 1).await;
    installation.rewrite("h", 5).await;
    installation.rewrite("i", 6).await;
    // It was cut back, and is as long as before.
    let before = installation.chain(&key("j")).await;
    sql(delete("j", "sequence >= 4")).await;
    installation.set_head("j", before[2].head()).await;
    for _ in 0..2 {
        let otherwise = |draft: &mut Draft<'_>| draft.record(EventKind::Locked, None, []);
        let _ = changes::change(installation.store.as_ref(), &key("j"), otherwise).await.unwrap();
    }
    // An account is gone, with its events and without them, or has another name.
    sql(delete("k", "sequence > 0")).await;
    sql("DELETE FROM mfa.accounts WHERE user_id IN ('k', 'l')".to_owned()).await;
    sql("UPDATE mfa.accounts SET user_id = 'mm' WHERE user_id = 'm'".to_owned()).await;
    // An event is there that the account does not know.
    installation.set_head("n", installation.chain(&key("n")).await[4].head()).await;

    let without = [
        ("a", 2, "broken"),
        ("b", 3, "broken"),
        ("c", 1, "broken"),
        ("d", 5, "broken"),
        ("mm", 1, "broken"),
        ("n", 6, "broken"),
    ];
    assert_eq!(installation.broken("").await, found(&without), "without a checkpoint");
    let with = [
        ("a", 2, "broken"),
        ("b", 3, "broken"),
        ("c", 1, "broken"),
        ("d", 5, "broken"),
        ("e", 4, "end_gone"),
        ("f", 1, "end_gone"),
        ("g", 5, "rewritten"),
        ("h", 5, "rewritten"),
        // What was appended since the checkpoint, and rewritten, is not found: "i".
        ("j", 5, "rewritten"),
        ("k", 5, "account_gone"),
        ("l", 5, "account_gone"),
        ("m", 5, "account_gone"),
        ("mm", 1, "broken"),
        ("n", 6, "broken"),
    ];
    assert_eq!(installation.broken("--checkpoint cp.jsonl").await, found(&with));
    let said = installation.run("audit verify --checkpoint cp.jsonl").await;
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("BROKEN  user g of tenant acme, at event 5: at the checkpoint"), "{said}");
    assert!(said.contains("with 15 accounts: 14 chains are broken"), "{said}");

    // A database that another one was put in the place of.
    let other = Installation::new(kind).await;
    other.happen("z", 5).await;
    std::fs::copy(installation.path("cp.jsonl"), other.path("cp.jsonl")).unwrap();
    std::fs::copy(installation.path("audit-signing.pem"), other.path("audit-signing.pem")).unwrap();
    let gone = users.map(|user| (user, 5, "account_gone"));
    let broken = other.broken("--checkpoint cp.jsonl").await;
    assert_eq!(broken[..14], found(&gone[..14]));
    // The events of "z" are the same in both: same key, same times, same actor.
    assert_eq!(broken.len(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_trail_raises_no_alarm_on_sqlite() {
    a_busy_trail_raises_no_alarm(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_trail_raises_no_alarm_on_postgresql() {
    a_busy_trail_raises_no_alarm(Kind::Postgres).await;
}

async fn a_busy_trail_raises_no_alarm(kind: Kind) {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 4;
    let installation = Installation::new(kind).await;
    installation.happen("erased", 2).await;
    let writing = Arc::new(AtomicBool::new(true));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, writing) = (Arc::clone(&installation.store), Arc::clone(&writing));
            tokio::spawn(async move {
                let mut changes = 0_u64;
                while writing.load(Ordering::SeqCst) {
                    // New accounts, before and behind the walk, and old ones again and again.
                    let user = if changes % 2 == 0 { changes / 20 } else { 0 };
                    let key = key(&format!("user-{}-{user}", (b'z' - u8::try_from(writer).unwrap()) as char));
                    let _ = changes::change(store.as_ref(), &key, |_| ()).await.unwrap();
                    changes += 1;
                    // The walks have to come to an end, too.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                changes
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let previous = if round == 0 { String::new() } else { format!("--previous {}.jsonl", round - 1) };
        installation.json(&format!("audit checkpoint --out {round}.jsonl {previous}")).await;
        for checkpoint in [0, round] {
            assert_eq!(installation.broken(&format!("--checkpoint {checkpoint}.jsonl")).await, []);
        }
    }
    writing.store(false, Ordering::SeqCst);
    let mut changes = 0;
    for writer in writers {
        changes += writer.await.unwrap();
    }
    assert!(changes > 100, "{changes} changes are no load");
    let checked = installation.json("audit verify --checkpoint 0.jsonl").await;
    assert_eq!(checked["events"], changes + 2);

    // Each names the one before it, as others work it out.
    for round in 1..ROUNDS {
        let sum = Command::new("sha256sum").arg(installation.path(&format!("{}.jsonl", round - 1))).output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        let text = std::fs::read_to_string(installation.path(&format!("{round}.jsonl"))).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(header["previous"].as_str(), sum.get(..64));
    }
}

/// What the README says to whoever does not trust this program.
#[tokio::test]
async fn openssl_checks_a_checkpoint() {
    let installation = Installation::new(Kind::Sqlite).await;
    installation.happen("alice", 3).await;
    installation.json("audit checkpoint --out monday.jsonl").await;
    let public = installation.run("audit public-key").await.stdout;
    std::fs::write(installation.path("audit-public.pem"), public).unwrap();
    let readme = include_str!("../crates/mfa-server/README.md");
    let start = readme.find("printf 'mfa-checkpoint-1").unwrap();
    let script = &readme[start..start + readme[start..].find("```").unwrap()];
    let check = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(installation.folder.path()).output().unwrap()
    };
    let good = check();
    assert!(good.status.success(), "{good:?}");
    let text = std::fs::read_to_string(installation.path("monday.jsonl")).unwrap();
    std::fs::write(installation.path("monday.jsonl"), text.replace("alice", "alicf")).unwrap();
    assert!(!check().status.success());
}

/// The signing key is made once and for its owner only, no command prints it, and one that is damaged
/// is not replaced.
#[tokio::test]
async fn the_signing_key_stays_where_it_is() {
    use std::os::unix::fs::PermissionsExt;

    let installation = Installation::new(Kind::Sqlite).await;
    installation.happen("alice", 1).await;
    let output = installation.run("audit verify --checkpoint cp.jsonl").await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let public = installation.run("audit public-key").await.stdout;
    let path = installation.path("audit-signing.pem");
    let secret = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let written = installation.run("audit checkpoint --out cp.jsonl").await;
    let checkpoint = std::fs::read_to_string(installation.path("cp.jsonl")).unwrap();
    let line = secret.lines().nth(1).unwrap();
    for text in [&written.stdout, &written.stderr, &public, checkpoint.as_bytes()] {
        assert!(!String::from_utf8_lossy(text).contains(line));
    }
    assert_eq!(installation.run("audit public-key").await.stdout, public);

    std::fs::write(installation.path("public.pem"), &public).unwrap();
    std::fs::remove_file(&path).unwrap();
    let with_key = "--checkpoint cp.jsonl --public-key public.pem";
    assert_eq!(installation.broken(with_key).await, []);
    installation.run("audit public-key").await;
    let other = installation.run("audit verify --checkpoint cp.jsonl").await;
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("it is signed with key"), "{other:?}");
    std::fs::write(&path, secret.replace("PRIVATE", "PUBLIC")).unwrap();
    for command in ["audit public-key", "audit checkpoint --out cp2.jsonl"] {
        let output = installation.run(command).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(line));
    }
    assert!(!installation.path("cp2.jsonl").exists());
}

/// A server writes checkpoints by itself, each tied to the one before it, and one that is started
/// again goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_checkpoints_when_they_are_due() {
    let installation = Installation::new(Kind::Postgres).await;
    installation.happen("alice", 3).await;
    let mut server = Server::with(
        binary!(),
        ServerOptions::new([
            ("MFA_STORE", installation.url.as_str()),
            ("MFA_AUDIT_CHECKPOINT_DIR", "checkpoints"),
            ("MFA_AUDIT_CHECKPOINT_EVERY", "1s"),
        ]),
    );
    let before = checkpoints(&server, 2).await.len();
    server.kill();
    server.restart();
    checkpoints(&server, before + 1).await;
    server.kill();
    for pair in checkpoints(&server, before + 1).await.windows(2) {
        let text = std::fs::read_to_string(&pair[1]).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!(header["previous"].is_string(), "{header}");
        let line = format!("audit verify --checkpoint {} --json", pair[1].display());
        let output = command(server.data(), &installation.url, &line).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["accounts"], &answer["broken"]), (&json!(1), &json!([])));
    }
}

/// The checkpoints that a server has written, oldest first, once there are so many.
async fn checkpoints(server: &Server, count: usize) -> Vec<PathBuf> {
    for _ in 0..600 {
        let files = std::fs::read_dir(server.data().join("checkpoints")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().unwrap() == "jsonl").collect();
        if files.len() >= count {
            files.sort();
            return files;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{count} checkpoints were not written: {}", server.log());
}
