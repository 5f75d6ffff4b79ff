//! A server of its own for a test, on a free port and in a temporary folder.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Client, clock};

/// A running server. It is killed, by its process id, when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Calls it with a key that may do everything.
    pub client: Client,
    /// Where it listens.
    pub url: String,
    folder: Folder,
    child: Child,
    /// Open, as the folder may belong to a server that is dropped before this one.
    log: File,
    binary: PathBuf,
    options: ServerOptions,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Variables for its environment, such as `MFA_STORE`. Of two with one name the last counts.
    pub environment: Vec<(String, String)>,
    /// A program that starts it, such as a shell, with arguments.
    pub wrapper: Vec<String>,
}

#[derive(Debug)]
enum Folder {
    Own(TempDir),
    Shared(PathBuf),
}

/// Where tests of this repository find the server that was built with them.
#[macro_export]
macro_rules! binary {
    () => {
        std::path::Path::new(env!("CARGO_BIN_EXE_mfa-server-under-test"))
    };
}

impl Server {
    /// A server with the defaults, on SQLite in a new folder.
    #[must_use]
    pub fn start(binary: &Path) -> Self {
        Self::with(binary, ServerOptions::default())
    }

    /// A server that keeps everything in memory.
    #[must_use]
    pub fn in_memory(binary: &Path) -> Self {
        Self::with(binary, ServerOptions::new([("MFA_STORE", "memory:")]))
    }

    /// A server with more options, in a new folder.
    #[must_use]
    pub fn with(binary: &Path, options: ServerOptions) -> Self {
        let folder = Folder::Own(tempfile::tempdir().expect("a temporary folder"));
        Self::run(binary, folder, options, None)
    }

    /// A server in a folder that another one used, with a key that it knows.
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

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the server logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Ends the server at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        clock::forget(self.id());
    }

    /// Asks the server to stop, as an init system does.
    pub fn terminate(&mut self) -> ExitStatus {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        self.child.wait().expect("wait")
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }

    /// Starts it again in the same folder; the client speaks to the new one.
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

/// Hashes that cost next to nothing, as an enrolment makes ten, and refusals that are hardly held back.
const QUICK: [(&str, &str); 3] = [
    ("MFA_ARGON2_MEMORY_KIB", "1024"),
    ("MFA_ARGON2_ITERATIONS", "1"),
    ("MFA_THROTTLE_REFUSAL_DELAY", "10ms"),
];

/// All as it comes, but for the time that hashes and refusals take.
impl Default for ServerOptions {
    fn default() -> Self {
        Self { environment: Vec::new(), wrapper: Vec::new() }.and(QUICK)
    }
}

impl ServerOptions {
    /// The defaults with some variables of the environment.
    #[must_use]
    pub fn new<const N: usize>(environment: [(&str, &str); N]) -> Self {
        Self::default().and(environment)
    }

    /// The same with time for everything, where a test is about what is answered and not how soon.
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

    /// The same with more variables of the environment.
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
        // It may be gone already; what matters is that it is not left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::forget(self.id());
        if !std::thread::panicking() {
            let found = self.client.confidential().found_in(&self.log());
            assert!(found.is_empty(), "in the log of {}: {found:?}", self.data().display());
        }
    }
}

/// A program to start. What tests are told by the environment is nothing that it knows.
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

/// What a program prints, a line at a time.
fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

/// What the servers of a folder write and tests read.
fn open_log(data: &Path) -> File {
    let path = data.join("test.log");
    File::options().create(true).append(true).read(true).open(path).expect("a log file")
}

/// All of a log, though others write to it.
fn read(log: &File) -> String {
    let mut text = vec![0; log.metadata().expect("its length").len().try_into().expect("a length")];
    log.read_exact_at(&mut text, 0).expect("a log");
    String::from_utf8_lossy(&text).into_owned()
}

/// How long a server may take to say its next line, until it is ready.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// Starts a server and waits until it is ready. Gives its URL and the API key of a first start.
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
        // Every test shows that no secret and no code is logged, as loud as logging can be.
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
        // A first start shows an API key; any other start nothing more.
        let key = first_start.then(|| line.trim()).filter(|word| word.starts_with("mfa_"));
        if let Some(url) = url.clone().filter(|_| key.is_some() || !first_start) {
            return (child, url, key.map(str::to_owned));
        }
    }
    // It has ended, or does nothing any more.
    child.kill().expect("kill");
    let status = child.wait().expect("wait");
    clock::forget(child.id());
    panic!("the server did not start ({status}):\n{}", read(log));
}
