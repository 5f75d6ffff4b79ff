//! `serve`, `healthcheck`, and what is on the disk afterwards.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{Program, oathtool};
use serde_json::Value;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The API key that a first start printed.
fn printed_key(rest: &str) -> &str {
    rest.lines().map(str::trim).find(|line| line.starts_with("mfa_")).unwrap()
}

#[test]
fn the_first_start_shows_a_key_and_a_curl_line_that_works_and_no_other_start_does() {
    let program = Program::new();
    // The line is tried while the server runs, so what it printed is read first.
    let server = program.serve("");
    assert!(server.address.starts_with("127.0.0.1:") && !server.address.ends_with(":0"));
    let log = server.log();
    let (status, rest) = server.stop("-TERM");
    assert!(status.success(), "{status}");
    assert!(rest.contains("kept in mfa-data"), "{rest}");
    let key = printed_key(&rest);
    assert!(!log.contains(key));

    let server = program.serve("");
    let old = rest.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let curl = rest.lines().map(str::trim).find(|line| line.starts_with("curl")).unwrap();
    let answer = Command::new("sh").args(["-c", &curl.replace(old, &server.address)]).output().unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["factor"]["state"], "pending", "{answer}");
    let (status, rest) = server.stop("-INT");
    assert!(status.success());
    assert_eq!(rest, "");
}

#[test]
fn who_makes_a_key_first_gets_no_other() {
    let program = Program::new();
    let key = program.json("api-key create --init --tenant acme --scope verify enrol");
    let server = program.serve("");
    let secret = server.enrol(key["key"].as_str().unwrap(), "alice");
    assert_eq!(
        server.verify(key["key"].as_str().unwrap(), "alice", &oathtool(&secret, "now + 30 seconds")),
        200
    );
    assert_eq!(server.stop("-TERM").1, "");
    assert_eq!(program.json("api-key list").as_array().unwrap().len(), 1);
}

#[test]
fn nobody_but_the_owner_can_read_what_is_kept() {
    let program = Program::new();
    let server = program.serve("");
    assert_eq!(mode(&program.data("")), 0o700);
    let names: Vec<_> = std::fs::read_dir(program.data("")).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(names.len() >= 4, "{names:?}");
    for entry in names {
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
    }
    drop(server);
}

#[test]
fn a_server_in_memory_touches_no_disk() {
    let program = Program::new();
    let server = program.serve("--store memory:");
    let (status, rest) = server.stop("-TERM");
    assert!(status.success());
    assert!(rest.contains("kept in memory") && printed_key(&rest).len() > 40);
    assert!(!program.data("").exists());
}

#[test]
fn a_port_that_is_taken_costs_no_key() {
    let program = Program::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = program.run(&format!("serve --listen {address}"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains(&format!("mfa-server: cannot listen on {address}: ")), "{}", said.err);
    let said = program.run("api-key list");
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no installation"), "{}", said.err);
}

#[test]
fn healthcheck_asks_where_the_server_listens() {
    let program = Program::new();
    let server = program.serve("");
    let said = program.run(&format!("healthcheck --url http://{}/", server.address));
    assert_eq!((said.code, said.out.as_str()), (0, "ready\n"), "{}", said.err);
    assert_eq!(program.run(&format!("healthcheck --listen {}", server.address)).code, 0);
    let address = server.address.clone();
    drop(server);
    let said = program.run(&format!("healthcheck --listen {address}"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("does not answer"), "{}", said.err);
}

#[test]
fn metrics_are_there() {
    let program = Program::new();
    let key = program.json("api-key create --init --scope verify");
    let server = program.serve("");
    server.verify(key["key"].as_str().unwrap(), "alice", "123456");
    let (status, page) = server.call("", "GET", "/metrics", &Value::Null);
    assert_eq!(status, 200);
    assert!(page.as_str().unwrap().contains("mfa_http_request_seconds_bucket"), "{page}");
}

#[test]
fn logs_are_json_if_asked_and_have_no_colours_in_a_file() {
    let program = Program::new();
    let server = program.serve("--log-format json");
    std::thread::sleep(Duration::from_millis(100));
    let log = server.log();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "INFO");
    drop(server);
    let server = program.serve("");
    std::thread::sleep(Duration::from_millis(100));
    assert!(server.log().contains("ready") && !server.log().contains('\u{1b}'));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures the program")]
fn two_thousand_connections_that_say_nothing_stop_nobody() {
    let program = Program::new();
    let key = program.json("api-key create --init --scope verify");
    let server = program.serve("");
    let idle: Vec<_> = (0..2000)
        .map_while(|_| TcpStream::connect(&server.address).ok())
        .filter_map(|mut stream| stream.write_all(b"GET / HT").ok().map(|()| stream))
        .collect();
    assert!(idle.len() > 500, "{}", idle.len());
    let started = Instant::now();
    assert_eq!(server.verify(key["key"].as_str().unwrap(), "alice", "123456"), 409);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?} with {} idle", started.elapsed(), idle.len());
    let started = Instant::now();
    assert!(server.stop("-TERM").0.success());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
