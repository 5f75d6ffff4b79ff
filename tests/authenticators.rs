//! Codes of third-party authenticators verify, and third-party readers read our QR codes.
//!
//! `cargo xtask tools` installs the programs. The tests fail if one is missing.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use mfa_tests::{Client, Server, binary};
use serde_json::{Value, json};

/// Every algorithm and number of digits, and a non-default period.
const PARAMETERS: [(&str, u8, u64); 5] =
    [("SHA1", 6, 30), ("SHA1", 7, 30), ("SHA256", 8, 30), ("SHA512", 6, 30), ("SHA1", 6, 60)];

/// Runs a program and returns its output. Panics if it is missing or fails.
fn run(program: impl AsRef<Path>, arguments: &[&str], input: &str) -> String {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).env("QT_QPA_PLATFORM", "offscreen");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child
        .unwrap_or_else(|error| panic!("{} is needed ({error}): run `cargo xtask tools`", program.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed: {errors}", program.display());
    String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
}

async fn offer(client: &Client, user: &str, (algorithm, digits, period): (&str, u8, u64)) -> Value {
    let body = json!({
        "kind": "totp", "label": "App", "algorithm": algorithm, "digits": digits, "period": period,
        "issuer": "Big Co", "account_name": "alice",
    });
    client.post(&format!("/v1/users/{user}/factors"), body).await.expect(201).json
}

/// Enrols a user with each set of parameters, and confirms with the code that `app` shows.
async fn confirm_with(name: &str, app: impl Fn(&Value, (&str, u8, u64)) -> String) {
    let server = Server::start(binary!());
    for (number, parameters) in PARAMETERS.into_iter().enumerate() {
        let user = format!("{name}-{number}");
        let enrolment = offer(&server.client, &user, parameters).await;
        let id = enrolment["factor"]["id"].as_str().unwrap();
        let path = format!("/v1/users/{user}/factors/{id}/confirm");
        let code = app(&enrolment["totp"], parameters);
        assert_eq!(code.len(), usize::from(parameters.1), "{name} shows {code} for {parameters:?}");
        server.client.post(&path, json!({ "code": code })).await.expect(200);
        server.client.verify(&user, &code).await.expect_problem(401, "invalid-code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_oathtool_verify() {
    confirm_with("oathtool", |totp, (algorithm, digits, period)| {
        let mode = format!("--totp={}", algorithm.to_ascii_lowercase());
        let (digits, period) = (digits.to_string(), format!("{period}s"));
        let secret = totp["secret"].as_str().unwrap();
        run("oathtool", &[&mode, "--base32", "--digits", &digits, "--time-step-size", &period, secret], "")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hotp_codes_of_oathtool_verify_and_count_once() {
    let server = Server::start(binary!());
    let body = json!({ "kind": "hotp", "label": "Token" });
    let enrolment = server.client.post("/v1/users/hotp/factors", body).await.expect(201).json;
    let secret = enrolment["hotp"]["secret"].as_str().unwrap();
    let code =
        |counter: u8| run("oathtool", &["--hotp", "--base32", "--counter", &counter.to_string(), secret], "");
    let id = enrolment["factor"]["id"].as_str().unwrap();
    let confirm = format!("/v1/users/hotp/factors/{id}/confirm");
    server.client.post(&confirm, json!({ "code": code(0) })).await.expect(200);
    server.client.verify("hotp", &code(0)).await.expect_problem(401, "invalid-code");
    server.client.verify("hotp", &code(3)).await.expect(200);
    server.client.verify("hotp", &code(2)).await.expect_problem(401, "invalid-code");
    server.client.verify("hotp", &code(8)).await.expect_problem(401, "invalid-code");
    let codes = json!({ "codes": [code(20), code(21)] });
    server.client.post(&format!("/v1/users/hotp/factors/{id}/resynchronise"), codes).await.expect(200);
    server.client.verify("hotp", &code(22)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_pyotp_verify() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools/bin/python");
    confirm_with("pyotp", |totp, _| {
        // From the URI alone, as an app that scanned the QR code.
        let program = "import sys, pyotp; print(pyotp.parse_uri(sys.stdin.read()).now())";
        run(&python, &["-c", program], totp["uri"].as_str().unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_keepassxc_verify() {
    let folder = tempfile::tempdir().unwrap();
    confirm_with("keepassxc", |totp, _| {
        let uri = totp["uri"].as_str().unwrap().replace('&', "&amp;");
        let entry = format!(
            "<Entry><String><Key>Title</Key><Value>mfa</Value></String>\
             <String><Key>otp</Key><Value>{uri}</Value></String></Entry>"
        );
        let xml = folder.path().join("import.xml");
        let group = format!("<Root><Group><Name>Root</Name>{entry}</Group></Root>");
        std::fs::write(&xml, format!("<?xml version=\"1.0\"?><KeePassFile><Meta/>{group}</KeePassFile>"))
            .unwrap();
        let database = folder.path().join("test.kdbx");
        let _ = std::fs::remove_file(&database);
        let (xml, database) = (xml.to_str().unwrap(), database.to_str().unwrap());
        run("keepassxc-cli", &["import", "--set-password", xml, database], "password\npassword\n");
        run("keepassxc-cli", &["show", "--quiet", "--totp", database, "mfa"], "password\n")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zbarimg_reads_the_qr_code_back_to_exactly_the_uri() {
    let server = Server::start(binary!());
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ("ACME", "alice"),
        ("Big Co", "alice+work@example.com"),
        ("Bäckerei Müller & Söhne", "jörg größe"),
        ("例え株式会社", "山田 太郎"),
        ("a/b?c=d&e%f", "100% + 1"),
    ];
    for (number, (issuer, account)) in names.into_iter().enumerate() {
        let body = json!({ "kind": "totp", "label": "App", "issuer": issuer, "account_name": account });
        let path = format!("/v1/users/qr-{number}/factors");
        let enrolment = server.client.post(&path, body).await.expect(201).json;
        let png = enrolment["totp"]["qr_png"].as_str().unwrap();
        let png = BASE64.decode(png.strip_prefix("data:image/png;base64,").unwrap().as_bytes()).unwrap();
        let file: PathBuf = folder.path().join(format!("{number}.png"));
        std::fs::write(&file, png).unwrap();
        let read = run("zbarimg", &["--quiet", "--raw", "--oneshot", file.to_str().unwrap()], "");
        assert_eq!(read, enrolment["totp"]["uri"].as_str().unwrap());
        assert!(!read.contains('+') && !read.contains(' '), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zbarimg_reads_what_a_terminal_shows() {
    let server = Server::start(binary!());
    let body = json!({ "kind": "totp", "label": "App", "issuer": "Big Co", "qr": "text" });
    let enrolment = server.client.post("/v1/users/alice/factors", body).await.expect(201).json;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("terminal.pgm");
    std::fs::write(&file, screenshot(enrolment["totp"]["qr_text"].as_str().unwrap())).unwrap();
    let read = run("zbarimg", &["--quiet", "--raw", "--oneshot", file.to_str().unwrap()], "");
    assert_eq!(read, enrolment["totp"]["uri"].as_str().unwrap());
}

/// The terminal's picture of a QR code as a grey image (PGM). Each half of a character is eight pixels wide
/// and high.
fn screenshot(text: &str) -> Vec<u8> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let (_, blocks) = line.split_once("231m").unwrap();
        let (blocks, _) = blocks.split_once('\u{1b}').unwrap();
        for dark in ["▀█", "▄█"] {
            let modules = blocks.chars().map(|block| if dark.contains(block) { 0 } else { 0xff });
            rows.push(modules.flat_map(|module| [module; 8]).collect::<Vec<u8>>());
        }
    }
    let mut image = format!("P5 {} {} 255\n", rows[0].len(), rows.len() * 8).into_bytes();
    image.extend(rows.iter().flat_map(|row| row.repeat(8)));
    image
}
