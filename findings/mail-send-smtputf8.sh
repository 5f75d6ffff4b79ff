#!/bin/sh
# mail-send 0.7.0 (crates.io), 2026-11-30: an address with letters beyond ASCII, before or after the @, goes out as it
# is, in MAIL, RCPT and the header To, also to a server that does not offer SMTPUTF8 (RFC 6531, 3.2: the client must not).
# To one that offers it MAIL lacks the parameter SMTPUTF8 (3.4: it must be there). No error says that it cannot be sent.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "seen"
edition = "2021"
[dependencies]
mail-send = { version = "=0.7.0", default-features = false, features = ["builder", "ring", "tls12"] }
rustls = { version = "0.23", default-features = false, features = ["ring"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use mail_send::SmtpClientBuilder;
use mail_send::mail_builder::MessageBuilder;

/// What a client sends in one session to a server that offers, or does not, to take such addresses.
fn serve(listener: TcpListener, offers: bool) -> Vec<String> {
    let mut stream = listener.accept().unwrap().0;
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    stream.write_all(b"220 test\r\n").unwrap();
    while let Some(line) = lines.next() {
        let answer = match &line[..4] {
            "EHLO" if offers => "250-test\r\n250-8BITMIME\r\n250 SMTPUTF8",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").unwrap();
                seen.extend(lines.by_ref().take_while(|line| line != ".").filter(|line| line.starts_with("To:")));
                "250 taken"
            }
            _ => "250 ok",
        };
        seen.push(line);
        stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
    }
    seen
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    for offers in [false, true] {
        for to in ["zoë@example.com", "eve@bücher.example"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || serve(listener, offers));
            let builder = SmtpClientBuilder::new("127.0.0.1", port).unwrap().helo_host("test");
            let mut client = builder.connect_plain().await.unwrap();
            let mail = MessageBuilder::new().from("mfa@example.com").to(to).subject("Code").text_body("31415926");
            client.send(mail).await.unwrap();
            drop(client);
            let seen = server.join().unwrap();
            println!("SMTPUTF8 {}: {}", if offers { "offered" } else { "not offered" }, seen[1..].join(" | "));
            for line in ["MAIL FROM:<mfa@example.com>", &format!("RCPT TO:<{to}>"), &format!("To: <{to}>")] {
                assert!(seen.iter().any(|seen| seen == line), "{line}");
            }
        }
    }
}
RUST
CARGO_TARGET_DIR=target cargo run --quiet
