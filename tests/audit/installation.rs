//! A database with accounts, the program on it, and access that bypasses both.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use mfa_crypto::KeyRing;
use mfa_domain::account::{Context, Session};
use mfa_domain::audit::EventHash;
use mfa_domain::ports::{AccountStore, Commit, EventQuery, SystemEntropy};
use mfa_domain::{
    AccountKey, Actor, AuditEvent, AuditHead, Draft, EventKind, Policies, Timestamp, Versioned,
};
use mfa_store_postgres::PostgresStore;
use mfa_store_redis::RedisStore;
use mfa_store_sqlite::SqliteStore;
use mfa_testkit::changes::{self, key};
use mfa_tests::binary;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A database with accounts, and a data directory for commands that work on it.
pub(crate) struct Installation {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<dyn AccountStore>,
    /// The store as the configuration names it.
    pub(crate) url: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Redis,
}

impl Installation {
    pub(crate) async fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, store): (_, Arc<dyn AccountStore>) = match kind {
            Kind::Sqlite => {
                let path = folder.path().join("mfa.db");
                (format!("sqlite:{}", path.display()), Arc::new(SqliteStore::open(&path).await.unwrap()))
            }
            Kind::Postgres => {
                let url = crate::postgres::database().await;
                let store = Arc::new(PostgresStore::open(&url).await.unwrap());
                (url, store)
            }
            Kind::Redis => {
                let url = crate::redis::url();
                let store = Arc::new(RedisStore::open(&url).await.unwrap());
                (url, store)
            }
        };
        let installation = Self { folder, store, url, kind };
        installation.make_key_ring();
        installation
    }

    /// Exports need a key ring for the ids of events.
    fn make_key_ring(&self) {
        let ring = KeyRing::generate(&SystemEntropy, changes::now()).unwrap();
        let path = self.path("keyring.toml");
        fs::write(&path, ring.to_text().as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        command(self.folder.path(), &self.url, line)
    }

    pub(crate) async fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs a command that must succeed; returns its JSON output.
    pub(crate) async fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json")).await;
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The findings of `audit verify`: user, event and problem.
    pub(crate) async fn broken(&self, arguments: &str) -> Vec<(String, u64, String)> {
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

    /// Appends events to a user's chain.
    pub(crate) async fn happen(&self, user: &str, events: usize) {
        for _ in 0..events {
            let _ = changes::change(self.store.as_ref(), &key(user), |_| ()).await.unwrap();
        }
    }

    /// Appends events of another kind to a user's chain.
    pub(crate) async fn happen_otherwise(&self, user: &str, events: usize) {
        for _ in 0..events {
            let otherwise = |draft: &mut Draft<'_>| draft.record(EventKind::Locked, None, []);
            let _ = changes::change(self.store.as_ref(), &key(user), otherwise).await.unwrap();
        }
    }

    /// Appends five events for each user, writes the checkpoint `cp.jsonl`, and appends one event more for
    /// each.
    pub(crate) async fn begin(&self, users: &[&str]) {
        for user in users {
            self.happen(user, 5).await;
        }
        let written = self.json("audit checkpoint --out cp.jsonl").await;
        assert_eq!(written["accounts"], users.len());
        for user in users {
            self.happen(user, 1).await;
        }
        assert_eq!(self.broken("--checkpoint cp.jsonl").await, []);
    }

    /// Appends events to a user's chain at these times, in seconds since the start of 2020.
    pub(crate) async fn happen_at(&self, user: &str, seconds: impl IntoIterator<Item = u64>) {
        for seconds in seconds {
            happen_at(self.store.as_ref(), &key(user), Timestamp::from_unix_seconds(IN_2020 + seconds)).await;
        }
    }

    /// Moves the beginning of a user's chain, and removes the events before it.
    pub(crate) async fn cut(&self, user: &str, base: AuditHead) {
        let (id, sequence, hash) = (account(user), base.sequence, self.literal(base.hash));
        self.sql(&format!("DELETE FROM mfa.events WHERE account_id = {id} AND sequence <= {sequence}")).await;
        let update = format!(
            "UPDATE mfa.accounts SET audit_base_sequence = {sequence}, audit_base_hash = {hash} WHERE id = {id}"
        );
        self.sql(&update).await;
    }

    pub(crate) async fn chain(&self, key: &AccountKey) -> Vec<AuditEvent> {
        let (tenant, user) = (key.tenant.clone(), Some(key.user.clone()));
        let page = self.store.events(&EventQuery { tenant, user, after: None, limit: 1000 }).await.unwrap();
        page.events.into_iter().map(|recorded| recorded.event).collect()
    }

    /// Runs a statement that bypasses the store. Tables and columns have their PostgreSQL names.
    pub(crate) async fn sql(&self, statement: &str) {
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
            Kind::Redis => panic!("Redis has no statements: {statement}"),
        }
    }

    /// Bytes as an SQL literal.
    pub(crate) fn literal(&self, hash: EventHash) -> String {
        match self.kind {
            Kind::Sqlite => format!("x'{hash}'"),
            Kind::Postgres => format!(r"'\x{hash}'"),
            Kind::Redis => panic!("Redis has no statements"),
        }
    }

    pub(crate) async fn set_head(&self, user: &str, head: AuditHead) {
        let (id, hash) = (account(user), self.literal(head.hash));
        let sequence = head.sequence;
        let update = format!(
            "UPDATE mfa.accounts SET audit_sequence = {sequence}, audit_hash = {hash} WHERE id = {id}"
        );
        self.sql(&update).await;
    }

    /// Rewrites a user's trail from one event on, with another actor and matching hashes.
    pub(crate) async fn rewrite(&self, user: &str, from: u64) {
        let mut head = AuditHead::default();
        for mut event in self.chain(&key(user)).await {
            event.previous = head.hash;
            if event.sequence >= from {
                "user mallory".clone_into(&mut event.actor);
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

/// The start of 2020 in Unix seconds.
pub(crate) const IN_2020: u64 = 1_577_836_800;

pub(crate) async fn happen_at(store: &dyn AccountStore, key: &AccountKey, now: Timestamp) {
    let Versioned { value, version } = store.load(key).await.unwrap();
    let (policies, actor) = (Policies::default(), Actor::user("test"));
    let session = Session::default();
    let mut draft = value.draft(Context { key, actor: &actor, now, policies: &policies, session });
    draft.record(EventKind::Verified, None, []);
    assert_eq!(store.commit(key, version, &draft.finish().unwrap()).await.unwrap(), Commit::Won);
}

pub(crate) fn command(folder: &Path, url: &str, line: &str) -> Command {
    let mut command = mfa_tests::program(binary!());
    command.args(line.split_whitespace()).current_dir(folder);
    command.args(["--data-dir", "."]).env("MFA_STORE", url);
    command
}

/// The id of a user's account, as a subquery.
pub(crate) fn account(user: &str) -> String {
    format!("(SELECT a.id FROM mfa.accounts a WHERE a.user_id = '{user}')")
}

pub(crate) fn found(findings: &[(&str, u64, &str)]) -> Vec<(String, u64, String)> {
    findings
        .iter()
        .map(|(user, sequence, what)| ((*user).to_owned(), *sequence, (*what).to_owned()))
        .collect()
}
