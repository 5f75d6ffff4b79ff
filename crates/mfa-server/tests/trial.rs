//! `try`, with oathtool in the place of the authenticator app, and what is shown in the place of a mailbox.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::program::{Program, oathtool, program as path, unconfigured};

#[test]
fn somebody_enrols_verifies_and_sees_a_replay_refused() {
    let program = Program::new();
    let mut child = start(&program, "try");
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |text: &str| lines.by_ref().find(|line| line.contains(text)).unwrap();

    assert!(until("█").contains("\u{1b}["), "a QR code");
    let secret = until("Or type the secret:").rsplit(' ').next().unwrap().to_owned();
    let code = oathtool(&secret, "now");
    writeln!(input, "12x").unwrap();
    until("That is not a code");
    writeln!(input, "{code}").unwrap();
    until("Accepted. You are enrolled.");
    until("Backup codes");
    let backup = until("-");
    until("The same code again");
    until("Not accepted");
    until("enter an empty line");
    writeln!(input, "{}", backup.trim()).unwrap();
    until("verified with a backup code; 9 are left");
    writeln!(input, "{}", backup.trim()).unwrap();
    until("Not accepted");
    writeln!(input, "{}", oathtool(&secret, "now + 30 seconds")).unwrap();
    until("Accepted: verified.");
    writeln!(input).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!program.data("").exists());
}

#[test]
fn somebody_enrols_an_address_and_sees_the_mails_that_would_be_sent() {
    let program = Program::new();
    let email = "[email]\nurl = 'file:mails'\nfrom = 'Käsehaus <mfa@example.com>'\nlanguage = 'de'\n";
    std::fs::write(program.folder.path().join("mfa.toml"), email).unwrap();
    for (line, from, service) in [
        ("try --email", "mfa@example.com", "mfa-server"),
        ("try --email --config mfa.toml", "Käsehaus <mfa@example.com>", "Käsehaus"),
    ] {
        let mut child = start(&program, line);
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut until = |text: &str| lines.by_ref().find(|line| line.contains(text)).unwrap();

        let mut codes = Vec::new();
        for _ in 0..2 {
            assert_eq!(until("From: ").trim(), format!("From: {from}"));
            until("To: you@example.com");
            let subject = until("Subject: ");
            let code = subject.split_whitespace().nth(1).unwrap().to_owned();
            until(service);
            until(&format!("  {code}"));
            let wrong = if code == "12345678" { "87654321" } else { "12345678" };
            writeln!(input, "12x").unwrap();
            until("That is not a code");
            writeln!(input, "{wrong}").unwrap();
            until("It costs an attempt");
            writeln!(input, "{code}").unwrap();
            until("Accepted");
            codes.push(code);
        }
        until("The same code again");
        until("Not accepted: the challenge is over.");
        assert!(child.wait().unwrap().success());
        assert!(codes.iter().all(|code| code.len() == 8), "{codes:?}");
    }
    assert!(!program.data("").exists() && !program.folder.path().join("mails").exists());
}

fn start(program: &Program, line: &str) -> Child {
    unconfigured(Command::new(path()))
        .args(line.split(' '))
        .current_dir(program.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn without_an_answer_it_ends_with_an_error() {
    for line in ["try", "try --email"] {
        let said = Program::new().run(line);
        assert_eq!((said.code, said.err.as_str()), (1, "mfa-server: no code was entered\n"), "{line}");
    }
}
