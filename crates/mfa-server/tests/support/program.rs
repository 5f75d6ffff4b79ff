//! The program in a folder of its own, and a server of it that is killed when it is dropped.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code, of which not every file needs all"
)]

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program, its working directory, and what it says.
#[derive(Debug)]
pub struct Program {
    pub folder: TempDir,
}

/// What one command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub address: String,
    lines: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Program {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A file of the data directory.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join("mfa-data").join(name)
    }

    /// The program with the words of a line as arguments, and no environment that configures.
    pub fn command(&self, line: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::from_std(unconfigured(Command::new(program())));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("RUST_BACKTRACE").env("USER", "anna").env_remove("SUDO_USER");
        command
    }

    pub fn run(&self, line: &str) -> Said {
        Said::of(&self.command(line).output().unwrap())
    }

    /// Runs a line that begins with `mfa-server` as a shell does.
    pub fn shell(&self, line: &str) -> ExitStatus {
        let arguments = line.strip_prefix("mfa-server ").unwrap();
        let mut shell = unconfigured(Command::new("sh"));
        shell.args(["-c", &format!("\"$0\" {arguments}")]).arg(program()).current_dir(self.folder.path());
        shell.stdout(Stdio::null()).status().unwrap()
    }

    /// Runs a command that must succeed, and reads its answer.
    pub fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} --json"));
        assert_eq!(said.code, 0, "{line}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    pub fn serve(&self, line: &str) -> Server {
        self.serve_as(Command::new(program()), line)
    }

    /// The program as user 65534, if this is root, who can become anybody. A copy of it: nobody else may look
    /// into the folder that it was built in.
    pub fn as_nobody(&self) -> Option<Command> {
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout != b"0\n" {
            return None;
        }
        let copy = self.folder.path().join("program");
        if !copy.exists() {
            std::fs::copy(program(), &copy).unwrap();
            std::fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command.current_dir(self.folder.path());
        Some(unconfigured(command))
    }

    /// A server that `command` starts, such as a shell that sets limits.
    pub fn serve_as(&self, command: Command, line: &str) -> Server {
        let log = self.folder.path().join("log");
        let mut child = unconfigured(command)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            // The machine that runs the tests may be busy, and nothing here is about time.
            .env("MFA_REQUEST_TIMEOUT", "30s")
            .env("MFA_ARGON2_MEMORY_KIB", "1024")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let Some(address) = first.strip_prefix("listening on http://") else {
            child.wait().unwrap();
            panic!("the server did not start: {}", std::fs::read_to_string(log).unwrap());
        };
        Server { child, address: address.trim_end().to_owned(), lines, log }
    }
}

/// The same without what configures the program where the tests run, or the tests themselves.
pub fn unconfigured(mut command: Command) -> Command {
    let configures = |name: &OsString| name.to_string_lossy().starts_with("MFA_");
    for name in std::env::vars_os().map(|(name, _)| name).filter(configures) {
        command.env_remove(name);
    }
    command
}

impl Said {
    pub fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

impl Server {
    /// Sends a request with an API key, and gives the status and the body.
    pub fn call(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    /// Enrols and confirms a user by TOTP, and gives the secret.
    pub fn enrol(&self, key: &str, user: &str) -> String {
        let (status, answer) = self.call(
            key,
            "POST",
            &format!("/v1/users/{user}/factors"),
            &serde_json::json!({ "kind": "totp", "label": "Phone" }),
        );
        assert_eq!(status, 201, "{answer}");
        let secret = answer["totp"]["secret"].as_str().unwrap().to_owned();
        let path = format!("/v1/users/{user}/factors/{}/confirm", answer["factor"]["id"].as_str().unwrap());
        let (status, answer) =
            self.call(key, "POST", &path, &serde_json::json!({ "code": oathtool(&secret, "now") }));
        assert_eq!(status, 200, "{answer}");
        secret
    }

    pub fn verify(&self, key: &str, user: &str, code: &str) -> u16 {
        self.call(key, "POST", &format!("/v1/users/{user}/verify"), &serde_json::json!({ "code": code })).0
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, waits for the end, and gives the rest of standard output.
    pub fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill {signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TOTP code, from another implementation than ours.
pub fn oathtool(secret: &str, when: &str) -> String {
    let output =
        Command::new("oathtool").args(["--totp", "--base32", "--now", when, secret]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mfa-server"))
}
