//! `webhook test`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpListener;

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
            Some("it answered 410 Gone: it wants no messages any more"),
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
            None => assert_eq!((said.code, said.out.as_str()), (0, "siem took the message\n")),
            Some(why) => {
                let told = format!("siem did not take the message: {why}");
                assert!(said.code == 1 && said.out.starts_with(&told), "{told} in {said:?}");
                assert!(json["why"].as_str().unwrap().starts_with(why), "{json}");
            }
        }
    }
    let (said, _) = test(format!("http://127.0.0.1:{nobody}/hunter2"));
    assert!(said.out.contains("Connection refused"), "{said:?}");
}
