//! A separate server for a test, on a free port and in a temporary folder.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Client, clock};

/// A running server. It is killed by its process id on drop.
#[derive(Debug)]
pub struct Server {
    /// A client with a key for all scopes.
    pub client: Client,
    /// The URL of the server.
    pub url: String,
    folder: Folder,
    child: Child,
    /// Kept open, since the folder may belong to a server that is dropped before this one.
    log: File,
    binary: PathBuf,
    options: ServerOptions,
}

/// Options for starting a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Environment variables, such as `MFA_STORE`. Of two with one name the last counts.
    pub environment: Vec<(String, String)>,
    /// A program that starts the server, such as a shell, with arguments.
    pub wrapper: Vec<String>,
}

#[derive(Debug)]
enum Folder {
    Own(TempDir),
    Shared(PathBuf),
}

/// The path of the server that was built with the tests of this repository.
#[macro_export]
macro_rules! binary {
    () => {
        std::path::Path::new(env!("CARGO_BIN_EXE_mfa-server-under-test"))
    };
}

impl Server {
    /// Starts a server with defaults, on SQLite in a new folder.
    #[must_use]
    pub fn start(binary: &Path) -> Self {
        Self::with(binary, ServerOptions::default())
    }

    /// Starts a server that keeps everything in memory.
    #[must_use]
    pub fn in_memory(binary: &Path) -> Self {
        Self::with(binary, ServerOptions::new([("MFA_STORE", "memory:")]))
    }

    /// Starts a server with more options, in a new folder.
    #[must_use]
    pub fn with(binary: &Path, options: ServerOptions) -> Self {
        let folder = Folder::Own(tempfile::tempdir().expect("a temporary folder"));
        Self::run(binary, folder, options, None)
    }

    /// Starts a server in a folder that another one used, with a key that it knows.
    #[must_use]
    pub fn in_folder(binary: &Path, folder: &Path, key: &str, options: ServerOptions) -> Self {
        Self::run(binary, Folder::Shared(folder.to_owned()), options, Some(key.to_owned()))
    }

    fn run(binary: &Path, folder: Folder, options: ServerOptions, key: Option<String>) -> Self {
        let log = open_log(folder.path());
        let (child, url, printed) = start(binary, folder.path(), &log, &options, key.is_none());
        let key = key.or(printed).expect("a first start prints an API key");
        Self { client: Client::new(&url, &key), url, folder, child, log, binary: binary.to_owned(), options }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Kills the server at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        clock::forget(self.id());
    }

    /// Stops the server with SIGTERM, as an init system does.
    pub fn terminate(&mut self) -> ExitStatus {
        // The shell's built-in `kill`: not every machine has the program.
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        self.child.wait().expect("wait")
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }

    /// Starts it again in the same folder; the client then calls the new one.
    pub fn restart(&mut self) {
        let (child, url, _) = start(&self.binary, self.folder.path(), &self.log, &self.options, false);
        self.child = child;
        self.client = self.client.at(&url);
        self.url = url;
    }

    /// Runs a command of the program in the same data directory, with the same environment.
    #[must_use]
    pub fn command<const N: usize>(&self, arguments: [&str; N]) -> std::process::Output {
        let mut command = program(&self.binary);
        command.args(arguments).arg("--data-dir").arg(self.data());
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command.output().expect("the program runs")
    }
}

/// Nearly free hashes, since an enrolment computes ten, nearly no delay of refusals, and an issuer that replicas share
/// and that a restart on another port does not change.
const USUAL: [(&str, &str); 4] = [
    ("MFA_ARGON2_MEMORY_KIB", "1024"),
    ("MFA_ARGON2_ITERATIONS", "1"),
    ("MFA_THROTTLE_REFUSAL_DELAY", "10ms"),
    ("MFA_ASSERTIONS_ISSUER", ISSUER),
];

/// Who signs the assertions of a server, unless a test names another issuer.
pub const ISSUER: &str = "https://mfa.example.com";

/// The defaults, except for the cost of hashes, the delay of refusals and the issuer of assertions.
impl Default for ServerOptions {
    fn default() -> Self {
        Self { environment: Vec::new(), wrapper: Vec::new() }.and(USUAL)
    }
}

impl ServerOptions {
    /// The defaults with these environment variables.
    #[must_use]
    pub fn new<const N: usize>(environment: [(&str, &str); N]) -> Self {
        Self::default().and(environment)
    }

    /// Adds generous time limits, for tests about answers and not about their speed.
    #[must_use]
    pub fn patient(self) -> Self {
        self.and([
            ("MFA_REQUEST_TIMEOUT", "30s"),
            ("MFA_POSTGRES_ACQUIRE_TIMEOUT", "20s"),
            ("MFA_POSTGRES_LOCK_TIMEOUT", "20s"),
            ("MFA_POSTGRES_STATEMENT_TIMEOUT", "25s"),
            ("MFA_POSTGRES_CALL_TIMEOUT", "28s"),
        ])
    }

    /// Adds more environment variables.
    #[must_use]
    pub fn and<const N: usize>(mut self, more: [(&str, &str); N]) -> Self {
        self.environment.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Shared(path) => path,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; it must not be left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::forget(self.id());
        if !std::thread::panicking() {
            let found = self.client.confidential().found_in(&self.log());
            assert!(found.is_empty(), "in the log of {}: {found:?}", self.data().display());
        }
    }
}

/// A program to start, without the environment variables that configure the tests.
#[must_use]
pub fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MFA_TEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The output of a program, one line at a time.
pub(crate) fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

/// Opens the log of a folder, which servers write and tests read.
fn open_log(data: &Path) -> File {
    let path = data.join("test.log");
    File::options().create(true).append(true).read(true).open(path).expect("a log file")
}

/// Reads the whole log while others write to it.
fn read(log: &File) -> String {
    let mut text = vec![0; log.metadata().expect("its length").len().try_into().expect("a length")];
    log.read_exact_at(&mut text, 0).expect("a log");
    String::from_utf8_lossy(&text).into_owned()
}

/// The maximum time until a starting server prints its next line, until it is ready.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// Starts a server and waits until it is ready; returns its URL and the API key of a first start.
fn start(
    binary: &Path,
    data: &Path,
    log: &File,
    options: &ServerOptions,
    first_start: bool,
) -> (Child, String, Option<String>) {
    let mut words = options.wrapper.iter().map(String::as_str).chain([binary.to_str().expect("a path")]);
    let mut command = program(Path::new(words.next().expect("a program")));
    command
        .args(words)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        // At the most detailed level, so that every test also checks that no secret and no code is logged.
        .env("MFA_LOG", "trace")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().expect("a log file"));
    let mut child = command.spawn().expect("the server starts");
    let mut url = None;
    let lines = lines(child.stdout.take().expect("stdout"));
    while let Ok(line) = lines.recv_timeout(START_TIMEOUT) {
        url = url.or_else(|| line.strip_prefix("listening on ").map(str::to_owned));
        // A first start prints an API key; any other start prints nothing more.
        let key = first_start.then(|| line.trim()).filter(|word| word.starts_with("mfa_"));
        if let Some(url) = url.clone().filter(|_| key.is_some() || !first_start) {
            return (child, url, key.map(str::to_owned));
        }
    }
    // It has ended, or hangs.
    child.kill().expect("kill");
    let status = child.wait().expect("wait");
    clock::forget(child.id());
    panic!("the server did not start ({status}):\n{}", read(log));
}
