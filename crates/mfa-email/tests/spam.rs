//! A spam filter holds nothing against what we send.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{Clock, CodeMessage, Sender, SystemClock, SystemEntropy};
use mfa_domain::{AccountKey, Address, ChallengeId, FactorKind, Purpose, SentCode, TenantId, UserId};
use mfa_email::{EmailSettings, Mailer};

/// `SpamAssassin` takes 5 points for spam. Informational rules add up to 0.0, and a text that says something else than
/// the HTML part to 2.8.
const MOST: f64 = 0.2;

/// It lacks what mails of ours have: a text part, a date, a `Message-ID`, brackets around the recipient.
const HTML_ONLY: &str = "From: mfa@example.com\r\nTo: html.only@example.com\r\nSubject: 31415926 is your code\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Your code: 31415926</p>\r\n";

/// One run for all: the filter takes two seconds to start. Each mail goes to an address that names it.
#[tokio::test]
async fn a_spam_filter_finds_nothing_in_any_mail_of_any_language_and_something_in_html_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut sent = Vec::new();
    for (language, from) in [("en", "mfa@example.com"), ("de", "Käsehaus <mfa@example.com>")] {
        let path = folder.path().join(language);
        let mut settings = EmailSettings::new(format!("file:{}", path.display()).parse().unwrap(), from);
        settings.language = language.to_owned();
        let mailer = Mailer::new(settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
        for (name, purpose) in [
            ("verify", Purpose::Verify),
            ("enrol", Purpose::Enrol),
            ("change", Purpose::Change),
            ("recover", Purpose::Recover),
        ] {
            let to = format!("{language}.{name}@example.com");
            send(&mailer, &to, purpose).await;
            sent.push(to);
        }
        let to = format!("{language}.test@example.com");
        mailer.test(&Address::new(to.as_str()).unwrap()).await.unwrap();
        sent.push(to);
    }
    fs::write(folder.path().join("de/html-only.eml"), HTML_ONLY).unwrap();

    let scores = scores(folder.path());
    let score = |to: &str| {
        let mut found = scores.iter().filter(|score| score.to == to);
        let score = found.next().unwrap_or_else(|| panic!("{to} was not looked at: {scores:#?}"));
        assert!(found.next().is_none(), "{to} was looked at twice: {scores:#?}");
        score
    };
    for to in sent {
        let Score { points, rules, .. } = score(&to);
        assert!(*points <= MOST, "{to} has {points} points, for {rules}");
    }
    let Score { points, rules, .. } = score("html.only@example.com");
    assert!(*points > MOST, "HTML alone has {points} points, for {rules}");
}

async fn send(mailer: &Mailer, to: &str, purpose: Purpose) {
    let account = AccountKey::new(TenantId::new("shop").unwrap(), UserId::new("eve").unwrap());
    let (to, code) = (Address::new(to).unwrap(), SentCode::parse("31415926").unwrap());
    let expires_at = SystemClock.now().plus(Duration::from_mins(10));
    let challenge = ChallengeId::from_entropy([7; ChallengeId::LENGTH]);
    let message = CodeMessage::new(&FactorKind::Email, &to, &code, purpose, expires_at, &account, challenge);
    mailer.send(&message).await.unwrap();
}

/// What the filter says of a mail.
#[derive(Debug)]
struct Score {
    to: String,
    points: f64,
    /// The names of the rules that fit it.
    rules: String,
}

/// Scores the mails in the folders of `folder`, by rules that ask no other machine. Neither a user's preferences nor
/// what was learnt from other mails counts.
fn scores(folder: &Path) -> Vec<Score> {
    let mails = files(folder).into_iter().flat_map(|language| files(&language));
    let told = Command::new("spamassassin")
        .args(["--local", "--test-mode", "--nocreate-prefs", "--prefspath=/dev/null", "--cf=use_bayes 0"])
        .args(mails)
        .env("HOME", folder)
        .output()
        .expect("tests need spamassassin; `cargo xtask tools` installs it");
    let (all, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{errors}");
    all.split("X-Spam-Checker-Version:").skip(1).map(score).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Reads what the filter wrote before the headers of the mail.
fn score(told: &str) -> Score {
    let told = told.replace("\r\n", "\n");
    let (headers, _body) = told.split_once("\n\n").unwrap();
    // A line that begins with a tab continues the one before.
    let headers = headers.replace("\n\t", " ");
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let status = header("X-Spam-Status:");
    let (_, points) = status.split_once("score=").unwrap();
    let (points, _) = points.split_once(' ').unwrap();
    let (_, rules) = status.split_once("tests=").unwrap();
    let (rules, _) = rules.split_once(" autolearn=").unwrap();
    let to = header("To:").trim().trim_matches(['<', '>']);
    Score { to: to.to_owned(), points: points.parse().unwrap(), rules: rules.replace(' ', "") }
}
