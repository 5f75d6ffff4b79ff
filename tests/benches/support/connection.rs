//! A client that costs little beside what it measures.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection that is kept.
pub struct Connection {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(url: &str, api_key: &str) -> Self {
        let address = url.strip_prefix("http://").expect("a URL");
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let head = format!(
            "HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {api_key}\r\nContent-Type: application/json\r\n"
        );
        Self { stream, head, buffer: Vec::with_capacity(4096) }
    }

    /// Posts a code. Gives the status.
    pub async fn verify(&mut self, user: &str, code: &str) -> u16 {
        self.post(&format!("/v1/users/{user}/verify"), &format!("{{\"code\":\"{code}\"}}")).await
    }

    /// Has a code sent to a user. Gives the id of the challenge.
    pub async fn begin_challenge(&mut self, user: &str) -> String {
        let status = self.post(&format!("/v1/users/{user}/challenges"), "{\"kind\":\"email\"}").await;
        let answer = String::from_utf8_lossy(&self.buffer);
        assert_eq!(status, 201, "{answer}");
        let id = answer.split_once("\"id\":\"").and_then(|(_, rest)| rest.split_once('"'));
        id.expect("an id").0.to_owned()
    }

    /// Posts the code that was sent for a challenge. Gives the status.
    pub async fn answer_challenge(&mut self, challenge: &str, code: &str) -> u16 {
        self.post(&format!("/v1/challenges/{challenge}/verify"), &format!("{{\"code\":\"{code}\"}}")).await
    }

    /// Posts JSON. Gives the answer, which must have this status.
    pub async fn call(&mut self, path: &str, body: &Value, expected: u16) -> Value {
        let status = self.post(path, &body.to_string()).await;
        let answer = String::from_utf8_lossy(&self.buffer);
        assert_eq!(status, expected, "{answer}");
        let (_, json) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(json).expect("JSON")
    }

    async fn post(&mut self, path: &str, body: &str) -> u16 {
        let request = format!("POST {path} {}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
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
