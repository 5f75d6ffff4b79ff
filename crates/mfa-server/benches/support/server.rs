//! The server under load, and a client that costs little.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// From the start of the process to the line that says that it is ready.
    pub start_to_ready: Duration,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mfa-server"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("MFA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        for line in lines {
            if let Some(address) = line.expect("text").strip_prefix("listening on http://") {
                let address = address.to_owned();
                return Self { child, address, start_to_ready: started.elapsed() };
            }
        }
        panic!("the server did not start: {:?}", child.wait());
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection that is kept.
pub struct Connection {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str, api_key: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let head = format!(
            "HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {api_key}\r\nContent-Type: application/json\r\n"
        );
        Self { stream, head, buffer: Vec::with_capacity(4096) }
    }

    /// Posts a code. Gives the status.
    pub async fn verify(&mut self, user: &str, code: &str) -> u16 {
        let body = format!("{{\"code\":\"{code}\"}}");
        let request =
            format!("POST /v1/users/{user}/verify {}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(request.as_bytes()).await.expect("a request");
        self.buffer.clear();
        loop {
            let mut chunk = [0; 2048];
            let read = self.stream.read(&mut chunk).await.expect("an answer");
            assert!(read > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some(status) = complete(&self.buffer) {
                return status;
            }
        }
    }
}

/// The status, once the whole answer is there.
fn complete(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).expect("text").to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.trim().parse::<usize>().expect("a number"));
    (answer.len() >= end + length).then(|| head[9..12].parse().expect("a status"))
}
