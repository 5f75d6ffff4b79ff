//! Signed mails, as another implementation verifies them, and keys that are refused.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mfa_domain::Address;
use mfa_domain::ports::{SystemClock, SystemEntropy};
use mfa_email::{
    DkimKey, DkimRecord, DkimSettings, EmailSettings, InvalidDkim, InvalidDkimKey, InvalidEmail, Mailer,
    Templates, check_dkim_domain,
};
use serde_json::{Value, json};
use tempfile::TempDir;

mod support;

use support::{MailServer, python};

const RSA: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem";
const ED25519: &str = "genpkey -algorithm ED25519 -out key.pem";

/// The file that the last of those commands of openssl writes.
fn pem(commands: &[&str]) -> Vec<u8> {
    converted(b"", commands)
}

/// The same for commands that read a key from `key.pem`.
fn converted(key: &[u8], commands: &[&str]) -> Vec<u8> {
    let folder: TempDir = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    for command in commands {
        let mut openssl = Command::new("openssl");
        let made = openssl.args(command.split(' ')).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{command}: {}", String::from_utf8_lossy(&made.stderr));
    }
    let file = commands.last().unwrap().rsplit(' ').next().unwrap();
    std::fs::read(folder.path().join(file)).unwrap()
}

/// Mails of `mail.example.com` that `example.com` signs.
fn settings(url: &str, key: DkimKey) -> EmailSettings {
    let mut settings = EmailSettings::new(url.parse().unwrap(), "Käsehaus <mfa@mail.example.com>");
    let (selector, domain) = ("Mfa1".to_owned(), Some("example.com".to_owned()));
    settings.dkim = Some(DkimSettings { key, selector, domain });
    settings
}

fn mailer(settings: EmailSettings) -> Result<Mailer, InvalidEmail> {
    Mailer::new(settings, Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// Mails that dkimpy checks, with that record as the only one in DNS.
struct Check {
    mails: Vec<String>,
    record: DkimRecord,
    /// Which of the mails are right.
    expected: Vec<bool>,
}

/// Which of the mails of each check dkimpy verifies. One run for all: Python takes long to start.
fn verified(checks: &[Check]) -> Vec<Vec<bool>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/verify_dkim.py");
    let mut verifier =
        Command::new(python()).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let asked = checks.iter().map(|Check { mails, record: DkimRecord { name, value }, .. }| {
        json!({ "mails": mails, "name": name, "value": value })
    });
    let asked = asked.collect::<Value>().to_string();
    verifier.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    serde_json::from_slice(&verifier.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn another_implementation_finds_every_mail_signed_and_every_change() {
    let server = MailServer::start(&json!({}));
    let url = format!("smtp://127.0.0.1:{}?tls=none", server.port);
    let templates = Templates::built_in().unwrap();
    let mut checks = Vec::new();
    for (kind, command) in [("rsa", RSA), ("ed25519", ED25519)] {
        let (pem, another) = (pem(&[command]), pem(&[command]));
        for language in templates.languages() {
            let mut settings = settings(&url, DkimKey::from_pem(&pem).unwrap());
            language.clone_into(&mut settings.language);
            let mailer = mailer(settings).unwrap();
            let record = mailer.dkim_record().unwrap();
            assert_eq!(record.name, "mfa1._domainkey.example.com");
            assert!(record.value.starts_with(&format!("v=DKIM1; k={kind}; p=")), "{record:?}");
            mailer.test(&Address::new("eve@bücher.example").unwrap()).await.unwrap();
            let mail = server.mail();
            let raw = mail["raw"].as_str().unwrap();
            assert!(raw.starts_with(&format!("DKIM-Signature: v=1; a={kind}-sha256; ")), "{raw}");
            assert!(raw.lines().all(|line| line.len() <= 78), "RFC 5322, 2.1.1: {raw}");

            // As it came, and as mail servers on the way may leave it.
            let refolded = raw.replacen("Date: ", "DATE:\r\n   ", 1) + "\r\n\r\n";
            let good = vec![raw.to_owned(), refolded];

            // And as nobody may: the body, a field that is signed, a second field of its name.
            let mut changed = vec![raw.replacen("\r\n00000000\r\n", "\r\n00000001\r\n", 1)];
            changed.push(raw.replacen("</p>", " </p>", 1));
            for name in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"] {
                changed.push(raw.replacen(&format!("\r\n{name}: "), &format!("\r\n{name}: x"), 1));
                changed.push(format!("{name}: x\r\n{raw}"));
            }
            assert!(changed.iter().all(|changed| changed != raw), "{raw}");

            // With another key in DNS.
            let other = DkimKey::from_pem(&another).unwrap();
            let other = self::mailer(self::settings(&url, other)).unwrap().dkim_record().unwrap();

            let wrong = vec![false; changed.len()];
            checks.push(Check { mails: good.clone(), record: other, expected: vec![false; 2] });
            checks.push(Check { mails: good, record: record.clone(), expected: vec![true; 2] });
            checks.push(Check { mails: changed, record, expected: wrong });
        }
    }
    let verified = verified(&checks);
    assert_eq!(verified.len(), checks.len());
    for (check, verified) in checks.iter().zip(verified) {
        assert_eq!(verified, check.expected, "{:?}: {}", check.record, check.mails[0]);
    }
}

#[test]
fn keys_come_in_pem_and_weak_or_other_ones_are_refused() {
    let bits = |bits: u32| RSA.replace("2048", &bits.to_string());
    // Made once, since that takes long.
    let rsa = pem(&[RSA]);
    assert!(DkimKey::from_pem(&rsa).is_ok());
    for good in ["rsa -traditional -in key.pem -out new.pem", bits(3072).as_str(), ED25519] {
        let key = DkimKey::from_pem(&converted(&rsa, &[good]));
        assert!(key.is_ok(), "{good}: {key:?}");
    }
    for (bad, why) in [
        (bits(1024).as_str(), InvalidDkimKey::Strength),
        (bits(2304).as_str(), InvalidDkimKey::Strength),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem", InvalidDkimKey::Algorithm),
        ("ecparam -name prime256v1 -genkey -out key.pem", InvalidDkimKey::Algorithm),
        ("genpkey -algorithm ED448 -out key.pem", InvalidDkimKey::Algorithm),
        ("pkey -in key.pem -aes256 -passout pass:x -out new.pem", InvalidDkimKey::Pem),
        ("pkey -in key.pem -pubout -out new.pem", InvalidDkimKey::Pem),
        ("pkey -in key.pem -outform DER -out new.pem", InvalidDkimKey::Pem),
    ] {
        assert_eq!(DkimKey::from_pem(&converted(&rsa, &[bad])).err(), Some(why), "{bad}");
    }
    assert_eq!(DkimKey::from_pem(b"").err(), Some(InvalidDkimKey::Pem));
    let shown = format!("{:?}", DkimKey::from_pem(&pem(&[ED25519])).unwrap());
    assert_eq!(shown, "DkimKey(ed25519)");
}

#[tokio::test]
async fn a_signature_that_would_not_count_is_refused() {
    let pem = pem(&[ED25519]);
    let refused = |selector: &str, domain: Option<&str>| {
        let mut settings = settings("smtp://mail.example.com", DkimKey::from_pem(&pem).unwrap());
        let dkim = settings.dkim.as_mut().unwrap();
        (dkim.selector, dkim.domain) = (selector.to_owned(), domain.map(ToOwned::to_owned));
        match mailer(settings) {
            Ok(mailer) => Ok(mailer.dkim_record().unwrap().name),
            Err(InvalidEmail::Dkim(invalid)) => Err(invalid),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused("a", None), Ok("a._domainkey.mail.example.com".to_owned()));
    assert_eq!(refused("a", Some("EXAMPLE.com")), Ok("a._domainkey.example.com".to_owned()));
    for domain in ["", "com", "example.org", "eu.mail.example.com", "ail.example.com"] {
        assert_eq!(refused("a", Some(domain)), Err(InvalidDkim::Domain), "{domain}");
        assert!(check_dkim_domain(Some(domain), "mfa@mail.example.com").is_err(), "{domain}");
    }
    for selector in ["", "a b", "a_b", "a;b", &["a".repeat(63).as_str(); 4].join(".")] {
        assert_eq!(refused(selector, None), Err(InvalidDkim::Selector), "{selector}");
    }
    assert!(check_dkim_domain(None, "mfa@mail.example.com").is_ok());
    assert!(check_dkim_domain(None, "mfa@localhost").is_err());
}
