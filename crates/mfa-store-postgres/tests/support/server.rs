//! A PostgreSQL server of our own, for as long as the tests run.
//!
//! It has a temporary folder, listens on a socket in it and on nothing else, and is stopped and removed
//! when the program that started it ends, however that ends.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

/// A server that was started here.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    /// It has the other end of a pipe, and stops the server when that is closed.
    warden: Child,
}

/// Runs what comes after it with a small disk mounted on a folder, which nobody else sees. The disk goes
/// with the last process that does.
const SMALL_DISK: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    r#"
        mkdir "$0" && chown postgres "$0" && mount -t tmpfs -o "size=$DISK,mode=700,uid=postgres" none "$0" &&
        "$@"
        umount --lazy "$0" && rm -rf "${0%/data}"
    "#,
];

/// Makes the certificate of a server with TLS.
const CERTIFY: &str = include_str!("../../../../tests/certify.sh");

/// Starts a server in a folder, says so, and stops and removes all of it at the end of its input.
const WARDEN: &str = r#"
    folder=$1; shift
    make() {
        if [ -n "$PRIMARY" ]; then
            pg_basebackup --pgdata="$folder/data" --dbname="$PRIMARY" --write-recovery-conf --checkpoint=fast
        elif [ -n "$MFA_TEST_POSTGRES_NEW" ]; then
            cp -R "$MFA_TEST_POSTGRES_NEW/." "$folder/data" && chmod 700 "$folder/data"
        else
            initdb --pgdata="$folder/data" --username=mfa --auth=trust --encoding=UTF8 --locale=C --no-sync
        fi
        if [ -n "$KEEP_NEW" ]; then cp -R "$folder/data" "$folder/new"; fi
    }
    remove() {
        if [ -z "$DISK" ]; then rm -rf "$folder"; fi
    }
    give_up() {
        cat "$1" >&2; remove; exit 1
    }
    make >"$folder/make.log" 2>&1 || give_up "$folder/make.log"
    if [ -n "$TLS" ]; then
        (cd "$folder/data" && sh -c "$TLS") >"$folder/openssl.log" 2>&1 || give_up "$folder/openssl.log"
        cp "$folder/data/authority.crt" "$folder/authority.crt"; chmod 644 "$folder/authority.crt"
        set -- -c ssl=on "$@"
    fi
    if [ -n "$STANDBY" ]; then touch "$folder/data/standby.signal"; fi
    server=
    stop() {
        if [ -n "$server" ]; then kill "-$1" "$server"; wait "$server"; server=; fi
    }
    start() {
        postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=200 "$@" \
            </dev/null >>"$folder/server.log" 2>&1 &
        server=$!
    }
    start "$@"
    while read -r order; do
        case $order in
            stop) stop INT; touch "$folder/done" ;;
            crash) stop QUIT; touch "$folder/done" ;;
            fill) dd if=/dev/zero of="$folder/data/ballast" bs=8k >/dev/null 2>&1; touch "$folder/done" ;;
            empty) rm "$folder/data/ballast"; touch "$folder/done" ;;
            promote) pg_ctl promote --pgdata="$folder/data" >>"$folder/make.log" 2>&1; touch "$folder/done" ;;
            start) start "$@" ;;
        esac
    done
    stop INT
    remove
"#;

impl Server {
    /// Starts one, and keeps its files as they were before its first start in [`Self::new_files`].
    pub(crate) fn to_copy(settings: &[&str]) -> Self {
        Self::start_as(5432, settings, &[("KEEP_NEW", "yes")])
    }

    /// What `MFA_TEST_POSTGRES_NEW` is set to, so that others are copies of it: `initdb` takes over two seconds of
    /// a processor.
    pub(crate) fn new_files(&self) -> PathBuf {
        self.folder.join("new")
    }

    /// Starts one with further settings, each as `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_as(5432, settings, &[])
    }

    /// Starts one that listens on a free port of localhost, with TLS and a certificate of its own.
    pub(crate) fn with_tls() -> (u16, Self) {
        let port = free_port();
        (port, Self::start_as(port, &["listen_addresses=localhost"], &[("TLS", CERTIFY)]))
    }

    /// Starts one that waits for a primary for ever.
    pub(crate) fn standby() -> Self {
        Self::start_as(5432, &[], &[("STANDBY", "yes")])
    }

    /// Starts a streaming standby of the primary with that connection string. There it is called
    /// `standby`, as in `synchronous_standby_names`.
    pub(crate) fn standby_of(primary: &str) -> Self {
        let primary = format!("{primary} user=mfa application_name=standby");
        Self::start_as(5432, &[], &[("PRIMARY", &primary)])
    }

    /// Starts one whose data are on a disk of that size (`128m`) of its own. That takes the right to
    /// mount.
    pub(crate) fn on_a_small_disk(size: &str) -> Self {
        Self::start_as(5432, &[], &[("DISK", size)])
    }

    /// Starts one that listens on a free port of the loopback address too.
    pub(crate) fn on_a_port() -> (u16, Self) {
        let port = free_port();
        (port, Self::start_as(port, &["listen_addresses=127.0.0.1"], &[]))
    }

    fn start_as(port: u16, settings: &[&str], orders: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("mfa-postgres-").unwrap().keep();
        let small = orders.iter().any(|(name, _)| *name == "DISK");
        let mut words: Vec<&str> = if small { SMALL_DISK.to_vec() } else { Vec::new() };
        let data = folder.join("data");
        words.extend(data.to_str().filter(|_| small));
        // The server refuses to run as root.
        if is_root() {
            assert!(
                Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success(),
                "there is no user postgres; `cargo xtask tools` installs PostgreSQL with it"
            );
            words.extend(["runuser", "-u", "postgres", "--"]);
        }
        words.extend(["sh", "-c", WARDEN, "warden"]);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(&folder)
            .arg(format!("--port={port}"))
            .args(settings.iter().flat_map(|set| ["-c", set]));
        command.env("PATH", format!("{}:{}", binaries().display(), env::var("PATH").unwrap_or_default()));
        command.envs(orders.iter().copied()).current_dir("/").stdin(Stdio::piped());
        // What interrupts the tests must not interrupt it before it has cleaned up.
        let warden = command.process_group(0).spawn().unwrap();
        Self { folder, port, warden }
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://mfa@{folder}:{}/{database}", self.port)
    }

    /// A new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = database_name();
        let mut maintenance = self.connect().await;
        maintenance.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        self.url(&name)
    }

    /// Connects as soon as it is up.
    pub(crate) async fn connect(&self) -> PgConnection {
        for _ in 0..600 {
            if let Ok(connection) = PgConnection::connect(&self.url("postgres")).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        panic!("PostgreSQL does not start:\n{log}");
    }

    /// Stops it in fast mode: sessions are ended, and what is committed is written.
    pub(crate) fn stop(&self) {
        self.order("stop");
        self.wait_until_done();
    }

    /// Stops it in immediate mode: it ends as it does in a crash, and recovers at its next start.
    pub(crate) fn crash(&self) {
        self.order("crash");
        self.wait_until_done();
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.order("promote");
        self.wait_until_done();
    }

    /// Fills its disk up.
    pub(crate) fn fill_disk(&self) {
        self.order("fill");
        self.wait_until_done();
    }

    /// Makes room on its disk again.
    pub(crate) fn empty_disk(&self) {
        self.order("empty");
        self.wait_until_done();
    }

    /// Starts it again.
    pub(crate) fn start_again(&self) {
        self.order("start");
    }

    fn order(&self, order: &str) {
        let mut orders = self.warden.stdin.as_ref().unwrap();
        writeln!(orders, "{order}").unwrap();
    }

    fn wait_until_done(&self) {
        let done = self.folder.join("done");
        for _ in 0..12_000 {
            if fs::remove_file(&done).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("PostgreSQL does not do what it was told");
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
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

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A name that no other test uses, whichever process it runs in.
fn database_name() -> String {
    format!("mfa_test_{:016x}", RandomState::new().hash_one("database"))
}

/// Where `initdb` and `postgres` are: on the path, or where Debian has them.
pub(crate) fn binaries() -> PathBuf {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let found = env::split_paths(&on_path)
        .chain(debian.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.expect("tests need PostgreSQL (initdb, postgres); `cargo xtask tools` installs it")
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}
