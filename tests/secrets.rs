//! No secret and no code leaks to a log, an answer or a file.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use mfa_tests::{Authenticator, Server, ServerOptions, altered, binary};
use serde_json::json;
use sqlx::Connection;

use crate::{postgres, redis};

/// All secrets of a user who was taken through the whole API.
struct Issued {
    /// Texts that must not be found, in any case.
    texts: Vec<String>,
    /// Raw bytes that must not be found.
    bytes: Vec<Vec<u8>>,
}

/// Takes users through every call, valid and invalid; returns what must stay secret.
async fn whole_life(server: &Server) -> Issued {
    let client = &server.client;
    let mut texts = vec![client.key().to_owned()];
    let mut bytes = Vec::new();
    for kind in ["totp", "hotp"] {
        let user = format!("life-{kind}");
        let offer = json!({ "kind": kind, "label": "Phone of life" });
        let enrolment = client.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201).json;
        let secret = enrolment[kind]["secret"].as_str().unwrap().to_owned();
        bytes.push(BASE32_NOPAD.decode(secret.as_bytes()).unwrap());
        texts.push(secret);
        let phone = Authenticator::scan(&enrolment);
        let code =
            |n: u32| if kind == "hotp" { phone.hotp(n.into()) } else { phone.totp(i64::from(n) * 30 - 30) };
        texts.extend((0..3).map(code));

        let confirm = format!("/v1/users/{user}/factors/{}/confirm", phone.factor);
        let wrong = phone.wrong(1);
        client.post(&confirm, json!({ "code": wrong })).await.expect_problem(401, "invalid-code");
        let confirmed = client.post(&confirm, json!({ "code": code(0) })).await.expect(200).json;
        let backup: Vec<_> =
            confirmed["backup_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        texts.extend(backup.iter().map(ToString::to_string));
        texts.extend(backup.iter().map(|code| code.replace('-', "")));

        let nonce = format!("session-{user}-5f0c1d");
        let verified = client.verify_in(&user, &code(1), &nonce).await.expect(200);
        client.verify_in(&user, &code(1), &nonce).await.expect_problem(401, "invalid-code");
        let (assertion, forged) = (verified.assertion(), altered(verified.assertion()));
        let factors = format!("/v1/users/{user}/factors");
        // The second nonce is too long.
        for (proof, nonce, status) in [(forged.as_str(), nonce.as_str(), 403), (assertion, assertion, 422)] {
            let body = json!({ "kind": "totp", "label": "Other", "proof": proof, "nonce": nonce });
            let refused = client.post(&factors, body).await.expect(status);
            assert!(!refused.text.contains(proof), "{}", refused.text);
        }
        let by_backup_code = client.verify(&user, backup[0]).await.expect(200);
        let session = client.in_session(&by_backup_code);
        texts.push(nonce);
        for assertion in [assertion, forged.as_str(), by_backup_code.assertion()] {
            // The header is the same for all.
            texts.extend(assertion.split('.').skip(1).map(str::to_owned));
        }
        client.verify(&user, backup[0]).await.expect_problem(401, "invalid-code");
        let path = format!("/v1/users/{user}/verify");
        for body in [
            format!(r#"{{"code": {wrong}}}"#),
            format!(r#"{{"code": "{wrong}", "code": "{wrong}"}}"#),
            format!(r#"{{"code": "{wrong}", "factor": {wrong}}}"#),
            format!(r#"{{"code": ["{wrong}"]}}"#),
            format!(r#"{{"code": "{wrong}""#),
            format!(r#""{wrong}""#),
        ] {
            let answer = client.send("POST", &path, Some(body)).await.expect_problem(422, "invalid-request");
            assert!(!answer.text.contains(&wrong), "{}", answer.text);
        }
        texts.push(wrong);
        let fresh =
            session.send("POST", &format!("/v1/users/{user}/backup-codes"), None).await.expect(201).json;
        texts
            .extend(fresh["backup_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()));

        let imported = "MZXW6YTBOJTG633CMFZGM33PMJQXEZTP";
        let import = json!({ "kind": "totp", "label": "Token", "secret": imported });
        // New codes end a proof by an old one.
        client.in_session(&verified).post(&factors, import).await.expect(201);
        bytes.push(BASE32_NOPAD.decode(imported.as_bytes()).unwrap());
        texts.push(imported.to_owned());

        // No later read returns any of it.
        for path in ["", "/events"] {
            let answer = client.get(&format!("/v1/users/{user}{path}")).await.expect(200);
            assert_clean(answer.text.as_bytes(), "an answer", &texts, &bytes);
        }
        let reason = json!({ "reason": "the end" });
        client.post(&format!("/v1/users/{user}/reset"), reason).await.expect(204);
    }
    client
        .with_key(Some("mfa_abc_wrongwrongwrongwrongwrongwrongwrongwrongwro"))
        .get("/v1/users/x")
        .await
        .expect(401);
    texts.push("wrongwrongwrongwrongwrongwrongwrongwrongwro".to_owned());
    let metrics = client.get("/metrics").await.expect(200);
    assert_clean(metrics.text.as_bytes(), "/metrics", &texts, &bytes);
    Issued { texts, bytes }
}

/// Six digits may occur by chance, in a time or a hash; there, only whole words count.
fn assert_clean(haystack: &[u8], what: &str, texts: &[String], bytes: &[Vec<u8>]) {
    let lower = haystack.to_ascii_lowercase();
    let found = |needle: &[u8]| {
        let alone = needle.len() < 9;
        let edge = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
        lower.windows(needle.len()).enumerate().any(|(at, window)| {
            let whole =
                edge(at.checked_sub(1).and_then(|at| lower.get(at))) && edge(lower.get(at + needle.len()));
            window == needle && (!alone || whole)
        })
    };
    for text in texts {
        assert!(!found(text.to_ascii_lowercase().as_bytes()), "{what} holds {text}");
    }
    for raw in bytes {
        let forms = [
            raw.clone(),
            HEXLOWER.encode(raw).into_bytes(),
            BASE64.encode(raw).to_ascii_lowercase().into_bytes(),
        ];
        for form in forms {
            assert!(
                !lower.windows(form.len()).any(|window| window == form.to_ascii_lowercase()),
                "{what} holds a raw secret"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_at_trace_level_logs_no_secret_and_no_code() {
    for format in ["text", "json"] {
        let options = ServerOptions::new([("MFA_LOG", "trace"), ("MFA_LOG_FORMAT", format)]);
        let server = Server::with(binary!(), options);
        let issued = whole_life(&server).await;
        let log = server.log();
        assert!(log.len() > 10_000, "the log at trace has only {} bytes", log.len());
        assert_clean(log.as_bytes(), "the log", &issued.texts, &issued.bytes);
    }
}

/// Takes users through all calls on a store, and searches copies of its data.
async fn a_copy_holds_nothing_in_the_clear(store: &str, copies: impl AsyncFnOnce(&Path) -> Vec<Vec<u8>>) {
    let mut server = Server::with(binary!(), ServerOptions::new([("MFA_STORE", store)]));
    let issued = whole_life(&server).await;
    let (phone, _) = server.client.enrol("stays", "totp").await;
    server.client.verify("stays", &phone.totp(0)).await.expect(200);
    assert!(server.terminate().success());
    let long: Vec<_> = issued.texts.into_iter().filter(|text| text.len() > 8).collect();
    let copies = copies(server.data()).await;
    let about_us = |copy: &Vec<u8>| copy.windows(5).any(|window| window == b"stays");
    assert!(copies.iter().any(about_us), "the copies do not contain the database");
    for copy in copies {
        assert_clean(&copy, store, &long, &issued.bytes);
    }
}

/// The contents of the files in a folder whose names start with `begin`.
fn files(folder: &Path, begin: &str) -> Vec<Vec<u8>> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let ours = paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin));
    ours.map(|path| std::fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_database_holds_no_secret_in_the_clear() {
    a_copy_holds_nothing_in_the_clear("sqlite:mfa.db", async |data| files(data, "mfa.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_postgresql_hold_no_secret_in_the_clear() {
    let url = postgres::database().await;
    let rows = async |_: &Path| {
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'mfa'";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut copies = Vec::new();
        for table in tables {
            let rows = format!("SELECT coalesce(string_agg(t::text, chr(10)), '') FROM mfa.{table} t");
            let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows));
            copies.push(rows.fetch_one(&mut connection).await.unwrap().into_bytes());
        }
        copies
    };
    a_copy_holds_nothing_in_the_clear(&url, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_redis_hold_no_secret_in_the_clear() {
    let redis = redis::Server::durable();
    let log = redis.folder().join("data/appendonlydir");
    a_copy_holds_nothing_in_the_clear(&redis.url(), async |_| files(&log, "appendonly")).await;
}

/// Runs SQL on a server's database.
async fn sql(data: &Path, statement: &'static str) -> u64 {
    let url = format!("sqlite:{}", data.join("mfa.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    done.rows_affected()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_moved_to_another_row_does_not_open_and_costs_nothing() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (alices, _) = client.enrol("alice", "totp").await;
    let (bobs, _) = client.enrol("bob", "totp").await;
    let moved = sql(
        server.data(),
        "UPDATE accounts SET factors = json_set(factors, '$[0].secret', (SELECT secret FROM factors \
           WHERE account = (SELECT id FROM accounts WHERE user = 'alice'))) \
         WHERE user = 'bob'",
    );
    assert_eq!(moved.await, 1, "one row was changed");
    for code in [alices.totp(0), bobs.totp(0), bobs.wrong(1)] {
        let answer = client.verify("bob", &code).await.expect_problem(503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(client.count_events("bob", "verification_failed").await, 0);
    assert_eq!(client.count_events("bob", "verified").await, 0);
    client.verify("alice", &alices.totp(0)).await.expect(200);
}
