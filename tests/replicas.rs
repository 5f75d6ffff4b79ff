//! Two server processes on one PostgreSQL: each sees the changes of the other. `faults/` has races and
//! faults.

#![allow(clippy::unwrap_used, reason = "test code")]

use futures_util::future::join_all;
use mfa_tests::{Server, ServerOptions, binary, program};
use sqlx::{Connection, Executor, PgConnection};

use crate::{postgres, redis};

/// Two servers with one key ring on one new database, and its URL.
async fn replicas() -> (Server, Server, String) {
    let url = postgres::database().await;
    let options = ServerOptions::new([("MFA_STORE", url.as_str())]);
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    (one, other, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_answered_the_other_knows_and_a_killed_one_loses_nothing() {
    let (mut one, other, _) = replicas().await;
    let (token, _) = one.client.enrol("alice", "hotp").await;
    for counter in 1..10 {
        let (here, there) = if counter % 2 == 0 { (&one, &other) } else { (&other, &one) };
        here.client.verify("alice", &token.hotp(counter)).await.expect(200);
        there.client.verify("alice", &token.hotp(counter)).await.expect_problem(401, "invalid-code");
    }
    one.kill();
    other.client.verify("alice", &token.hotp(10)).await.expect(200);
    one.restart();
    one.client.verify("alice", &token.hotp(11)).await.expect(200);
    assert_eq!(one.client.count_events("alice", "verified").await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_key_ring_of_the_others_is_refused() {
    let (one, _other, url) = replicas().await;
    let stranger = tempfile::tempdir().unwrap();
    let output = program(binary!())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(stranger.path())
        .env("MFA_STORE", &url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the key ring is missing"), "{output:?}");
    one.client.enrol("alice", "totp").await;
}

/// They run on different machines and share only the database.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_starts_at_once_one_makes_a_key_ring_and_the_others_are_told_to_copy_it() {
    one_makes_a_key_ring(&postgres::database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_starts_on_one_redis_one_makes_a_key_ring_as_well() {
    let redis = redis::Server::durable();
    one_makes_a_key_ring(&redis.url()).await;
    // The turn is over, so no server waits for it.
    assert_eq!(redis.cli(&["EXISTS", "mfa:turn:{turn}"]), "0");
}

async fn one_makes_a_key_ring(url: &str) {
    let wrong = tempfile::tempdir().unwrap();
    let mut create = tokio::process::Command::from(program(binary!()));
    create.args(["api-key", "create", "--scope", "verify", "--data-dir"]).arg(wrong.path());
    let output = create.env("MFA_STORE", url).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!wrong.path().join("keyring.toml").exists());

    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let starts = folders.iter().map(|folder| {
        let mut command = tokio::process::Command::from(program(binary!()));
        command.args(["api-key", "create", "--init", "--scope", "verify", "--data-dir"]).arg(folder.path());
        command.env("MFA_STORE", url).output()
    });
    let started: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    let codes: Vec<_> = started.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{started:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(3)).count(), 3, "{started:?}");
    let rings = folders.iter().filter(|folder| folder.path().join("keyring.toml").exists());
    assert_eq!(rings.count(), 1);
}

/// The first API key is what keeps a second server from creating another key ring.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_makes_no_key_makes_no_installation_on_a_shared_database() {
    let url = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    let output = program(binary!())
        .args(["serve", "--no-key", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("MFA_STORE", &url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("there is no installation in"), "{told}");
    assert!(told.contains("`api-key create --init` creates one"), "{told}");
    assert!(!folder.path().join("keyring.toml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_major_version_is_refused_by_an_older_program() {
    let (mut one, other, url) = replicas().await;
    let (token, _) = one.client.enrol("alice", "hotp").await;
    let mut newer = PgConnection::connect(&url).await.unwrap();
    newer.execute("INSERT INTO mfa.migrations (major, minor) VALUES (2, 0)").await.unwrap();
    // Running servers continue; a starting one refuses.
    other.client.verify("alice", &token.hotp(1)).await.expect(200);
    assert!(one.terminate().success());
    let output = program(binary!())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(one.data())
        .env("MFA_STORE", &url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("a newer version of this program wrote the database"), "{told}");
}
