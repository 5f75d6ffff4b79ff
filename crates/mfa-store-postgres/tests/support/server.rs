//! A PostgreSQL server of our own, for as long as the tests run.
//!
//! It has a temporary folder, listens on a socket in it and on nothing else, and is stopped and removed
//! when the program that started it ends, however that ends.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

/// A server that was started here.
pub(crate) struct Server {
    folder: PathBuf,
    /// It has the other end of a pipe, and stops the server when that is closed.
    warden: Child,
}

/// Starts a server in a folder, says so, and stops and removes all of it at the end of its input.
const WARDEN: &str = r#"
    set -e
    folder=$1; shift
    initdb --pgdata="$folder/data" --username=mfa --auth=trust --encoding=UTF8 --locale=C \
        >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
    postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=200 "$@" \
        </dev/null >"$folder/server.log" 2>&1 &
    server=$!
    echo "$server" >"$folder/pid"
    cat >/dev/null || true
    kill -INT "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$folder"
"#;

impl Server {
    /// Starts one with further settings, each as `-c name=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = TempDir::with_prefix("mfa-postgres-").unwrap().keep();
        // The server refuses to run as root.
        let mut command = if is_root() {
            assert!(
                Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success(),
                "there is no user postgres; `cargo xtask tools` installs PostgreSQL with it"
            );
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", WARDEN, "warden"]).arg(&folder).args(settings.iter().flat_map(|set| ["-c", set]));
        command.env("PATH", format!("{}:{}", binaries().display(), env::var("PATH").unwrap_or_default()));
        command.current_dir("/").stdin(Stdio::piped());
        // What interrupts the tests must not interrupt it before it has cleaned up.
        let warden = command.process_group(0).spawn().unwrap();
        Self { folder, warden }
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://mfa@{folder}/{database}")
    }

    /// A new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = database_name();
        let mut maintenance = self.connect().await;
        maintenance.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        self.url(&name)
    }

    /// Connects as soon as it is up.
    async fn connect(&self) -> PgConnection {
        for _ in 0..600 {
            if let Ok(connection) = PgConnection::connect(&self.url("postgres")).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        panic!("PostgreSQL does not start:\n{log}");
    }

    /// Where its socket is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

/// A new, empty database on the server of this program, or on that of `MFA_TEST_POSTGRES_URL`.
pub(crate) async fn database() -> String {
    // It is never dropped, and ends with the program.
    static SERVER: OnceLock<Server> = OnceLock::new();
    let Ok(url) = env::var("MFA_TEST_POSTGRES_URL") else {
        return SERVER.get_or_init(|| Server::start(&[])).database().await;
    };
    let name = database_name();
    let mut maintenance = PgConnection::connect(&url).await.expect("MFA_TEST_POSTGRES_URL");
    maintenance.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let (server, parameters) = url.split_once('?').map_or((&*url, ""), |(server, rest)| (server, rest));
    let server = server.rsplit_once('/').map_or(server, |(server, _)| server);
    format!("{server}/{name}?{parameters}")
}

fn database_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("mfa_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Where `initdb` and `postgres` are: on the path, or where Debian has them.
fn binaries() -> PathBuf {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let found = env::split_paths(&on_path)
        .chain(debian.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.expect("tests need PostgreSQL (initdb, postgres); `cargo xtask tools` installs it")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}
