//! A mail server for a test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, of which not all use all"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A running mail server. It stops when it is dropped.
pub(crate) struct MailServer {
    process: Child,
    pub(crate) port: u16,
    mails: Receiver<Value>,
}

impl MailServer {
    /// Starts one with those settings, which `server.py` describes.
    pub(crate) fn start(settings: &Value) -> Self {
        let mut process = Command::new(python())
            .arg(root().join("crates/mfa-email/tests/support/server.py"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the mail server does not start").unwrap().parse().unwrap();
        let (took, mails) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = took.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, port, mails }
    }

    /// The next mail that it took.
    pub(crate) fn mail(&self) -> Value {
        self.mails.recv_timeout(Duration::from_secs(20)).expect("no mail came")
    }

    /// The next mail, for which a test waits that long.
    pub(crate) fn mail_within(&self, limit: Duration) -> Value {
        self.mails.recv_timeout(limit).expect("no mail came")
    }

    /// How many more mails it took, once it has had the time for another.
    pub(crate) fn more(&self) -> usize {
        thread::sleep(Duration::from_millis(200));
        self.mails.try_iter().count()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, and a certificate for `localhost` that it signed.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn make() -> Self {
        const CERTIFY: &str = include_str!("../../../../tests/certify.sh");
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("sh").args(["-c", CERTIFY]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a server needs, with other settings.
    pub(crate) fn with(&self, settings: &Value) -> Value {
        let mut all = settings.clone();
        all["certificate"] = json!(self.file("server.crt"));
        all["key"] = json!(self.file("server.key"));
        all
    }

    /// What a client trusts.
    pub(crate) fn authority(&self) -> Vec<u8> {
        std::fs::read(self.file("authority.crt")).unwrap()
    }
}

/// A Python that has the packages of the tests.
pub(crate) fn python() -> PathBuf {
    let python = root().join("target/test-tools/bin/python");
    assert!(python.exists(), "tests need Python packages; `cargo xtask test` installs them");
    python
}

/// The top of the repository.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap().to_owned()
}
