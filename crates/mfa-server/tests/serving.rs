//! `serve`, `healthcheck`, and what is on the disk afterwards.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{Program, oathtool};
use serde_json::{Value, json};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The first line of what a server printed that begins so.
fn printed<'a>(rest: &'a str, beginning: &str) -> &'a str {
    let line = rest.lines().map(str::trim).find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("no {beginning} in {rest}"))
}

/// The API key that a first start printed.
fn printed_key(rest: &str) -> &str {
    printed(rest, "mfa_")
}

/// The printed command line with these words.
fn printed_command<'a>(rest: &'a str, words: &str) -> &'a str {
    let mut lines = rest.lines().map(str::trim);
    lines.find(|line| line.starts_with("mfa-server ") && line.contains(words)).unwrap()
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
    assert!(rest.contains("All data is in mfa-data"), "{rest}");
    let key = printed_key(&rest);
    assert!(!log.contains(key));

    let server = program.serve("");
    let old = rest.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let curl = |line: &str| -> Value {
        let answer = Command::new("sh").args(["-c", &line.replace(old, &server.address)]).output().unwrap();
        serde_json::from_slice(&answer.stdout).unwrap()
    };
    let answer = curl(printed(&rest, "curl"));
    assert_eq!(answer["factor"]["state"], "pending", "{answer}");
    assert!(answer.to_string().len() < 1000, "{answer}");
    // `jq` is not everywhere.
    let (with_picture, _) = rest.split_once(" | jq -r '.totp.qr_text, .factor.id'").unwrap();
    let answer = curl(with_picture.lines().last().unwrap());
    assert!(answer["totp"]["qr_text"].as_str().unwrap().contains('█'), "{answer}");
    let (status, rest) = server.stop("-INT");
    assert!(status.success());
    assert_eq!(rest, "");
}

#[test]
fn the_key_of_the_first_start_has_a_name_a_warning_and_the_commands_to_replace_it() {
    let program = Program::new();
    let (_, rest) = program.serve("--data-dir it's").stop("-TERM");
    let listed = program.json("api-key list --data-dir it's");
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed[0]["name"], "first-start");
    assert!(rest.contains(&format!("API key {id} (first-start) of tenant default")), "{rest}");
    assert_eq!(rest.matches("admin unlocks, resets and erases users").count(), 1, "{rest}");
    assert!(rest.contains("Use it only to try things out."), "{rest}");
    for command in ["api-key create --tenant", &format!("api-key revoke {id}")] {
        let line = printed_command(&rest, command);
        assert!(line.contains(r"/it'\''s' "), "{line}");
        assert!(program.shell(line).success(), "{line}");
    }
    let listed = program.json("api-key list --data-dir it's");
    assert!(listed[0]["revoked_at"].is_string(), "{listed}");
    assert_eq!(listed[1]["scopes"], json!(["verify", "enrol"]));
}

#[test]
fn a_first_start_that_makes_no_key_says_how_to_make_one() {
    let program = Program::new();
    let mut printed_last = String::new();
    for _ in 0..2 {
        let (status, rest) = program.serve("--no-key").stop("-TERM");
        assert!(status.success() && !rest.contains("mfa_"), "{rest}");
        assert!(
            rest.contains("All data is in mfa-data") && rest.contains("There is no API key yet."),
            "{rest}"
        );
        printed_last = rest;
    }
    assert!(program.data("mfa.db").exists() && program.data("keyring.toml").exists());
    assert_eq!(program.json("api-key list"), json!([]), "there is a key");
    let line = printed_command(&printed_last, "api-key create --init");
    assert!(program.shell(line).success(), "{line}");
    assert_eq!(program.json("api-key list").as_array().unwrap().len(), 1);
    assert_eq!(program.serve("--no-key").stop("-TERM").1, "");
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
    assert!(rest.contains("All data is in memory") && printed_key(&rest).len() > 40);
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
