//! What the server does on a connection: requests that it cannot read, order, limits and ends.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Program, Server};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection that has sent `bytes`.
fn sent(server: &Server, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    // The server closes earlier; a test fails instead of waiting without end.
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// All that arrives until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// One answer with a body of a known length, and the connection stays open.
fn one(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let length = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
        if answer.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer).to_lowercase();
            let length =
                head.split("content-length: ").nth(1).map_or("0", |rest| rest.lines().next().unwrap());
            break length.parse().unwrap();
        }
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    answer.extend(body);
    String::from_utf8(answer).unwrap()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[test]
fn a_request_that_cannot_be_read_is_answered_with_a_problem_and_the_connection_closed() {
    let program = Program::new();
    let server = program.serve("");
    let post = "POST /v1/users/alice/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let many = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    let cases = [
        ("NONSENSE\r\n\r\n".to_owned(), 400, "malformed-request"),
        ("GET /healthz HTTP/9.9\r\n\r\n".to_owned(), 400, "malformed-request"),
        (format!("{post}Content-Length: five\r\n\r\n"), 400, "malformed-request"),
        (format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400, "malformed-request"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400, "malformed-request"),
        (format!("{post}X-Long: {}\r\n\r\n", "a".repeat(9_000)), 431, "head-too-large"),
        (format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), 431, "head-too-large"),
        // Before its body is read.
        (format!("{post}Content-Length: 16385\r\n\r\n"), 413, "payload-too-large"),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n4001\r\n{}", " ".repeat(16_385)),
            413,
            "payload-too-large",
        ),
        // So many of them cost more than they carry.
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{}", "1\r\n \r\n".repeat(10_000)),
            413,
            "payload-too-large",
        ),
        // After five seconds.
        (post.to_owned(), 408, "request-timeout"),
        (format!("{post}Content-Length: 9\r\n\r\n{{\"code\":"), 408, "request-timeout"),
    ];
    let connections: Vec<_> = cases.iter().map(|(bytes, ..)| sent(&server, bytes)).collect();
    for ((bytes, status, code), connection) in cases.iter().zip(connections) {
        let answer = rest(connection);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{bytes}: {answer}"));
        let head = head.to_lowercase();
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{bytes}: {answer}");
        assert!(head.contains("\r\nconnection: close"), "{answer}");
        assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
        assert!(body["type"].as_str().unwrap().ends_with(&format!("/{code}")), "{bytes}: {answer}");
        assert_eq!(body["status"], *status);
        let id = body["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("\r\nx-request-id: {id}")), "{answer}");
        assert!(server.log().contains(id), "{answer}");
    }
    let (_, metrics) = server.call("", "GET", "/metrics", &Value::Null);
    let line = r#"mfa_http_requests_total{method="other",route="unreadable",status="408"} 2"#;
    assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
}

#[test]
fn what_rfc_9112_allows_is_served() {
    let program = Program::new();
    let key = program.json("api-key create --init --scope verify");
    let key = key["key"].as_str().unwrap();
    let server = program.serve("");

    // One connection for several requests, with blank lines between them, of different forms.
    let mut kept = sent(&server, HEALTH);
    assert!(one(&mut kept).ends_with("\r\n\r\nok\n"));
    kept.write_all(b"\r\nHEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let answer = rest(kept);
    assert_eq!(statuses(&answer), ["200"]);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");

    // All that was sent ahead, in order.
    let ahead = format!(
        "{HEALTH}GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n{}",
        HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    );
    assert_eq!(statuses(&rest(sent(&server, &ahead))), ["200", "404", "200"]);

    // The older version closes unless it asks for more.
    let old = rest(sent(&server, "GET /healthz HTTP/1.0\r\n\r\n"));
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");

    // A client that waits for leave to send its body.
    let body = r#"{"code":"123456"}"#;
    let mut careful = sent(
        &server,
        &format!(
            "POST /v1/users/alice/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
             Connection: close\r\n\r\n",
            body.len()
        ),
    );
    assert_eq!(one(&mut careful), "HTTP/1.1 100 Continue\r\n\r\n");
    careful.write_all(body.as_bytes()).unwrap();
    assert_eq!(statuses(&rest(careful)), ["409"]);

    // A head of nearly 8 KiB.
    let long = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        "a".repeat(8_000)
    );
    assert_eq!(statuses(&rest(sent(&server, &long))), ["200"]);
}

#[test]
fn a_refusal_that_was_held_back_ends_the_connection() {
    let program = Program::new();
    std::fs::write(
        program.folder.path().join("mfa.toml"),
        "throttle.address = \"2/1h\"\nthrottle.refusal_delay = \"10ms\"\n",
    )
    .unwrap();
    let server = program.serve("--config mfa.toml");
    let stranger = "GET /v1/users/alice HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(statuses(&rest(sent(&server, &stranger.repeat(10)))), ["401", "401", "429"]);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let program = Program::new();
    let server = program.serve("");
    let (silent, mut idle) = (sent(&server, ""), sent(&server, HEALTH));
    one(&mut idle);
    assert_eq!((rest(silent), rest(idle)), (String::new(), String::new()));
}

#[test]
fn a_server_that_stops_closes_idle_connections_and_answers_open_requests() {
    let program = Program::new();
    std::fs::write(
        program.folder.path().join("mfa.toml"),
        "throttle.address = \"1/1h\"\nthrottle.refusal_delay = \"2s\"\n",
    )
    .unwrap();
    let server = program.serve("--config mfa.toml");
    let stranger = "GET /v1/users/alice HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut idle = sent(&server, HEALTH);
    one(&mut idle);
    one(&mut sent(&server, stranger));
    // Held back for a second at least.
    let held = sent(&server, stranger);
    std::thread::sleep(Duration::from_millis(200));
    let (status, _) = server.stop("-TERM");
    assert!(status.success());
    assert_eq!(statuses(&rest(held)), ["429"]);
    assert_eq!(rest(idle), "");
}

/// A server of one thread, and a request to it that waits for 20 seconds.
fn waiting(program: &Program) -> (Server, String) {
    let key = program.json("api-key create --init --scope verify enrol");
    let key = key["key"].as_str().unwrap();
    std::fs::write(program.folder.path().join("mfa.toml"), "workers = 1\n").unwrap();
    let server = program.serve("--config mfa.toml");
    let address = json!({ "kind": "email", "label": "Mail", "address": "alice@example.com" });
    let (status, offered) = server.call(key, "POST", "/v1/users/alice/factors", &address);
    assert_eq!(status, 201, "{offered}");
    let path = format!("/v1/challenges/{}", offered["challenge"]["id"].as_str().unwrap());
    // Without a mail server the message fails, and nothing changes from then on.
    let delivery = || server.call(key, "GET", &path, &Value::Null).1["challenge"]["delivery"].clone();
    for _ in 0..600 {
        if delivery() == "failed" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(delivery(), "failed");
    let request = format!("GET {path}?wait=20 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
    (server, request)
}

/// A request that was sent ahead has the only place for such requests, and gives it back while it waits.
#[test]
fn a_call_that_waits_keeps_no_other_waiting() {
    let program = Program::new();
    let (server, request) = waiting(&program);
    let mut waits = sent(&server, &format!("{HEALTH}{request}"));
    assert_eq!(statuses(&one(&mut waits)), ["200"]);
    std::thread::sleep(Duration::from_millis(500));
    let ahead = format!("{HEALTH}{}", HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    // Who gets no place within five seconds is cut off.
    assert_eq!(statuses(&rest(sent(&server, &ahead))), ["200", "200"]);
    waits.set_nonblocking(true).unwrap();
    assert!(waits.peek(&mut [0]).is_err(), "it has not waited");
}

/// Open requests have eight seconds, and this one would take longer.
#[test]
fn a_server_that_stops_answers_calls_that_wait() {
    let program = Program::new();
    let (server, request) = waiting(&program);
    let waits = sent(&server, &request);
    std::thread::sleep(Duration::from_millis(500));
    let (status, _) = server.stop("-TERM");
    assert!(status.success());
    let answer = rest(waits);
    assert_eq!(statuses(&answer), ["200"]);
    assert!(answer.contains("\"delivery\":\"failed\""), "{answer}");
}
