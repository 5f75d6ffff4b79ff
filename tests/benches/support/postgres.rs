//! A PostgreSQL of our own with many users in it, loaded in bulk.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use indicatif::{ProgressBar, ProgressStyle};
use mfa_crypto::AesGcmVault;
use mfa_domain::ports::ApiKeyStore;
use mfa_domain::{AccountKey, BackupCodesChange, Delta, FactorKind, StoredFactor, Timestamp};
use mfa_store_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::population;
use super::server::Server;

/// Settings of the server besides PostgreSQL's own, as for a machine of this size that is used for that:
/// memory for pages, and a log that may be long, so that checkpoints are far apart. All that makes commits
/// durable is as it is by default.
pub fn settings() -> [String; 4] {
    let memory = std::fs::read_to_string("/proc/meminfo").expect("Linux");
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let megabytes: u64 = total.and_then(|kilobytes| kilobytes.parse().ok()).map_or(4096, |kb: u64| kb / 1024);
    [
        // What PostgreSQL's documentation advises. With two fifths, less was left for the kernel's copies.
        format!("shared_buffers={}MB", megabytes / 4),
        "max_wal_size=16GB".to_owned(),
        "checkpoint_timeout=30min".to_owned(),
        "wal_compression=lz4".to_owned(),
    ]
}

/// Accounts that travel in one transaction.
const TOGETHER: u32 = 2000;

/// What a row of each table is made of, as `COPY` takes it.
const TABLES: [&str; 3] = [
    "mfa.accounts (id, tenant_id, user_id, version, failures, forgiven, audit_sequence, audit_hash, factors, sealed_with)",
    "mfa.backup_code_sets (account_id, scheme, issued_at, count, hashes)",
    "mfa.events (tenant_id, account_id, sequence, at, kind, factor_id, actor, detail, previous, hash)",
];

/// A database on a server of its own.
pub struct Database {
    pub server: Server,
    pub url: String,
    pub api_key: String,
}

impl Database {
    /// A new server, and a database with tables, an API key and nobody in it.
    pub async fn start() -> Self {
        let server = Server::start(&settings().each_ref().map(String::as_str));
        let url = server.database().await;
        let store = PostgresStore::open(&url).await.expect("a store");
        let (api_key, record) = population::api_key();
        store.insert(&record).await.expect("a key");
        store.close().await;
        Self { server, url, api_key }
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a connection")
    }

    /// The process that all others of the server descend from.
    pub fn process(&self) -> u32 {
        let file = self.server.folder().join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("a running server");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// Loads users, with a progress bar, and leaves the tables as a vacuum leaves them. Gives how long
    /// the loading took.
    pub async fn load(&self, data: &Path, users: Range<u32>, kind: &FactorKind, codes: usize) -> Duration {
        let began = Instant::now();
        let style = "{bar:40} {human_pos} of {human_len} accounts, {per_sec}, {eta} to go";
        let bar = ProgressBar::new(u64::from(users.end - users.start))
            .with_style(ProgressStyle::with_template(style).expect("a template"));
        let vault = Arc::new(population::vault(data));
        let next = Arc::new(AtomicU32::new(users.start));
        let tasks = (0..std::thread::available_parallelism().map_or(2, usize::from)).map(|_| {
            let (vault, next, bar, url) = (vault.clone(), next.clone(), bar.clone(), self.url.clone());
            let kind = kind.clone();
            tokio::spawn(async move {
                let mut connection = PgConnection::connect(&url).await.expect("a connection");
                // What is loaded is whole: each row's account is there, so nobody has to look.
                connection.execute("SET session_replication_role = replica").await.expect("a superuser");
                loop {
                    let from = next.fetch_add(TOGETHER, Ordering::Relaxed);
                    if from >= users.end {
                        return;
                    }
                    let batch = from..users.end.min(from + TOGETHER);
                    copy(&mut connection, &vault, batch.clone(), &kind, codes).await;
                    bar.inc(u64::from(batch.end - batch.start));
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("users");
        }
        bar.finish_and_clear();
        let took = began.elapsed();
        let mut connection = self.connect().await;
        let next_id =
            format!("SELECT setval(pg_get_serial_sequence('mfa.accounts', 'id'), {})", users.end.max(1));
        connection.execute(AssertSqlSafe(next_id)).await.expect("a sequence");
        connection.execute("VACUUM (ANALYZE)").await.expect("a vacuum");
        connection.execute("CHECKPOINT").await.expect("a checkpoint");
        took
    }
}

/// Loads a few users in one transaction.
async fn copy(
    connection: &mut PgConnection,
    vault: &AesGcmVault,
    users: Range<u32>,
    kind: &FactorKind,
    codes: usize,
) {
    let mut rows = Rows::default();
    for number in users {
        let (key, delta) = population::enrolled(vault, number, kind, codes).await;
        rows.add(i64::from(number) + 1, &key, &delta);
    }
    let mut transaction = connection.begin().await.expect("a transaction");
    for (table, rows) in TABLES.iter().zip(rows.0) {
        let statement = format!("COPY {table} FROM STDIN");
        let mut copy = transaction.copy_in_raw(&statement).await.expect("a copy");
        copy.send(rows.into_bytes()).await.expect("rows");
        copy.finish().await.expect("rows");
    }
    transaction.commit().await.expect("a commit");
}

/// Rows of the three tables, in the text format of `COPY`.
#[derive(Default)]
struct Rows([String; 3]);

impl Rows {
    fn add(&mut self, id: i64, key: &AccountKey, delta: &Delta) {
        let [accounts, sets, events] = &mut self.0;
        let (tenant, user, head) = (key.tenant.as_str(), key.user.as_str(), delta.audit_head());
        let hash = bytes(&head.hash.0);
        let factors = delta.factors().expect("a factor");
        let key = &factors[0].sealed.as_ref().expect("a secret").key;
        // Nothing in it needs a backslash.
        let factors = StoredFactor::to_document(factors).expect("JSON");
        writeln!(
            accounts,
            "{id}\t{tenant}\t{user}\t1\t0\t0\t{}\t{hash}\t{factors}\t[\"{key}\"]",
            head.sequence
        )
        .expect("text");
        if let Some(BackupCodesChange::Replace(set)) = delta.backup_codes() {
            let hashes: Vec<_> = set.codes.iter().flat_map(|code| code.hash.0.iter().copied()).collect();
            let (issued_at, count, hashes) = (millis(set.issued_at), set.codes.len(), bytes(&hashes));
            writeln!(sets, "{id}\t{}\t{issued_at}\t{count}\t{hashes}", set.scheme).expect("text");
        }
        for event in delta.events() {
            let factor = event.factor.map_or_else(|| "\\N".to_owned(), |id| id.to_string());
            let detail = serde_json::to_string(&event.detail).expect("JSON");
            let (sequence, at, kind, actor) = (event.sequence, millis(event.at), &event.kind, &event.actor);
            let (previous, hash) = (bytes(&event.previous.0), bytes(&event.hash.0));
            writeln!(
                events,
                "{tenant}\t{id}\t{sequence}\t{at}\t{kind}\t{factor}\t{actor}\t{detail}\t{previous}\t{hash}"
            )
            .expect("text");
        }
    }
}

/// The text format takes a backslash for the beginning of an escape.
fn bytes(bytes: &[u8]) -> String {
    format!("\\\\x{}", HEXLOWER.encode(bytes))
}

fn millis(at: Timestamp) -> u64 {
    at.unix_millis()
}
