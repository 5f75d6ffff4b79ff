//! Checkpoints, the key that signs them, and the server that writes them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mfa_tests::{Server, ServerOptions, binary};
use serde_json::{Value, json};

use super::installation::{Installation, Kind, command};

/// The README's instructions for a verifier that does not trust this program.
#[tokio::test]
async fn openssl_checks_a_checkpoint() {
    let installation = Installation::new(Kind::Sqlite).await;
    installation.happen("alice", 3).await;
    installation.json("audit checkpoint --out monday.jsonl").await;
    let public = installation.run("audit public-key").await.stdout;
    std::fs::write(installation.path("audit-public.pem"), public).unwrap();
    let readme = include_str!("../../crates/mfa-server/README.md");
    let start = readme.find("printf 'mfa-checkpoint-1").unwrap();
    let script = &readme[start..start + readme[start..].find("```").unwrap()];
    let check = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(installation.folder.path()).output().unwrap()
    };
    let good = check();
    assert!(good.status.success(), "{good:?}");
    let text = std::fs::read_to_string(installation.path("monday.jsonl")).unwrap();
    std::fs::write(installation.path("monday.jsonl"), text.replace("alice", "alicf")).unwrap();
    assert!(!check().status.success());
}

/// The signing key is created once and readable by its owner only, no command prints it, and a damaged one is
/// not replaced.
#[tokio::test]
async fn the_signing_key_stays_where_it_is() {
    use std::os::unix::fs::PermissionsExt;

    let installation = Installation::new(Kind::Sqlite).await;
    installation.happen("alice", 1).await;
    let output = installation.run("audit verify --checkpoint cp.jsonl").await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let public = installation.run("audit public-key").await.stdout;
    let path = installation.path("audit-signing.pem");
    let secret = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let written = installation.run("audit checkpoint --out cp.jsonl").await;
    let checkpoint = std::fs::read_to_string(installation.path("cp.jsonl")).unwrap();
    let line = secret.lines().nth(1).unwrap();
    for text in [&written.stdout, &written.stderr, &public, checkpoint.as_bytes()] {
        assert!(!String::from_utf8_lossy(text).contains(line));
    }
    assert_eq!(installation.run("audit public-key").await.stdout, public);

    std::fs::write(installation.path("public.pem"), &public).unwrap();
    std::fs::remove_file(&path).unwrap();
    let with_key = "--checkpoint cp.jsonl --public-key public.pem";
    assert_eq!(installation.broken(with_key).await, []);
    installation.run("audit public-key").await;
    let other = installation.run("audit verify --checkpoint cp.jsonl").await;
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("it is signed with key"), "{other:?}");
    std::fs::write(&path, secret.replace("PRIVATE", "PUBLIC")).unwrap();
    for command in ["audit public-key", "audit checkpoint --out cp2.jsonl"] {
        let output = installation.run(command).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(line));
    }
    assert!(!installation.path("cp2.jsonl").exists());
}

/// A server writes checkpoints by itself, each linked to the previous one, and continues the series after a
/// restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_checkpoints_when_they_are_due() {
    let installation = Installation::new(Kind::Postgres).await;
    installation.happen("alice", 3).await;
    let mut server = Server::with(
        binary!(),
        ServerOptions::new([
            ("MFA_STORE", installation.url.as_str()),
            ("MFA_AUDIT_CHECKPOINT_DIR", "checkpoints"),
            ("MFA_AUDIT_CHECKPOINT_EVERY", "1s"),
        ]),
    );
    // Files with other names, or written with a wrong clock, are not part of the series.
    for other in OTHERS {
        std::fs::write(server.data().join("checkpoints").join(other), "").unwrap();
    }
    let before = checkpoints(&server, 2).await.len();
    assert!(server.log().contains("a key that signs checkpoints was created"), "{}", server.log());
    server.kill();
    server.restart();
    checkpoints(&server, before + 1).await;
    server.kill();
    for pair in checkpoints(&server, before + 1).await.windows(2) {
        let text = std::fs::read_to_string(&pair[1]).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let sum = Command::new("sha256sum").arg(&pair[0]).output().unwrap().stdout;
        assert_eq!(header["previous"].as_str(), str::from_utf8(&sum).unwrap().get(..64), "{header}");
        let line = format!("audit verify --checkpoint {} --json", pair[1].display());
        let output = command(server.data(), &installation.url, &line).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        // With that of the keys that sign assertions.
        assert_eq!((&answer["accounts"], &answer["broken"]), (&json!(2), &json!([])));
    }
}

/// Files with other names and times.
const OTHERS: [&str; 2] = ["checkpoint-before-upgrade.jsonl", "checkpoint-2999-01-01T00-00-00Z.jsonl"];

/// The checkpoints that a server has written, oldest first, once there are `count`.
async fn checkpoints(server: &Server, count: usize) -> Vec<PathBuf> {
    for _ in 0..600 {
        let files = std::fs::read_dir(server.data().join("checkpoints")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().unwrap() == "jsonl");
        let mut files: Vec<_> =
            files.filter(|path| !OTHERS.iter().any(|other| path.ends_with(other))).collect();
        if files.len() >= count {
            files.sort();
            return files;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{count} checkpoints were not written: {}", server.log());
}
