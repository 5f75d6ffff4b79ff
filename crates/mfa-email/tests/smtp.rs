//! Mail reaches a real mail server, and what goes wrong is told as it is.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{Clock, CodeMessage, Sender, SenderError, SystemClock, SystemEntropy};
use mfa_domain::{AccountKey, Address, ChallengeId, FactorKind, Purpose, SentCode, TenantId, UserId};
use mfa_email::{EmailSettings, EmailUrl, Mailer};
use serde_json::{Value, json};

mod support;

use support::{Certificates, MailServer};

const CODE: &str = "31415926";

/// A mailer for that URL, whose own settings a test changes.
fn mailer(url: &str, change: impl FnOnce(&mut EmailSettings)) -> Mailer {
    let mut settings = EmailSettings::new(url.parse().unwrap(), "Example <mfa@example.com>");
    change(&mut settings);
    Mailer::new(settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap()
}

fn plain(server: &MailServer) -> String {
    format!("smtp://127.0.0.1:{}?tls=none", server.port)
}

async fn send_for(mailer: &Mailer, to: &str, purpose: Purpose) -> Result<(), SenderError> {
    let account = AccountKey::new(TenantId::new("shop").unwrap(), UserId::new("eve").unwrap());
    let (to, code) = (Address::new(to).unwrap(), SentCode::parse(CODE).unwrap());
    // Rounded down in the text.
    let expires_at = SystemClock.now().plus(Duration::from_secs(630));
    let challenge = ChallengeId::from_entropy([7; ChallengeId::LENGTH]);
    let message = CodeMessage::new(&FactorKind::Email, &to, &code, purpose, expires_at, &account, challenge);
    mailer.send(&message).await
}

async fn send(mailer: &Mailer, to: &str) -> Result<(), SenderError> {
    send_for(mailer, to, Purpose::Verify).await
}

/// What a message did not reach anybody for.
async fn reason(mailer: &Mailer) -> (&'static str, String) {
    let error = send(mailer, "eve@example.com").await.unwrap_err();
    let how = match error {
        SenderError::Refused(_) => "refused",
        SenderError::NotSent(_) => "not sent",
        _ => "unknown",
    };
    (how, std::error::Error::source(&error).unwrap().to_string())
}

#[tokio::test]
async fn a_mail_has_what_people_mail_programs_and_filters_look_for() {
    let server = MailServer::start(&json!({}));
    let mailer = mailer(&plain(&server), |_| {});
    send(&mailer, "eve@bücher.example").await.unwrap();
    let mail = server.mail();
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("mfa@example.com"), &json!(["eve@xn--bcher-kva.example"]))
    );
    let header = |name: &str| mail["headers"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(header("From"), "Example <mfa@example.com>");
    assert_eq!(header("Subject"), format!("{CODE} is your code"));
    assert_eq!(header("MIME-Version"), "1.0");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(header("Message-ID").ends_with("@example.com>"), "{mail}");
    assert!(header("Date").ends_with(" +0000") || header("Date").ends_with(" GMT"), "{mail}");
    let raw = mail["raw"].as_str().unwrap();
    assert!(raw.contains("\r\nTo: <eve@xn--bcher-kva.example>\r\n"), "{raw}");
    assert!(raw.lines().all(|line| line.len() <= 998), "RFC 5322, 2.1.1");
    // Whatever the encoding of a part, the code is in it as it is.
    assert_eq!(raw.matches(CODE).count(), 3, "{raw}");
    let text = mail["text"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("Your code for Example:\n\n{CODE}\n\nIt works once, for 10 minutes.")),
        "{text}"
    );
    assert!(mail["html"].as_str().unwrap().contains(&format!(">{CODE}</p>")), "{mail}");
    assert!(!raw.contains("http"), "no link acts on being fetched, since there is none");
    assert_eq!(server.more(), 0);
}

#[tokio::test]
async fn other_languages_names_and_purposes_arrive_as_they_are_written() {
    let server = MailServer::start(&json!({}));
    let mailer = mailer(&plain(&server), |settings| {
        settings.from = "Käsehaus <mfa@example.com>".to_owned();
        settings.language = "de".to_owned();
    });
    send_for(&mailer, "Eve.O'Brien+x@example.com", Purpose::Enrol).await.unwrap();
    let mail = server.mail();
    assert_eq!(mail["to"], json!(["Eve.O'Brien+x@example.com"]));
    assert_eq!(mail["headers"]["From"], "Käsehaus <mfa@example.com>");
    assert_eq!(mail["headers"]["Subject"], format!("{CODE} ist Ihr Code"));
    let text = mail["text"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("Ihr Code, um diese Adresse für Käsehaus zu bestätigen:\n\n{CODE}\n")),
        "{text}"
    );
    assert!(mail["html"].as_str().unwrap().contains("für Käsehaus zu bestätigen"), "{mail}");
    // Quoted-printable, which divides lines of 76 bytes, leaves it as it is.
    let raw = mail["raw"].as_str().unwrap();
    assert_eq!((raw.matches("quoted-printable").count(), raw.matches(CODE).count()), (2, 3), "{raw}");
}

#[tokio::test]
async fn connections_are_encrypted_by_starttls_or_from_the_first_byte_and_log_in() {
    let certificates = Certificates::make();
    let login = json!({ "user": "app@example.com", "password": "p@ss" });
    for implicit in [false, true] {
        let mut settings = certificates.with(&login);
        settings["implicit"] = json!(implicit);
        let server = MailServer::start(&settings);
        let scheme = if implicit { "smtps" } else { "smtp" };
        let url = format!("{scheme}://app%40example.com:p%40ss@localhost:{}", server.port);
        let trusting = mailer(&url, |settings| settings.roots = Some(certificates.authority()));
        send(&trusting, "eve@example.com").await.unwrap();
        let mail = server.mail();
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("app@example.com")));

        // Nobody else vouches for that certificate, and it is for no other name.
        let wary = mailer(&url, |_| {});
        assert_eq!(reason(&wary).await.0, "not sent");
        let other = mailer(&url.replace("localhost", "127.0.0.1"), |settings| {
            settings.roots = Some(certificates.authority());
        });
        assert_eq!(reason(&other).await.0, "not sent");
        // It is ours to repair, and the mail may still go: the password is wrong.
        let wrong = mailer(&url.replace("p%40ss", "pass"), |settings| {
            settings.roots = Some(certificates.authority());
        });
        let told = "logging in to the mail server: the server replied 535".to_owned();
        assert_eq!(reason(&wrong).await, ("not sent", told));
        assert_eq!(server.more(), 0);
    }
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear_that_was_to_be_encrypted() {
    let server = MailServer::start(&json!({}));
    let address = format!("localhost:{}", server.port);
    let required = mailer(&format!("smtp://{address}"), |_| {});
    assert_eq!(
        reason(&required).await,
        ("not sent", "STARTTLS: TLS failed, or the certificate is not trusted".to_owned())
    );
    let opportunistic = mailer(&format!("smtp://{address}?tls=opportunistic"), |_| {});
    send(&opportunistic, "eve@example.com").await.unwrap();
    assert_eq!(server.mail()["tls"], false);
    let login = mailer(&format!("smtp://app:secret@{address}?tls=opportunistic"), |_| {});
    let told = "logging in to the mail server: TLS failed, or the certificate is not trusted".to_owned();
    assert_eq!(reason(&login).await, ("not sent", told));
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_told_from_what_passes() {
    for (settings, expected) in [
        (
            json!({ "rcpt": "550 5.1.1 <eve@example.com> is unknown" }),
            ("refused", "the recipient address (RCPT): the server replied 550"),
        ),
        (
            json!({ "rcpt": "452 4.2.2 full" }),
            ("not sent", "the recipient address (RCPT): the server replied 452"),
        ),
        (json!({ "data": "554 5.7.1 spam" }), ("refused", "sending the message: the server replied 554")),
        (json!({ "data": "451 4.3.0 later" }), ("not sent", "sending the message: the server replied 451")),
        (json!({ "drop": 1 }), ("unknown", "sending the message: the connection failed")),
        (json!({ "slow": 3 }), ("unknown", "sending the message: no reply in time")),
    ] {
        let server = MailServer::start(&settings);
        let mailer = mailer(&plain(&server), |settings| settings.limit = Duration::from_secs(1));
        let (how, why) = reason(&mailer).await;
        assert_eq!((how, &*why), expected, "{settings}");
    }
}

#[tokio::test]
async fn a_greylisted_mail_goes_through_once_it_is_tried_again() {
    let server = MailServer::start(&json!({ "greylist": 2 }));
    let mailer = mailer(&plain(&server), |_| {});
    for _ in 0..2 {
        assert_eq!(reason(&mailer).await.0, "not sent");
    }
    send(&mailer, "eve@example.com").await.unwrap();
    assert_eq!(server.mail()["to"], json!(["eve@example.com"]));
    assert_eq!(server.more(), 0);
}

#[tokio::test]
async fn without_a_server_nothing_is_sent_and_a_greeting_that_says_no_is_no_verdict_on_a_mail() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("smtp://127.0.0.1:{port}?tls=none");
    let refused = mailer(&url, |_| {});
    let answering = std::thread::spawn(move || {
        use std::io::Write;
        listener.accept().unwrap().0.write_all(b"554 5.7.1 your address is on a list\r\n").unwrap();
    });
    let told = "connecting to the mail server: the server replied 554".to_owned();
    assert_eq!(reason(&refused).await, ("not sent", told));
    answering.join().unwrap();
    let gone = mailer(&url, |_| {});
    assert_eq!(reason(&gone).await.0, "not sent");
}

#[tokio::test]
async fn addresses_that_no_mail_can_go_to_are_refused_before_anything_is_sent() {
    let server = MailServer::start(&json!({}));
    let mailer = mailer(&plain(&server), |_| {});
    for address in ["eve", "zoë@example.com", "eve@a..b", "eve,bob@example.com"] {
        assert!(matches!(send(&mailer, address).await, Err(SenderError::Refused(_))), "{address}");
    }
    assert_eq!(server.more(), 0);
}

/// A connection that is left in the middle of a mail would take the answer to that one for the answer to the next.
#[tokio::test]
async fn a_mail_that_nobody_waits_for_is_ended_and_the_next_gets_its_own_answer() {
    let server = MailServer::start(&json!({ "slow": 0.3, "refuse": "bob@example.com" }));
    let mailer = mailer(&plain(&server), |settings| settings.connections = 1);
    for _ in 0..3 {
        let given_up =
            tokio::time::timeout(Duration::from_millis(100), send(&mailer, "eve@example.com")).await;
        assert!(given_up.is_err(), "it took no time");
        assert!(matches!(send(&mailer, "bob@example.com").await, Err(SenderError::Refused(_))));
        send(&mailer, "carol@example.com").await.unwrap();
    }
    let to: Vec<Value> = (0..6).map(|_| server.mail()["to"][0].clone()).collect();
    assert_eq!(to, ["eve@example.com", "carol@example.com"].repeat(3));
    assert_eq!(server.more(), 0);
}

#[tokio::test]
async fn many_mails_share_few_connections_and_each_arrives_once() {
    let server = MailServer::start(&json!({}));
    let mailer = Arc::new(mailer(&plain(&server), |_| {}));
    let sends = (0..40).map(|n| {
        let mailer = Arc::clone(&mailer);
        tokio::spawn(async move { send(&mailer, &format!("user{n}@example.com")).await })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.unwrap().unwrap();
    }
    let mails: Vec<Value> = (0..40).map(|_| server.mail()).collect();
    let mut to: Vec<&str> = mails.iter().map(|mail| mail["to"][0].as_str().unwrap()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!(to.len(), 40);
    let mut ids: Vec<&str> =
        mails.iter().map(|mail| mail["headers"]["Message-ID"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    assert!(mails[39]["connections"].as_u64().unwrap() <= 4, "{}", mails[39]);
}

#[tokio::test]
async fn a_folder_gets_each_mail_as_a_file_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mails");
    let mailer = mailer(&format!("file:{}", path.display()), |_| {});
    for _ in 0..2 {
        send(&mailer, "eve@example.com").await.unwrap();
    }
    mailer.test(&Address::new("eve@example.com").unwrap()).await.unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3);
    let mails: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(mails[0].contains(CODE) && mails[1].contains(CODE) && mails[2].contains("00000000"), "{mails:?}");
    #[cfg(unix)]
    for file in &files {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let told = |change: &dyn Fn(&mut EmailSettings)| {
        let mut settings = EmailSettings::new("smtp://mail.example.com".parse().unwrap(), "mfa@example.com");
        change(&mut settings);
        Mailer::new(settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap_err().to_string()
    };
    assert!(told(&|settings| settings.from = "nobody".to_owned()).starts_with("from is not an address"));
    assert!(
        told(&|settings| settings.from = "mfa@bücher.example".to_owned())
            .starts_with("from is not an address")
    );
    let languages = "there are no templates for the language; choose one of de, en";
    assert_eq!(told(&|settings| settings.language = "fr".to_owned()), languages);
    assert_eq!(told(&|settings| settings.connections = 0), "connections must be 1 to 64");
    assert_eq!(
        told(&|settings| settings.roots = Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec())),
        "the CA certificates cannot be used"
    );
    assert!(
        told(&|settings| settings.url = "file:/dev/null/x".parse().unwrap())
            .starts_with("/dev/null/x is not a writable folder")
    );
}

#[test]
fn nothing_shows_a_password_or_a_code() {
    let url: EmailUrl = "smtps://app:s3cret@mail.example.com".parse().unwrap();
    let settings = EmailSettings::new(url, "mfa@example.com");
    assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
}
