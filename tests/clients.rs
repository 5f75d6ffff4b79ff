//! The clients in `clients/` run as they are against the server, with codes of `oathtool`.
//!
//! The programs are installed by `cargo xtask tools`; where one is missing these tests fail.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use mfa_tests::{Confidential, Server, binary, now};
use serde_json::Value;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_bash_enrols_verifies_and_explains_problems() {
    try_out(&[file("clients/curl.sh")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_python_enrols_verifies_and_explains_problems() {
    try_out(&[PathBuf::from("python3"), file("clients/client.py")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_javascript_enrols_verifies_and_explains_problems() {
    try_out(&[file("target/test-tools/bin/node"), file("clients/client.mjs")]).await;
}

/// A program that runs for a moment is not worth optimising.
const SMALL_JAVA: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// The first dialogue is with the file as it is. It is compiled for the others, since that takes long.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_java_enrols_verifies_and_explains_problems() {
    let source = file("clients/Client.java");
    let classes = tempfile::tempdir().unwrap();
    let mut javac = Command::new("javac");
    javac.args(SMALL_JAVA.map(|option| format!("-J{option}"))).arg("-d").arg(classes.path()).arg(&source);
    let status = javac.env("LC_ALL", "C.UTF-8").status();
    let status = status.unwrap_or_else(|error| panic!("javac is needed ({error}): run `cargo xtask tools`"));
    assert!(status.success(), "javac: {status}");
    let java = || [PathBuf::from("java")].into_iter().chain(SMALL_JAVA.map(PathBuf::from));
    let as_it_is: Vec<_> = java().chain([source]).collect();
    let class = [PathBuf::from("-cp"), classes.path().to_owned(), PathBuf::from("Client")];
    let compiled: Vec<_> = java().chain(class).collect();
    try_out_with(&as_it_is, &compiled).await;
}

#[test]
fn the_client_in_bash_takes_the_status_and_retry_after_from_the_server_behind_a_proxy() {
    let tunnel = Tunnel::start();
    let folder = tunnel.folder.path();
    // With this setting curl prints no body of a problem.
    fs::write(folder.join(".curlrc"), "fail\n").unwrap();
    let mut client = Command::new(file("clients/curl.sh"));
    client.arg("alice").env("API_URL", "https://localhost").env("API_KEY", "mfa_of_nobody");
    client.env("https_proxy", &tunnel.url).env_remove("no_proxy").env_remove("NO_PROXY");
    client.env("HOME", folder).env("CURL_CA_BUNDLE", folder.join("authority.crt")).env("LC_ALL", "C.UTF-8");
    let output = client.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "Try again in 7 seconds: Too many requests (/problems/throttled)\n");
    assert_eq!(output.status.code(), Some(3));
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

async fn try_out(program: &[PathBuf]) {
    try_out_with(program, program).await;
}

/// The first dialogue is with one program, the others are with another.
async fn try_out_with(first: &[PathBuf], others: &[PathBuf]) {
    let server = Server::start(binary!());
    let client = &server.client;
    let key = key_of_a_login(&server);
    let begin = |user: &str, key: &str| Dialogue::begin(others, &server, user, key);

    let mut first = Dialogue::begin(first, &server, "zoë + 1", &key);
    let secret = first.read_after("Or type the secret: ");
    first.enter(&code(&secret, 0));
    first.enter(&code(&secret, 30));
    first.read_after("Enrolled. Backup codes, each good once:");
    let backup_code = first.read_after("  ");
    first.enter(&backup_code);
    let output = first.end(0);
    for expected in ["\u{1b}[38;5;16;48;5;231m", "▀", "Verified by totp\n", "Verified by backup_code\n"] {
        assert!(output.contains(expected), "{expected:?} is not in:\n{output}");
    }
    let status = client.get("/v1/users/zo%C3%AB%20%2B%201").await.expect(200).json;
    assert_eq!(status["enrolled"], true);
    assert_eq!(status["backup_codes"]["remaining"], 9);

    // One who has an app: another is added after a code of the first. In a path the id is base64url.
    let (phone, backup_codes) = client.enrol("~YS9i", "totp").await;
    let mut second = begin("a/b", &key);
    second.enter(&phone.totp(0));
    let secret = second.read_after("Or type the secret: ");
    second.enter(&code(&secret, 0));
    second.enter(&code(&secret, 30));
    second.enter(&backup_codes[0]);
    let output = second.end(0);
    assert!(output.contains("You have a factor already.") && output.contains("none new"), "{output}");
    let factors = client.get("/v1/users/~YS9i").await.expect(200).json["factors"].clone();
    assert_eq!(factors.as_array().unwrap().len(), 2);

    let mut wrong = begin("bob", &key);
    let secret = wrong.read_after("Or type the secret: ");
    wrong.enter(&wrong_code(&secret));
    let output = wrong.end(1);
    assert!(output.contains("Wrong code: ") && output.contains("(/problems/invalid-code)"), "{output}");

    for number in 0..5 {
        client.verify("~YS9i", &phone.wrong(number)).await.expect_problem(401, "invalid-code");
    }
    let mut locked = begin("a/b", &key);
    locked.enter(&phone.totp(0));
    let output = locked.end(3);
    assert!(output.contains("Try again in ") && output.contains("(/problems/locked)"), "{output}");

    let output = begin("bob", "mfa_of_nobody").end(2);
    assert!(output.contains("Not possible: ") && output.contains("(/problems/unauthorized)"), "{output}");
}

/// An API key with the scopes that the login of an application has. It is no operator's, so adding a factor needs proof.
fn key_of_a_login(server: &Server) -> String {
    let made = server.command([
        "api-key", "create", "--tenant", "default", "--scope", "verify", "--scope", "enrol", "--json",
    ]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    server.client.confidential().add(key);
    key.to_owned()
}

/// The code that `oathtool` shows that many seconds from now.
fn code(secret: &str, seconds: i64) -> String {
    let time = format!("@{}", now().checked_add_signed(seconds).unwrap());
    let output = Command::new("oathtool").args(["--totp", "--base32", "--now", &time, secret]).output();
    let output =
        output.unwrap_or_else(|error| panic!("oathtool is needed ({error}): run `cargo xtask tools`"));
    assert!(output.status.success(), "oathtool: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A code that is none of those near the present.
fn wrong_code(secret: &str) -> String {
    let near = [-60, -30, 0, 30, 60].map(|seconds| code(secret, seconds));
    (0..10).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
}

/// A client that runs, and what it has printed so far.
struct Dialogue {
    child: Child,
    stdout: BufReader<ChildStdout>,
    printed: String,
    confidential: Confidential,
}

impl Dialogue {
    fn begin(program: &[PathBuf], server: &Server, user: &str, key: &str) -> Self {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg(user).env("API_URL", &server.url).env("API_KEY", key);
        command.env("LC_ALL", "C.UTF-8").env("no_proxy", "127.0.0.1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{} is needed ({error}): run `cargo xtask tools`", program[0].display())
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, printed: String::new(), confidential: server.client.confidential().clone() }
    }

    /// Reads up to the first line that has this text, and gives the rest of that line.
    fn read_after(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("{text:?} is not in:\n{}{errors}", self.printed);
            }
            self.printed.push_str(&line);
            if let Some((_, rest)) = line.split_once(text) {
                self.confidential.add(rest.trim_end());
                return rest.trim_end().to_owned();
            }
        }
    }

    /// Types a line. A client that has ended does not read it, and says why in [`Dialogue::end`].
    fn enter(&mut self, code: &str) {
        self.confidential.add(code);
        let _ = writeln!(self.child.stdin.as_mut().unwrap(), "{code}");
    }

    /// Ends the input and gives all that was printed, with errors, if the client ends with that code.
    fn end(mut self, exit_code: i32) -> String {
        drop(self.child.stdin.take());
        self.stdout.read_to_string(&mut self.printed).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut self.printed).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(exit_code), "{}", self.printed);
        self.printed
    }
}

/// A proxy that opens one tunnel, to a TLS server that sends an interim answer and then refuses the request. The proxy
/// and the interim answer have headers of their own.
struct Tunnel {
    child: Child,
    url: String,
    /// Contains `authority.crt`, which vouches for the server.
    folder: TempDir,
}

impl Tunnel {
    fn start() -> Self {
        const CERTIFY: &str = include_str!("certify.sh");
        const SERVE: &str = r#"
import http.client, socket, ssl

def read_request(connection):
    with connection.makefile('rb') as request:
        request.readline()
        request.read(int(http.client.parse_headers(request).get('content-length', 0)))

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.crt', 'server.key')
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
proxy, _ = listener.accept()
read_request(proxy)
proxy.sendall(b'HTTP/1.1 200 Connection established\r\nRetry-After: 99\r\n\r\n')
with context.wrap_socket(proxy, server_side=True) as server:
    read_request(server)
    server.sendall(b'HTTP/1.1 103 Early Hints\r\nRetry-After: 98\r\n\r\n')
    server.sendall(b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nConnection: close\r\n\r\n')
    server.sendall(b'{"type":"/problems/throttled","title":"Too many requests"}')
"#;
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("sh").args(["-c", CERTIFY]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("python3");
        command.args(["-c", SERVE]).current_dir(folder.path()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}", port.trim()), folder }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
