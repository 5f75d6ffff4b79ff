//! `try`, with oathtool in the place of the authenticator app.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::program::{Program, oathtool, program as path, unconfigured};

#[test]
fn somebody_enrols_verifies_and_sees_a_replay_refused() {
    let program = Program::new();
    let mut child = unconfigured(Command::new(path()))
        .arg("try")
        .current_dir(program.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |text: &str| lines.by_ref().find(|line| line.contains(text)).unwrap();

    assert!(until("█").contains("\u{1b}["), "a QR code");
    let secret = until("Or type the secret:").rsplit(' ').next().unwrap().to_owned();
    let code = oathtool(&secret, "now");
    writeln!(input, "12x").unwrap();
    until("That is no code");
    writeln!(input, "{code}").unwrap();
    until("Right. You are enrolled.");
    until("Backup codes");
    let backup = until("-");
    until("The same one again");
    until("Not accepted");
    until("an empty line ends it");
    writeln!(input, "{}", backup.trim()).unwrap();
    until("verified with a backup code; 9 are left");
    writeln!(input, "{}", backup.trim()).unwrap();
    until("Not accepted");
    writeln!(input, "{}", oathtool(&secret, "now + 30 seconds")).unwrap();
    until("Right: verified.");
    writeln!(input).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!program.data("").exists());
}

#[test]
fn without_an_answer_it_ends_with_an_error() {
    let said = Program::new().run("try");
    assert_eq!((said.code, said.err.as_str()), (1, "mfa-server: no code was given\n"));
}
