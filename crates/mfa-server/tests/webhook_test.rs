//! `webhook test`, and webhooks whose row cannot be read

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::program::Program;
use serde_json::Value;

/// Answers each request with the status that its path names; nothing on `/silence`, and closes on `/close`.
fn receiver() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 64];
            let read = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            match head.split('/').nth(1).and_then(|path| path.split(' ').next()) {
                Some("silence") => silent.push(stream),
                Some("close") | None => {}
                Some(status) => write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").unwrap(),
            }
        }
    });
    port
}

#[test]
fn a_message_that_is_not_taken_is_told_with_its_reason() {
    let program = Program::new();
    std::fs::create_dir(program.data("")).unwrap();
    std::fs::write(program.data("secret"), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let port = receiver();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let test = |url: String| {
        let webhook =
            format!("[[webhook]]\nname = 'siem'\nsecret_file = 'secret'\ntimeout = '1s'\nurl = '{url}'");
        std::fs::write(program.folder.path().join("mfa.toml"), webhook).unwrap();
        let said = program.run("webhook test siem --config mfa.toml");
        let json = program.run("webhook test siem --config mfa.toml --json");
        assert_eq!((said.code, json.code), (json.code, said.code));
        assert!(!format!("{said:?}{json:?}").contains("hunter2"), "{said:?}");
        (said, serde_json::from_str::<Value>(&json.out).expect(&json.err))
    };
    for (url, answer, why) in [
        (format!("http://127.0.0.1:{port}/204"), "taken", None),
        (format!("http://127.0.0.1:{port}/503"), "status_503", Some("it answered 503 Service Unavailable")),
        (
            format!("http://127.0.0.1:{port}/302"),
            "status_302",
            Some("it answered 302 Found; redirects are not followed"),
        ),
        (
            format!("http://127.0.0.1:{port}/410"),
            "gone",
            Some("it answered 410 Gone: it accepts no more messages"),
        ),
        (format!("http://127.0.0.1:{port}/silence"), "timeout", Some("no answer within 1s")),
        (
            format!("http://127.0.0.1:{port}/close"),
            "no_answer",
            Some("the connection ended without an answer: "),
        ),
        (format!("http://127.0.0.1:{nobody}/hunter2"), "connect", Some("no connection: ")),
    ] {
        let (said, json) = test(url);
        assert_eq!((json["answer"].as_str(), json["taken"].as_bool()), (Some(answer), Some(why.is_none())));
        match why {
            None => assert_eq!((said.code, said.out.as_str()), (0, "siem accepted the message\n")),
            Some(why) => {
                let told = format!("siem did not accept the message: {why}");
                assert!(said.code == 1 && said.out.starts_with(&told), "{told} in {said:?}");
                assert!(json["why"].as_str().unwrap().starts_with(why), "{json}");
            }
        }
    }
    let (said, _) = test(format!("http://127.0.0.1:{nobody}/hunter2"));
    assert!(said.out.contains("Connection refused"), "{said:?}");
}

#[test]
fn a_webhook_whose_row_cannot_be_read_is_named_and_the_others_get_their_events() {
    let program = Program::new();
    let made = program.json("api-key create --init --scope verify,enrol");
    let key = made["key"].as_str().unwrap();
    std::fs::write(program.data("secret"), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let port = receiver();
    let webhook = |name| {
        format!("[[webhook]]\nname = '{name}'\nsecret_file = 'secret'\nurl = 'http://127.0.0.1:{port}/204'\n")
    };
    let both = webhook("crm") + &webhook("siem");
    std::fs::write(program.folder.path().join("mfa.toml"), both).unwrap();
    program.serve("--config mfa.toml").stop("-TERM");
    let spoil = "UPDATE deliveries SET position = -1 WHERE endpoint = 'crm'";
    assert!(Command::new("sqlite3").arg(program.data("mfa.db")).arg(spoil).status().unwrap().success());

    let server = program.serve("--config mfa.toml");
    assert_eq!(server.call("", "GET", "/readyz", &Value::Null).0, 200);
    server.enrol(key, "alice");
    let status = || {
        let said = program.run("webhook status --config mfa.toml --json");
        assert!(said.code == 1 && said.err.contains("webhook crm"), "{said:?}");
        serde_json::from_str::<Value>(&said.out).unwrap()
    };
    let caught_up = |status: &Value| status[1]["delivery"]["position"] == status[1]["last_position"];
    let done = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        caught_up(&status())
    });
    assert!(done, "{}", status());
    assert!(status()[0]["error"].as_str().unwrap().contains("column position of table deliveries"));
    assert_eq!(status()[0]["delivery"], Value::Null);
    assert!(program.run("webhook status --config mfa.toml").out.contains("unreadable"));
    let (_, metrics) = server.call("", "GET", "/metrics", &Value::Null);
    let counted = "mfa_unreadable_rows_total{table=\"deliveries\"} 1";
    assert!(metrics.as_str().unwrap().contains(counted), "{metrics}");
    assert!(server.log().contains("the position of a webhook cannot be read"), "{}", server.log());
    // What it has still to deliver is not known, so nothing is removed.
    let said = program.run("audit prune --before 2020-01-01T00:00:00Z --config mfa.toml");
    assert!(said.code == 3 && said.err.contains("the position of webhook crm cannot be read"), "{said:?}");
}
