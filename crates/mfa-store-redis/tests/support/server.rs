//! Redis servers of our own, for as long as the tests run: one, a cluster of six, or a primary and a replica
//! with three sentinels.
//!
//! Each has a temporary folder and a free port of the loopback address, and is stopped and removed when the
//! program that started it ends, however that ends.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, thread};

use redis::{Client, RedisResult, TlsCertificates, Value};
use tempfile::TempDir;

/// Keeps what it has answered, as accounts need it.
pub(crate) const DURABLE: [&str; 2] = ["appendonly yes", "appendfsync always"];

/// What is started first: it starts the server, does what it is told, and at the end of its input stops and
/// removes all of it. A server is known by its process id, and by nothing else.
const WARDEN: &str = r#"
    folder=$1; shift
    server=
    start() {
        redis-server "$folder/redis.conf" "$@" </dev/null >>"$folder/server.log" 2>&1 &
        server=$!
    }
    stop() {
        if [ -n "$server" ]; then kill -KILL "$server"; wait "$server"; server=; fi 2>/dev/null
    }
    while read -r order; do
        case $order in
            start) start "$@" ;;
            kill) stop ;;
            empty) rm -rf "$folder/data"; mkdir "$folder/data" ;;
            pause) kill -STOP "$server" ;;
            resume) kill -CONT "$server" ;;
            alive) kill -0 "$server" 2>/dev/null || { echo no; continue; } ;;
        esac
        echo done
    done
    stop
    rm -rf "$folder"
"#;

/// One server that was started here.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    tls: bool,
    password: Option<String>,
    warden: Mutex<Warden>,
}

/// For a server to answer one command.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reply, an element a line.
fn lines(reply: &Value) -> Vec<String> {
    match reply {
        Value::Array(elements) => elements.iter().flat_map(lines).collect(),
        Value::Okay => vec!["OK".to_owned()],
        Value::Int(number) => vec![number.to_string()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        _ => vec![String::new()],
    }
}

/// It has the other end of the pipes.
struct Warden {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one with further settings, each as in `redis.conf`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_as(settings, false, false)
    }

    /// Starts one that keeps what it has answered.
    pub(crate) fn durable() -> Self {
        Self::start(&DURABLE)
    }

    /// Starts one that speaks TLS only, with a certificate of its own for `localhost`.
    pub(crate) fn with_tls(settings: &[&str]) -> Self {
        Self::start_as(settings, false, true)
    }

    fn start_as(settings: &[&str], is_sentinel: bool, tls: bool) -> Self {
        for _ in 0..10 {
            let server = Self::prepare(settings, is_sentinel, tls);
            server.order("start");
            // Somebody else may have taken the port meanwhile.
            if server.comes_up() {
                return server;
            }
        }
        panic!("Redis does not start; `cargo xtask tools` installs it");
    }

    fn prepare(settings: &[&str], is_sentinel: bool, tls: bool) -> Self {
        let folder = TempDir::with_prefix("mfa-redis-").unwrap().keep();
        fs::create_dir(folder.join("data")).unwrap();
        let port = free_port();
        let mut config = format!("bind 127.0.0.1\ndir {}/data\n", folder.display());
        if tls {
            certify(&folder);
            write!(
                config,
                "port 0\ntls-port {port}\ntls-cert-file {0}/server.crt\ntls-key-file {0}/server.key\n\
                 tls-ca-cert-file {0}/authority.crt\ntls-auth-clients no\n",
                folder.display()
            )
            .unwrap();
        } else {
            writeln!(config, "port {port}").unwrap();
        }
        if !is_sentinel {
            config.push_str("save \"\"\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n");
        }
        for setting in settings {
            writeln!(config, "{setting}").unwrap();
        }
        fs::write(folder.join("redis.conf"), config).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", WARDEN, "warden"]).arg(&folder).args(is_sentinel.then_some("--sentinel"));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        // What interrupts the tests must not interrupt it before it has cleaned up.
        let mut process = command.process_group(0).spawn().unwrap();
        let (orders, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let password = settings.iter().find_map(|setting| setting.strip_prefix("requirepass "));
        let warden = Mutex::new(Warden { process, orders, answers });
        Self { folder, port, tls, password: password.map(str::to_owned), warden }
    }

    /// Waits until it answers, and is the one that was started.
    fn comes_up(&self) -> bool {
        let ours = format!("config_file:{}", self.folder.join("redis.conf").display());
        for _ in 0..1200 {
            let info = self.cli(&["INFO"]);
            if info.contains(&ours) && !info.contains("\nloading:1") {
                return true;
            }
            if self.order("alive") == "no" {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("Redis does not answer:\n{}", self.log());
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        if self.tls {
            let authority = self.folder.join("authority.crt");
            return format!("rediss://localhost:{}/0?ca={}", self.port, authority.display());
        }
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `redis-cli` would print for a command; it would take a process each time.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        match self.ask(command) {
            Ok(reply) => lines(&reply).join("\n").trim_end().replace("\r\n", "\n"),
            Err(error) => error.to_string(),
        }
    }

    fn ask(&self, command: &[&str]) -> RedisResult<Value> {
        let secret = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        let client = if self.tls {
            let authority = fs::read(self.folder.join("authority.crt"))?;
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(authority) };
            Client::build_with_tls(format!("rediss://{secret}localhost:{}", self.port), certificates)?
        } else {
            Client::open(format!("redis://{secret}127.0.0.1:{}", self.port))?
        };
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again with the files that it had.
    pub(crate) fn start_again(&self) {
        self.order("start");
        assert!(self.comes_up(), "{}", self.log());
    }

    /// Ends it at once, and starts it again without its files.
    pub(crate) fn restart_empty(&self) {
        self.order("kill");
        self.order("empty");
        self.start_again();
    }

    /// Lets it do nothing more, without any of its connections being closed.
    pub(crate) fn pause(&self) {
        self.order("pause");
    }

    pub(crate) fn resume(&self) {
        self.order("resume");
    }

    fn order(&self, order: &str) -> String {
        let mut warden = self.warden.lock().unwrap();
        writeln!(warden.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        warden.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// Three primaries, and a replica of each.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    /// Starts one whose nodes have further settings. A primary that does not answer for a second is
    /// replaced.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut all =
            vec!["cluster-enabled yes", "cluster-node-timeout 1000", "cluster-require-full-coverage no"];
        all.extend(settings);
        let nodes: Vec<_> = thread::scope(|scope| {
            let all = &all;
            let starting: Vec<_> = (0..6).map(|_| scope.spawn(move || Server::start(all))).collect();
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Self { nodes };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until all nodes agree, and each primary has a replica that is up to date and that all know to be.
    pub(crate) fn wait_until_whole(&self) {
        let whole = |node: &Server| {
            let replication = node.cli(&["INFO", "replication"]);
            let nodes = node.cli(&["CLUSTER", "NODES"]);
            node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && !nodes.contains("fail")
                && nodes.lines().filter(|line| line.contains("slave")).count() == 3
                && node.cli(&["CLUSTER", "SLOTS"]).lines().filter(|line| line.len() == 40).count() == 6
                && (replication.contains("connected_slaves:1") && replication.contains("state=online")
                    || replication.contains("master_link_status:up"))
        };
        for _ in 0..600 {
            if self.nodes.iter().all(whole) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the cluster does not become whole:\n{}", self.nodes[0].cli(&["CLUSTER", "NODES"]));
    }

    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The node that is the primary of a key, as the node `seen_by` sees it.
    pub(crate) fn primary_of(&self, key: &str, seen_by: usize) -> usize {
        let slot: u32 = self.nodes[seen_by].cli(&["CLUSTER", "KEYSLOT", key]).parse().unwrap();
        let nodes = self.nodes[seen_by].cli(&["CLUSTER", "NODES"]);
        let has_slot = |line: &&str| {
            let fields: Vec<_> = line.split(' ').collect();
            let mut slots = fields.iter().skip(8).filter(|range| !range.starts_with('['));
            fields[2].contains("master")
                && slots.any(|range| {
                    let (from, to) = range.split_once('-').unwrap_or((range, range));
                    (from.parse().unwrap()..=to.parse().unwrap()).contains(&slot)
                })
        };
        let line = nodes.lines().find(has_slot).unwrap_or_else(|| panic!("nobody has slot {slot}:\n{nodes}"));
        self.at(line.split(' ').nth(1).unwrap())
    }

    /// A node that is neither the primary of a key nor its replica.
    pub(crate) fn bystander_of(&self, key: &str) -> usize {
        let primary = self.primary_of(key, 0);
        let id = self.nodes[primary].cli(&["CLUSTER", "MYID"]);
        let nodes = self.nodes[0].cli(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| !line.contains(&id)).unwrap();
        self.at(line.split(' ').nth(1).unwrap())
    }

    /// The node at an address such as `127.0.0.1:7000@17000`.
    fn at(&self, address: &str) -> usize {
        let port: u16 = address.split('@').next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        self.nodes.iter().position(|node| node.port == port).unwrap()
    }
}

/// A primary and a replica, and three sentinels that watch them.
pub(crate) struct Sentinels {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts them; the servers have further settings. A primary that does not answer for a second is
    /// replaced.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let primary = Server::start(settings);
        let replica_of = format!("replicaof 127.0.0.1 {}", primary.port);
        let mut of_replica = vec![replica_of.as_str()];
        of_replica.extend(settings);
        let replica = Server::start(&of_replica);
        let watch = format!("sentinel monitor main 127.0.0.1 {} 2", primary.port);
        let watching =
            [&watch, "sentinel down-after-milliseconds main 1000", "sentinel failover-timeout main 3000"];
        let sentinels = (0..3).map(|_| Server::start_as(&watching, true, false)).collect();
        let all = Self { servers: vec![primary, replica], sentinels };
        all.wait_until_whole();
        all
    }

    /// Waits until every sentinel knows the others and the replica, and that is up to date.
    pub(crate) fn wait_until_whole(&self) {
        let whole = |sentinel: &Server| {
            let state = sentinel.cli(&["INFO", "sentinel"]);
            state.contains("status=ok") && state.contains("slaves=1,sentinels=3")
        };
        let synchronised = || {
            let up = |server: &Server| server.cli(&["INFO", "replication"]).contains("master_link_status:up");
            self.servers.iter().filter(|server| up(server)).count() == 1
        };
        for _ in 0..600 {
            if self.sentinels.iter().all(whole) && synchronised() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the sentinels do not agree:\n{}", self.sentinels[0].cli(&["INFO", "sentinel"]));
    }

    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", addresses.join(","))
    }

    /// The server that the sentinels take for the primary.
    pub(crate) fn primary(&self) -> usize {
        let address = self.sentinels[0].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        let port: u16 = address.lines().nth(1).unwrap().parse().unwrap();
        self.servers.iter().position(|server| server.port == port).unwrap()
    }
}

/// The URL of a new, empty namespace on the server of this program, or on that of `MFA_TEST_REDIS_URL`.
pub(crate) fn url() -> String {
    // It is never dropped, and ends with the program.
    static SERVER: OnceLock<Server> = OnceLock::new();
    let url = env::var("MFA_TEST_REDIS_URL");
    let url = url.unwrap_or_else(|_| SERVER.get_or_init(Server::durable).url());
    // No other test uses it, whichever process it runs in.
    with(&url, &format!("namespace=test-{:016x}", RandomState::new().hash_one("namespace")))
}

/// A URL with one more parameter.
pub(crate) fn with(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

/// A port that is free, and whose cluster bus port is free as well.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let bus = port.checked_add(10_000).map(|bus| TcpListener::bind(("127.0.0.1", bus)));
        if matches!(bus, Some(Ok(_))) {
            return port;
        }
    }
}

/// Makes a certificate for `localhost`, and an authority that vouches for it.
fn certify(folder: &Path) {
    const CERTIFY: &str = include_str!("../../../../tests/certify.sh");
    let made = Command::new("sh").args(["-c", CERTIFY]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
