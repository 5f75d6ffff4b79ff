#!/bin/sh
# lettre 0.11.23 (crates.io), 2026-11-30: a send that is given up while the server is still thinking, as by a time limit,
# puts its connection back into the pool before the answer was read. The next mail on it reads each answer one step
# late. Here that one is refused with 554, and lettre answers Ok with 354, which is the answer to its DATA.
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
lettre = { version = "=0.11.23", default-features = false, features = ["builder", "pool", "smtp-transport", "tokio1"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }
[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::{thread, time::Duration};

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::time::{sleep, timeout};

/// Takes a second for a mail to slow@, and refuses one to spam@.
fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut to = String::new();
    stream.write_all(b"220 test\r\n").unwrap();
    while let Some(line) = lines.next() {
        let answer = match &line[..4] {
            "RCPT" => {
                to = line;
                "250 ok"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").unwrap();
                lines.by_ref().find(|line| line == ".");
                if to.contains("slow@") {
                    thread::sleep(Duration::from_secs(1));
                }
                if to.contains("spam@") { "554 refused" } else { "250 taken" }
            }
            _ => "250 ok",
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn mail(to: &str) -> Message {
    let (from, to) = ("mfa@example.com".parse().unwrap(), to.parse().unwrap());
    Message::builder().from(from).to(to).subject("Code").body("31415926".to_owned()).unwrap()
}

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(|stream| drop(thread::spawn(|| serve(stream.unwrap())))));
    let mailer = || AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(port).build();

    let refused = mailer().send(mail("spam@example.com")).await.unwrap_err();
    println!("on a new connection: {refused}");
    assert_eq!(refused.status().map(u16::from), Some(554));

    let mailer = mailer();
    let given_up = timeout(Duration::from_millis(300), mailer.send(mail("slow@example.com"))).await;
    assert!(given_up.is_err());
    sleep(Duration::from_secs(2)).await;
    let answer = mailer.send(mail("spam@example.com")).await.unwrap();
    println!("after a send that was given up: Ok, {}", answer.code());
    assert_eq!(u16::from(answer.code()), 354);
}
RUST
CARGO_TARGET_DIR=target cargo run --quiet
