//! The museum: published weaknesses of other products, each tried on this server from outside. A test is
//! named after the advisory, or after the class of mistake.
//!
//! These have no counterpart in this version, so they are not covered:
//!
//! | not here yet | reason |
//! |---|---|
//! | CVE-2026-3590 | there are no links; parallel uses of a backup code stand in for it |
//! | CVE-2024-28197 | there are no sessions and no tokens of a flow |
//! | CVE-2025-3910 | there is no forced enrolment |
//! | CVE-2018-20231, CVE-2022-31886 | there are no cookies and no forms |
//! | CVE-2026-5175 | no policy makes a factor obligatory |
//! | scheb 143, authy-devise 58, vaultwarden 7682 | there are no trusted devices |
//! | CVE-2026-15206 | there are no telephone numbers |
//! | CVE-2021-22057, Uber 2022 | there is no push |
//! | CVE-2023-42820, CVE-2025-5305 | not observable from outside; lints ban every other generator |
//!
//! Some entries are covered in part or elsewhere. `tests/replicas.rs` and `tests/faults/races.rs` test two
//! replicas (CVE-2020-25827, parallel replay). Notification of the owner (`AuthQuake`) ends at an event. New
//! backup codes replace resending a message (NIST 800-63B-4). Limits by number, prefix and country
//! (CVE-2024-51557) need telephone numbers. `mfa_testkit::sent_codes` tests sent codes on every store for
//! replay (`a_code_is_accepted_once`), guessing (`five_guesses_end_a_challenge`,
//! `another_challenge_gives_no_attempt_back`) and enrolment
//! (`an_address_protects_nothing_before_its_first_code`).

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use mfa_tests::{Answer, Authenticator, Client, Clock, Server, ServerOptions, altered, binary, rounds};
use serde_json::{Value, json};

use crate::{postgres, redis};

mod administration;
mod backup_codes;
mod beyond;
mod enrolment;
mod findings;
mod flow;
mod guessing;
mod mail;
mod parsing;
mod passkeys;
mod replay;
mod time;

/// A long timeout, so that races are between requests and not with a busy machine. Limits are the defaults,
/// except for backup codes: a race uses more than a user may try in an hour.
const SWIFT: [(&str, &str); 1] = [("MFA_THROTTLE_BACKUP_CODE", "1000/1h")];

/// Runs a case on a new server for each store.
async fn on_every_store(case: impl AsyncFn(&Server)) {
    for store in stores().await {
        case(&Server::with(binary!(), swift([("MFA_STORE", &store)]))).await;
    }
}

/// Runs a case that does not depend on the store.
async fn on_one_store(case: impl AsyncFn(&Server)) {
    case(&Server::with(binary!(), swift([("MFA_STORE", "memory:")]))).await;
}

/// Runs a case on a new server for each store, with a clock that the case moves.
async fn at_any_time(case: impl AsyncFn(&Server, &Clock)) {
    for store in stores().await {
        let clock = Clock::new();
        case(&Server::with(binary!(), clock.of(swift([("MFA_STORE", &store)]))), &clock).await;
    }
}

/// One empty store of each kind.
pub(crate) async fn stores() -> [String; 4] {
    ["sqlite:mfa.db".to_owned(), "memory:".to_owned(), postgres::database().await, redis::url()]
}

pub(crate) fn swift<const N: usize>(more: [(&str, &str); N]) -> ServerOptions {
    ServerOptions::new(SWIFT).patient().and(more)
}

/// The session of the host in which users log in, for assertions.
const SESSION: &str = "session-of-alice-41c7";

/// Verifies a user in [`SESSION`]; returns the assertion.
async fn asserted(client: &Client, user: &str, code: &str) -> String {
    client.verify_in(user, code, SESSION).await.expect(200).assertion().to_owned()
}

/// What each change is to refuse from somebody with the password of Alice: no proof, an assertion that is bound to
/// another session, one about another user, and one that is changed.
fn wrong_proofs(alices: &str, bobs: &str) -> [Value; 4] {
    [
        json!({}),
        json!({ "proof": alices, "nonce": "session-of-eve-93b2" }),
        json!({ "proof": bobs, "nonce": SESSION }),
        json!({ "proof": altered(alices), "nonce": SESSION }),
    ]
}

/// Offers a factor; returns the answer and the authenticator that scanned it.
async fn offer(client: &Client, user: &str, more: Value) -> (Value, Authenticator) {
    let enrolment = try_to_offer(client, user, &more).await.expect(201).json;
    let device = Authenticator::scan(&enrolment);
    (enrolment, device)
}

async fn try_to_offer(client: &Client, user: &str, more: &Value) -> Answer {
    // Drawing QR codes takes a third of the server's time for an enrolment.
    let mut body = json!({ "kind": "totp", "label": "Phone", "qr": "none" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post(&format!("/v1/users/{user}/factors"), body).await
}

async fn confirm(client: &Client, user: &str, factor: &str, code: &str) -> Answer {
    client.post(&format!("/v1/users/{user}/factors/{factor}/confirm"), json!({ "code": code })).await
}

async fn resynchronise(client: &Client, user: &str, factor: &str, codes: [String; 2]) -> Answer {
    client.post(&format!("/v1/users/{user}/factors/{factor}/resynchronise"), json!({ "codes": codes })).await
}

async fn reissue(client: &Client, user: &str) -> Answer {
    client.send("POST", &format!("/v1/users/{user}/backup-codes"), None).await
}

async fn unlock(client: &Client, user: &str) {
    client.post(&format!("/v1/users/{user}/unlock"), json!({ "reason": "test" })).await.expect(204);
}

/// Enrols a user with a TOTP factor at a server whose clock is `ahead` seconds ahead. The current code stays
/// valid.
async fn enrol_ahead(client: &Client, user: &str, ahead: i64) -> (Authenticator, Vec<String>) {
    let (_, phone) = offer(client, user, json!({})).await;
    let confirmed = confirm(client, user, &phone.factor, &phone.totp(ahead - 30)).await.expect(200);
    (phone, texts(&confirmed.json["backup_codes"]))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The number of codes that were evaluated and rejected, from the audit trail.
async fn evaluated(client: &Client, user: &str) -> usize {
    client.count_events(user, "verification_failed").await
}

fn count(answers: &[Answer], problem: &str) -> usize {
    answers.iter().filter(|answer| answer.problem() == problem).count()
}

fn verified(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

/// A well-formed backup code that belongs to nobody.
fn nobodys_backup_code(number: usize) -> String {
    format!("zzzz-zzzz-zzzz-{number:04}")
}

/// Creates a key on the command line while the server runs.
fn create_key(server: &Server, tenant: &str, scope: &str) -> String {
    let output = server.command(["api-key", "create", "--tenant", tenant, "--scope", scope, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// Sends raw bytes; returns everything received until the server closes the connection.
pub(crate) fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A server that rejects early may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The head of a request with the server's own key, after which the server closes.
pub(crate) fn head(server: &Server, method: &str, path: &str) -> String {
    let key = server.client.key();
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n")
}

/// Converts "CVE-2024-4629" to `cve_2024_4629`.
fn snake(id: &str) -> String {
    let words = id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

/// The ids in the first column of the tables in a text whose lines begin with `margin`.
fn ids(text: &str, margin: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix(margin)?.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let headings = ["id", "not here yet"];
    cells.flat_map(|cell| cell.split(", ")).filter(|id| !headings.contains(id)).map(snake).collect()
}

#[test]
fn every_piece_is_a_test_or_said_to_be_missing() {
    let sources = [
        include_str!("constant_time.rs"),
        include_str!("museum/administration.rs"),
        include_str!("museum/backup_codes.rs"),
        include_str!("museum/enrolment.rs"),
        include_str!("museum/flow.rs"),
        include_str!("museum/guessing.rs"),
        include_str!("museum/mail.rs"),
        include_str!("museum/parsing.rs"),
        include_str!("museum/passkeys.rs"),
        include_str!("museum/replay.rs"),
        include_str!("museum/time.rs"),
    ];
    let lines = sources.iter().flat_map(|source| source.lines());
    let tests: Vec<_> =
        lines.filter_map(|line| line.strip_prefix("async fn ").or(line.strip_prefix("fn "))).collect();
    let is_test = |id: &String| {
        let id = format!("_{id}_");
        tests.iter().any(|name| format!("_{name}").replace('(', "_").contains(&id))
    };
    let missing = ids(include_str!("museum.rs"), "//! ");
    assert!(missing.len() > 10, "the list at the top was not read: {missing:?}");
    for id in &missing {
        assert!(!is_test(id), "{id} has a test, but is listed as missing");
    }
    let all: Vec<_> =
        include_str!("museum/catalogue.txt").lines().flat_map(|line| line.split(", ")).map(snake).collect();
    assert!(all.len() > 80, "the catalogue was not read: {all:?}");
    for id in &all {
        assert!(is_test(id) || missing.contains(id), "{id} has no test and is not listed as missing");
    }
    for id in &missing {
        assert!(all.contains(id), "{id} is listed as missing, but is not in the catalogue");
    }
}
