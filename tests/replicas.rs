//! Two server processes on one PostgreSQL: each promise holds over both.

#![allow(clippy::unwrap_used, reason = "test code")]

use futures_util::future::join_all;
use mfa_tests::{Client, Server, ServerOptions, binary};
use sqlx::{Connection, Executor, PgConnection};

#[path = "../crates/mfa-store-postgres/tests/support/server.rs"]
mod postgres;

const ROUNDS: usize = 20;

/// Two servers with one key ring on one new database, and its URL.
async fn replicas() -> (Server, Server, String) {
    let url = postgres::database().await;
    let options = ServerOptions::new([("MFA_STORE", url.as_str())]);
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    (one, other, url)
}

/// Posts codes at once, by turns to either server; the answers by what they are.
async fn post(clients: [&Client; 2], user: &str, codes: &[String]) -> (usize, usize, usize) {
    let answers = join_all(codes.iter().enumerate().map(|(n, code)| clients[n % 2].verify(user, code))).await;
    let problems = |name| answers.iter().filter(|answer| answer.problem() == name).count();
    let verified = answers.iter().filter(|answer| answer.status == 200).count();
    (verified, problems("invalid-code"), problems("locked"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_to_two_servers_counts() {
    let (one, other, _) = replicas().await;
    let clients = [&one.client, &other.client];
    for round in 0..ROUNDS {
        for kind in ["totp", "hotp"] {
            let user = format!("race-{kind}-{round}");
            let (device, backup_codes) = clients[round % 2].enrol(&user, kind).await;
            let code = if kind == "totp" { device.totp(0) } else { device.hotp(1) };
            let (verified, invalid, locked) = post(clients, &user, &vec![code; 64]).await;
            assert_eq!((verified, invalid + locked), (1, 63), "{user}");
            assert_eq!(other.client.count_events(&user, "verified").await, 1, "{user}");
            assert_eq!(one.client.count_events(&user, "verification_failed").await, invalid, "{user}");
            let (verified, _, _) = post(clients, &user, &vec![backup_codes[0].clone(); 2]).await;
            assert!(verified <= 1, "{user}: a backup code counted {verified} times");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_of_200_parallel_guesses_to_two_servers_are_evaluated() {
    let (one, other, _) = replicas().await;
    let clients = [&one.client, &other.client];
    for round in 0..3 {
        let user = format!("guess-{round}");
        let (device, _) = clients[0].enrol(&user, "totp").await;
        let wrong: Vec<_> = (0..200).map(|n| device.wrong(n)).collect();
        assert_eq!(post(clients, &user, &wrong).await, (0, 5, 195), "{user}");
        assert_eq!(clients[1].count_events(&user, "verification_failed").await, 5, "{user}");
        for client in clients {
            client.verify(&user, &device.totp(0)).await.expect_problem(429, "locked");
        }
    }
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
    let output = std::process::Command::new(binary!())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(stranger.path())
        .env("MFA_STORE", &url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no key ring here"), "{output:?}");
    one.client.enrol("alice", "totp").await;
}

/// On different machines, with nothing in common but the database.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_starts_at_once_one_makes_a_key_ring_and_the_others_are_told_to_copy_it() {
    let url = postgres::database().await;
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let starts = folders.iter().map(|folder| {
        let mut command = tokio::process::Command::new(binary!());
        command.args(["api-key", "create", "--scope", "verify", "--data-dir"]).arg(folder.path());
        command.env("MFA_STORE", &url).output()
    });
    let started: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    let codes: Vec<_> = started.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{started:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(3)).count(), 3, "{started:?}");
    let rings = folders.iter().filter(|folder| folder.path().join("keyring.toml").exists());
    assert_eq!(rings.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_major_version_is_refused_by_an_older_program() {
    let (mut one, other, url) = replicas().await;
    let (token, _) = one.client.enrol("alice", "hotp").await;
    let mut newer = PgConnection::connect(&url).await.unwrap();
    newer.execute("INSERT INTO mfa.migrations (major, minor) VALUES (2, 0)").await.unwrap();
    // Those that run go on; whoever starts is refused.
    other.client.verify("alice", &token.hotp(1)).await.expect(200);
    assert!(one.terminate().success());
    let output = std::process::Command::new(binary!())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(one.data())
        .env("MFA_STORE", &url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("a newer version of this program wrote the database"), "{told}");
}
