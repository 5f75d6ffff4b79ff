//! `email test`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::program::Program;
use serde_json::{Value, json};

fn program(email: &str) -> Program {
    let program = Program::new();
    std::fs::write(program.folder.path().join("mfa.toml"), format!("[email]\n{email}\n")).unwrap();
    program
}

#[test]
fn a_mail_is_sent_and_told() {
    let program = program("url = 'file:mails'\nfrom = 'Example <mfa@example.com>'\nlanguage = 'de'");
    assert_eq!(program.run("config check --config mfa.toml").out, "OK\n");
    assert!(!program.folder.path().join("mails").exists(), "a check changes nothing");
    let said = program.run("email test eve@example.com --config mfa.toml");
    assert_eq!((said.code, &*said.out), (0, "the mail to e•••@example.com was sent\n"), "{said:?}");
    let json = program.run("email test eve@example.com --config mfa.toml --json");
    let told: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(told, json!({ "to": "e•••@example.com", "outcome": "sent", "why": null, "dkim": null }));
    let mails = std::fs::read_dir(program.folder.path().join("mails")).unwrap();
    let mails: Vec<_> = mails.map(|mail| std::fs::read_to_string(mail.unwrap().path()).unwrap()).collect();
    assert_eq!(mails.len(), 2);
    assert!(
        mails[0].contains("Subject: 00000000 ist Ihr Code") && mails[0].contains("To: <eve@example.com>"),
        "{mails:?}"
    );
}

#[test]
fn a_signed_mail_is_told_with_the_record_to_publish() {
    let program = program(
        "url = 'file:mails'\nfrom = 'mfa@mail.example.com'\ndkim_key_file = 'dkim.pem'\ndkim_selector = 'mfa1'",
    );
    let missing = program.run("config check --config mfa.toml");
    assert!(missing.code == 2 && missing.err.contains("dkim.pem does not exist"), "{missing:?}");
    let openssl = |line: &str| {
        let mut openssl = Command::new("openssl");
        let made = openssl.args(line.split(' ')).current_dir(program.folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out dkim.pem");
    let weak = program.run("config check --config mfa.toml");
    let told = "email.dkim_key_file: dkim.pem: an RSA key must have 2048, 3072 or 4096 bits";
    assert!(weak.code == 2 && weak.err.contains(told), "{weak:?}");
    openssl("genpkey -algorithm ED25519 -out dkim.pem");
    assert_eq!(program.run("config check --config mfa.toml").out, "OK\n");

    let record = |domain: &str| format!("\nmfa1._domainkey.{domain}\nv=DKIM1; k=ed25519; p=");
    let said = program.run("email test eve@example.com --config mfa.toml");
    assert!(said.code == 0 && said.out.contains(&record("mail.example.com")), "{said:?}");
    let above = "--config mfa.toml --set email.dkim_domain=example.com";
    let said = program.run(&format!("email test eve@example.com {above}"));
    assert!(said.code == 0 && said.out.contains(&record("example.com")), "{said:?}");
    let json = program.json(&format!("email test eve@example.com {above}"));
    assert_eq!(json["dkim"]["name"], "mfa1._domainkey.example.com");
    for mail in std::fs::read_dir(program.folder.path().join("mails")).unwrap() {
        let mail = std::fs::read_to_string(mail.unwrap().path()).unwrap();
        assert!(mail.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; "), "{mail}");
    }
    assert!(!format!("{weak:?}{said:?}{json}").contains("PRIVATE KEY"));
}

/// Whoever writes it signs as this domain later, and whoever reads it at once.
#[test]
fn a_dkim_key_that_everybody_can_write_is_refused_and_one_that_they_can_read_is_warned_of() {
    let program = program(
        "url = 'file:mails'\nfrom = 'mfa@example.com'\ndkim_key_file = 'dkim.pem'\ndkim_selector = 'mfa1'",
    );
    let key = program.folder.path().join("dkim.pem");
    let mut openssl = Command::new("openssl");
    let made = openssl.args(["genpkey", "-algorithm", "ED25519", "-out"]).arg(&key).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let allow = |mode| std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
    allow(0o602);
    for line in ["config check", "email test eve@example.com", "serve --listen 127.0.0.1:0"] {
        let said = program.run(&format!("{line} --config mfa.toml"));
        let told = "every user of this machine can write the DKIM key dkim.pem";
        assert!(said.code != 0 && said.err.contains(told), "{line}: {said:?}");
    }
    for (mode, warned) in [(0o604, true), (0o640, false)] {
        allow(mode);
        let log = program.serve("--config mfa.toml").log();
        let told = log.contains("the DKIM key can be read by every user of this machine");
        assert_eq!(told, warned, "{mode:o}: {log}");
    }
}

#[test]
fn what_keeps_a_mail_from_being_sent_is_told_without_the_password() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program =
        program(&format!("url = 'smtp://app:hunter2@127.0.0.1:{nobody}?tls=none'\nfrom = 'mfa@example.com'"));
    let said = program.run("email test eve@example.com --config mfa.toml");
    let told =
        "the mail to e•••@example.com was not sent: connecting to the mail server: the connection failed\n";
    assert_eq!((said.code, &*said.out), (1, told), "{said:?}");
    let dump = program.run("config dump --config mfa.toml");
    assert!(dump.out.contains(&format!("url = \"smtp://127.0.0.1:{nobody}?tls=none\"")), "{}", dump.out);
    assert!(!format!("{said:?}{dump:?}").contains("hunter2"), "{said:?}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    let from = "from = 'mfa@example.com'";
    for (email, command, told) in [
        ("", "email test eve@example.com", "email.url is not set, so no mail is sent"),
        ("url = 'file:mails'", "config check", "email.from: must be an address such as mfa@example.com"),
        (
            &format!("url = 'smtp://h?tls=none'\n{from}"),
            "config check",
            "tls=none is for a mail server on this machine",
        ),
        (&format!("url = 'http://h'\n{from}"), "config check", "not smtp://HOST, smtps://HOST or file:DIR"),
        (
            &format!("url = 'file:mails'\nlanguage = 'fr'\n{from}"),
            "config check",
            "there are no templates for the language; choose one of de, en",
        ),
        (
            &format!("url = 'file:mails'\ntemplate_dir = 'texts'\n{from}"),
            "config check",
            "texts cannot be read",
        ),
        (&format!("url = 'file:mfa.toml'\n{from}"), "config check", "mfa.toml is not a writable folder"),
        (
            &format!("url = 'file:mfa.toml/mails'\n{from}"),
            "config check",
            "mfa.toml/mails is not a writable folder",
        ),
        (
            &format!("dkim_key_file = 'dkim.pem'\n{from}"),
            "config check",
            "email.dkim_selector: must be a DNS name such as mfa1 if email.dkim_key_file is set",
        ),
        (
            &format!("dkim_selector = 'mfa1'\n{from}"),
            "config check",
            "email.dkim_selector (mfa.toml, line 2): must be a DNS name",
        ),
        (
            &format!("dkim_key_file = 'dkim.pem'\ndkim_selector = 'mfa_1'\n{from}"),
            "config check",
            "email.dkim_selector (mfa.toml, line 3): must be a DNS name",
        ),
        (
            &format!("dkim_key_file = 'dkim.pem'\ndkim_selector = 'a'\ndkim_domain = 'com'\n{from}"),
            "config check",
            "email.dkim_domain (mfa.toml, line 4): must be the domain of email.from or a parent domain",
        ),
        (
            &format!("dkim_domain = 'example.com'\n{from}"),
            "config check",
            "email.dkim_domain (mfa.toml, line 2): must be the domain of email.from or a parent domain",
        ),
        (&format!("url = 'file:mails'\nca_file = 'ca.pem'\n{from}"), "config check", "ca.pem cannot be read"),
        (
            &format!("url = 'file:mails'\n{from}"),
            "email test eve",
            "no mail can be sent to this address: not an e-mail address",
        ),
        (
            &format!("url = 'file:mails'\n{from}"),
            "email test zoë@example.com",
            "letters before the @ must be ASCII",
        ),
    ] {
        let program = program(email);
        let said = program.run(&format!("{command} --config mfa.toml"));
        assert!(said.code == 2 && said.err.contains(told), "{email}: {said:?}");
    }
}
