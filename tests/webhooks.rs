//! Webhooks receive the audit trail: signed, in order, at least once, whichever process dies.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use mfa_tests::{Client, Server, ServerOptions, binary};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::receiver::{Received, Receiver, Reply};

use crate::postgres;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";

/// A part of the path that receivers use as a password.
const TOKEN: &str = "T0k3nInThePath";

/// A webhook in a configuration, and the file with its secret.
struct Webhook {
    folder: TempDir,
    setting: String,
}

/// The events before the first one of the tenant: that of the key that signs assertions.
const BEFORE: usize = 1;

impl Webhook {
    fn new(url: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, SECRET).unwrap();
        let base = format!("name = 'siem', url = '{url}', tenants = ['default']");
        let setting = format!("[{{{base}, secret_file = '{}', {more}}}]", file.display());
        Self { folder, setting }
    }

    fn at(receiver: &Receiver, more: &str) -> Self {
        Self::new(&format!("{}/{TOKEN}", receiver.url()), more)
    }

    fn options(&self) -> ServerOptions {
        ServerOptions::new([("MFA_WEBHOOK", self.setting.as_str())])
    }

    fn write_secret(&self, text: &str) {
        fs::write(self.folder.path().join("secret"), text).unwrap();
    }
}

fn server(webhook: &Webhook) -> Server {
    let server = Server::with(binary!(), webhook.options());
    keep_from_the_log(&server.client);
    server
}

/// Registers secrets that the log must not contain when the server ends.
fn keep_from_the_log(client: &Client) {
    for text in [SECRET, NEXT_SECRET, TOKEN] {
        client.confidential().add(text);
        client.confidential().add(text.trim_start_matches("whsec_"));
    }
}

/// All events of the tenant, as the API shows them.
async fn trail(client: &Client) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/v1/events?limit=1000&after={after}")).await.expect(200);
        events.extend(page.json["events"].as_array().unwrap().iter().cloned());
        match page.json["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return events,
        }
    }
}

fn events_of(message: &Received) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    body["data"]["events"].as_array().unwrap().clone()
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// The ids of events whose message was answered with 2xx, in order of arrival.
fn delivered(receiver: &Receiver) -> Vec<String> {
    let taken = receiver.received();
    let taken = taken.iter().filter(|message| (200..300).contains(&message.status));
    taken.flat_map(events_of).map(|event| id(&event)).collect()
}

/// Waits until the last event of the trail is delivered; returns the ids of the whole trail.
async fn caught_up(client: &Client, receiver: &Receiver) -> Vec<String> {
    for _ in 0..120 {
        let there: Vec<_> = trail(client).await.iter().map(id).collect();
        if delivered(receiver).contains(there.last().unwrap()) {
            return there;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the last event did not arrive within a minute; delivered were {:?}", delivered(receiver));
}

/// Verifies messages with the Standard Webhooks library for Python; returns how many are valid.
fn verified(secret: &str, messages: &[Received]) -> usize {
    const PROGRAM: &str = "
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
webhook, right = Webhook(sys.argv[1]), 0
for line in sys.stdin:
    message = json.loads(line)
    try:
        webhook.verify(message['body'], message['headers'])
        right += 1
    except WebhookVerificationError:
        pass
print(right)
";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools/bin/python");
    let mut command = Command::new(python);
    let command = command.args(["-c", PROGRAM, secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{error}: run `cargo xtask tools`"));
    let mut input = child.stdin.take().unwrap();
    for message in messages {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers = names.map(|name| (name.to_owned(), Value::from(message.header(name))));
        let body = String::from_utf8(message.body.clone()).unwrap();
        let line = json!({ "headers": serde_json::Map::from_iter(headers), "body": body });
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_as_the_api_shows_it_and_others_can_verify_it() {
    let receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "");
    let server = server(&webhook);
    for n in 0..4 {
        server.client.enrol(&format!("user-{n}"), ["totp", "hotp"][n % 2]).await;
    }
    caught_up(&server.client, &receiver).await;
    let messages = receiver.received();
    let mut events: Vec<Value> = messages.iter().flat_map(events_of).collect();
    for event in &mut events {
        assert_eq!(event.as_object_mut().unwrap().remove("tenant").unwrap(), "default");
    }
    assert_eq!(events, trail(&server.client).await);
    assert_eq!(verified(SECRET, &messages), messages.len());
    assert_eq!(verified(NEXT_SECRET, &messages), 0);

    // The secret is replaced while the server runs: first both sign, then only the new one.
    for (secrets, old, new) in [(format!("{NEXT_SECRET}\n{SECRET}\n"), 1, 1), (NEXT_SECRET.to_owned(), 0, 1)]
    {
        webhook.write_secret(&secrets);
        server.client.verify("user-0", "000000").await;
        caught_up(&server.client, &receiver).await;
        let last = receiver.received().split_off(receiver.received().len() - 1);
        assert_eq!((verified(SECRET, &last), verified(NEXT_SECRET, &last)), (old, new));
    }
    let metrics = server.client.get("/metrics").await.text;
    let count = format!("mfa_webhook_events_total{{endpoint=\"siem\"}} {}", delivered(&receiver).len());
    assert!(metrics.contains(&count), "{count} in {metrics}");
    assert!(metrics.contains("mfa_webhook_lag_seconds{endpoint=\"siem\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_is_named_and_keeps_no_other_from_anybody() {
    let mut receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "");
    let server = server(&webhook);
    server.client.enrol("alice", "hotp").await;
    server.client.enrol("bob", "hotp").await;
    let there = caught_up(&server.client, &receiver).await;
    receiver.go_down().await;
    server.client.verify("alice", "000000").await;
    server.client.verify("bob", "000000").await;
    // In a database with one tenant, an event's position is its number in the trail after those events.
    let (spoilt, last) = (BEFORE + there.len() + 1, BEFORE + there.len() + 2);
    let database = format!("sqlite:{}", server.data().join("mfa.db").display());
    let mut past = SqliteConnection::connect(&database).await.unwrap();
    past.execute(AssertSqlSafe(format!("UPDATE events SET hash = x'00' WHERE id = {spoilt}"))).await.unwrap();
    past.close().await.unwrap();
    receiver.come_up().await;

    let after = there.last().unwrap();
    let page = server.client.get(&format!("/v1/events?after={after}")).await.expect(200).json;
    let unreadable = &page["unreadable"];
    let left_out = unreadable[0].as_str().unwrap();
    assert_eq!((page["events"].as_array().unwrap().len(), unreadable.as_array().unwrap().len()), (1, 1));
    assert!(left_out.starts_with("evt_") && !there.contains(&left_out.to_owned()), "{left_out}");
    let last_id = id(&page["events"][0]);
    let rest = server.client.get(&format!("/v1/events?after={left_out}")).await.expect(200).json;
    assert_eq!((&rest["events"], &rest["unreadable"]), (&page["events"], &Value::Null));
    let of_alice = server.client.get("/v1/users/alice/events").await.expect(200).json;
    assert_eq!(&of_alice["unreadable"], unreadable);
    let page = server.client.get("/v1/users/bob/events").await.expect(200).json;
    assert_eq!(page["unreadable"], Value::Null);

    let there = caught_up(&server.client, &receiver).await;
    assert_eq!((delivered(&receiver), there.last()), (there.clone(), Some(&last_id)));
    let last = last.to_string();
    let status = loop {
        let status = said(&server.command(["webhook", "status", "--json"]))[0]["delivery"].clone();
        if status["position"] == last.as_str() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(status["unreadable"], 1);
    let metrics = server.client.get("/metrics").await.text;
    assert!(metrics.contains("mfa_webhook_unreadable_total{endpoint=\"siem\"} 1"), "{metrics}");
    assert!(metrics.contains("mfa_unreadable_rows_total{table=\"events\"}"), "{metrics}");
    let log = server.log();
    assert!(log.contains("an event cannot be read and is not delivered"), "{log}");
    assert!(log.contains("user alice of tenant default"), "{log}");
    // The id for the tenant and the position for the operator.
    assert!(log.contains(left_out), "{log}");
    let broken = String::from_utf8(server.command(["audit", "verify"]).stdout).unwrap();
    assert!(
        broken.contains(&format!("it cannot be read; its position in the trail is {spoilt}")),
        "{broken}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_trouble_gets_everything_in_order_once_it_is_well() {
    let mut receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "timeout = '1s'");
    let server = server(&webhook);
    receiver.next([
        Reply::Status(500),
        Reply::With(429, "retry-after", "1".to_owned()),
        Reply::With(301, "location", "http://127.0.0.1:1/".to_owned()),
        Reply::Hang,
        Reply::Close,
    ]);
    server.client.enrol("alice", "hotp").await;
    receiver.arrived(5).await;
    receiver.go_down().await;
    server.client.enrol("bob", "hotp").await;
    receiver.come_up().await;
    let there = caught_up(&server.client, &receiver).await;
    assert_eq!(delivered(&receiver), there);
    let metrics = server.client.get("/metrics").await.text;
    for how in ["status_500", "status_429", "status_301", "timeout", "no_answer"] {
        let count = format!("mfa_webhook_failures_total{{endpoint=\"siem\",how=\"{how}\"}} 1");
        assert!(metrics.contains(&count), "{count} in {metrics}");
    }
}

/// Killed after the receiver has a message and before the server has stored that it was delivered.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_a_post_and_its_answer_no_event_is_left_out() {
    const KILLS: u64 = 6;
    let receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "timeout = '1s'");
    let mut server = server(&webhook);
    let (token, _) = server.client.enrol("alice", "hotp").await;
    caught_up(&server.client, &receiver).await;
    for kill in 0..KILLS {
        let before = receiver.received().len();
        // The receiver gets half of them without answering in time.
        receiver.next([if kill % 2 == 0 { Reply::Hang } else { Reply::Late(Duration::from_millis(900)) }]);
        server.client.verify("alice", &token.hotp(kill + 1)).await.expect(200);
        receiver.arrived(before + 1).await;
        server.kill();
        server.restart();
        server.client.verify("alice", &token.hotp(kill + 1)).await.expect_problem(401, "invalid-code");
        let there = caught_up(&server.client, &receiver).await;
        let seen: BTreeSet<_> = delivered(&receiver).into_iter().collect();
        assert_eq!(seen, there.into_iter().collect(), "events are missing after kill {kill}");
        let messages = receiver.received();
        let (lost, again) = (&messages[before], &messages[before + 1]);
        assert_eq!(lost.header("webhook-id"), again.header("webhook-id"));
        assert_eq!(lost.body, again.body);
    }
    let ids = delivered(&receiver);
    let mut first_seen = Vec::new();
    for id in &ids {
        if !first_seen.contains(id) {
            first_seen.push(id.clone());
        }
    }
    let there: Vec<_> = trail(&server.client).await.iter().map(id).collect();
    assert_eq!(first_seen, there, "events arrived out of order");
    println!("{KILLS} kills, {} events, {} of them twice", first_seen.len(), ids.len() - first_seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_deliver_every_event_and_when_one_dies_the_other_goes_on() {
    let receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "timeout = '1s'");
    let url = postgres::database().await;
    let mut options = webhook.options().patient();
    options.environment.push(("MFA_STORE".to_owned(), url));
    let mut one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    keep_from_the_log(&one.client);
    keep_from_the_log(&other.client);
    let load = (0..8).map(|n| {
        let client = if n % 2 == 0 { one.client.clone() } else { other.client.clone() };
        async move {
            let user = format!("user-{n}");
            let (token, _) = client.enrol(&user, "hotp").await;
            for counter in 1..=30 {
                client.verify(&user, &token.hotp(counter)).await.expect(200);
            }
        }
    });
    join_all(load).await;
    let there = caught_up(&other.client, &receiver).await;
    let ids = delivered(&receiver);
    let seen: BTreeSet<_> = ids.iter().collect();
    assert_eq!(seen, there.iter().collect(), "events are missing");
    let twice = ids.len() - seen.len();
    assert!(twice * 10 <= seen.len(), "{twice} of {} events arrived twice", seen.len());
    println!("{} events in {} messages, {twice} twice", seen.len(), receiver.received().len());

    // Whichever server has the message: after the claim of a dead one expires, the other sends it again.
    receiver.next([Reply::Hang, Reply::Hang]);
    let before = receiver.received().len();
    other.client.verify("user-0", "000000").await;
    receiver.arrived(before + 1).await;
    one.kill();
    other.client.verify("user-1", "000000").await;
    let there = caught_up(&other.client, &receiver).await;
    assert_eq!(delivered(&receiver).into_iter().collect::<BTreeSet<_>>(), there.into_iter().collect());
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_test_rewind_and_resume_a_webhook() {
    let receiver = Receiver::start().await;
    let webhook = Webhook::at(&receiver, "");
    let server = server(&webhook);
    server.client.enrol("alice", "hotp").await;
    let there = caught_up(&server.client, &receiver).await;

    let test = said(&server.command(["webhook", "test", "siem", "--json"]));
    assert_eq!(test, json!({ "name": "siem", "taken": true, "answer": "taken", "why": null }));
    let message = receiver.received().pop().unwrap();
    assert_eq!((verified(SECRET, std::slice::from_ref(&message)), events_of(&message).len()), (1, 0));

    receiver.next([Reply::Status(410)]);
    server.client.verify("alice", "000000").await;
    let stopped = loop {
        let status = said(&server.command(["webhook", "status", "--json"]));
        if status[0]["delivery"]["stopped"] == true {
            break status[0].clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let last = (BEFORE + there.len() + 1).to_string();
    assert_eq!((&stopped["name"], &stopped["last_position"]), (&json!("siem"), &json!(last)));
    assert_eq!(stopped["delivery"]["position"], (BEFORE + there.len()).to_string());
    assert_eq!(stopped["delivery"]["last_failure"], "gone");
    let table = String::from_utf8(server.command(["webhook", "status"]).stdout).unwrap();
    assert!(table.contains("stopped") && table.contains("gone") && !table.contains(TOKEN), "{table}");

    let resumed = said(&server.command(["webhook", "resume", "siem", "--json"]));
    assert_eq!((&resumed["stopped"], &resumed["last_failure"]), (&json!(false), &Value::Null));
    let there = caught_up(&server.client, &receiver).await;
    assert_eq!(delivered(&receiver), there);

    // A receiver knows an event by its id, an operator by its position.
    let events = said(&server.command(["user", "events", "alice", "--json"]));
    let second = (BEFORE + 2).to_string();
    assert_eq!((&events[1]["id"], &events[1]["position"]), (&json!(there[1]), &json!(second)));
    let rewound = said(&server.command(["webhook", "rewind", "siem", "--after", &second, "--json"]));
    assert_eq!(rewound["position"], second);
    let again = [&there[..], &there[2..]].concat();
    for _ in 0..120 {
        if delivered(&receiver).len() >= again.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(delivered(&receiver), again);

    for (arguments, text) in [
        (["webhook", "rewind", "siem", "--after", "999999"], "there is no event at position 999999"),
        (["webhook", "rewind", "soc", "--after", "1"], "the configuration has no webhook named soc"),
    ] {
        let output = server.command(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_server_without_the_secret_of_a_webhook_does_not_start() {
    let webhook = Webhook::new(&format!("http://127.0.0.1:1/{TOKEN}"), "");
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let mut command = mfa_tests::program(binary!());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        command.env("MFA_WEBHOOK", &webhook.setting).output().unwrap()
    };
    webhook.write_secret("hunter2");
    let wrong = run();
    fs::remove_file(webhook.folder.path().join("secret")).unwrap();
    for (output, text) in [(wrong, "a secret must be whsec_"), (run(), "No such file")] {
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("the secret of the webhook siem cannot be read from") && error.contains(text),
            "{error}"
        );
        assert!(!error.contains("hunter2") && !error.contains(TOKEN), "{error}");
    }
}

/// A TLS receiver with a certificate from the test's own authority.
struct TlsReceiver {
    child: std::process::Child,
    port: u16,
    authority: PathBuf,
    _folder: TempDir,
}

impl TlsReceiver {
    fn start() -> Self {
        const CERTIFY: &str = include_str!("certify.sh");
        const SERVE: &str = "
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.crt', 'server.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("sh").args(["-c", CERTIFY]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("python3");
        command.args(["-c", SERVE]).current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, authority) = (line.trim().parse().unwrap(), folder.path().join("authority.crt"));
        Self { child, port, authority, _folder: folder }
    }
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificates_are_checked_by_who_is_trusted_and_for_the_right_name() {
    let receiver = TlsReceiver::start();
    let other = TlsReceiver::start();
    let test = |host: &str, authority: &Path| {
        let webhook = Webhook::new(&format!("https://{host}:{}/", receiver.port), "");
        let mut command = mfa_tests::program(binary!());
        command.args(["webhook", "test", "siem", "--json"]);
        command.env("MFA_WEBHOOK", &webhook.setting).env("SSL_CERT_FILE", authority);
        let output = command.output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), answer["answer"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(test("localhost", &receiver.authority), (Some(0), "taken".to_owned()));
    // An untrusted authority, and then a wrong host name.
    assert_eq!(test("localhost", &other.authority), (Some(1), "tls".to_owned()));
    assert_eq!(test("127.0.0.1", &receiver.authority), (Some(1), "tls".to_owned()));
}
