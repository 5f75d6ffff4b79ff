//! Backup codes and randomness.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::Connection;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_67507_one_of_50_parallel_uses_of_a_code() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(1, 6) {
            let user = format!("user-{round}");
            let (_, codes) = client.enrol(&user, "hotp").await;
            let bare = codes[0].replace('-', "");
            let spellings = [codes[0].clone(), bare.to_uppercase(), bare.replace('1', "I").replace('0', "o")];
            let posts = (0..50).map(|number| client.verify(&user, &spellings[number % 3]));
            let answers = join_all(posts).await;
            assert_eq!(verified(&answers), 1, "round {round}");
            let status = client.get(&format!("/v1/users/{user}")).await.json;
            assert_eq!(status["backup_codes"]["remaining"], 9, "round {round}");
            unlock(client, &user).await;
            client.verify(&user, &codes[0]).await.expect_problem(401, "invalid-code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_26106_appwrite_11692_different_codes_in_parallel_are_all_spent() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(1, 6) {
            let user = format!("user-{round}");
            let (_, codes) = client.enrol(&user, "hotp").await;
            let answers = join_all(codes.iter().map(|code| client.verify(&user, code))).await;
            assert_eq!(verified(&answers), 10, "round {round}");
            let mut left: Vec<_> = answers
                .iter()
                .map(|answer| answer.json["backup_codes_remaining"].as_u64().unwrap())
                .collect();
            left.sort_unstable();
            assert_eq!(left, (0..10).collect::<Vec<_>>(), "round {round}");
            let again = join_all(codes.iter().map(|code| client.verify(&user, code))).await;
            assert_eq!((verified(&again), count(&again, "invalid-code")), (0, 10), "round {round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_45168_cve_2022_45174_any_string_is_no_backup_code() {
    on_every_store(async |server| {
        let client = &server.client;
        let (_, codes) = client.enrol("alice", "hotp").await;
        let cut = &codes[0][..codes[0].len() - 1];
        let longer = format!("{}0", codes[0]);
        let twice = format!("{} {}", codes[0], codes[1]);
        let not_codes =
            ["", " ", "-", "null", "true", "*", "%", "' OR 1=1 --", "undefined", cut, &longer, &twice];
        for text in not_codes {
            client.verify("alice", text).await.expect_problem(422, "malformed-code");
        }
        assert_eq!(evaluated(client, "alice").await, 0);
        // A well-formed guess is charged like a code of an authenticator.
        for number in 0..5 {
            let code = nobodys_backup_code(number);
            client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        }
        client.verify("alice", &codes[0]).await.expect_problem(429, "locked");
        assert_eq!(evaluated(client, "alice").await, 5);
        let status = client.get("/v1/users/alice").await.json;
        assert_eq!(status["backup_codes"]["remaining"], 10);
    })
    .await;
}

/// 16 characters out of 32 are 80 bits if every character takes every value and no code repeats.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_12628_of_thousands_of_codes_none_is_there_twice() {
    let sets = rounds(10, 50);
    let options = swift([("MFA_STORE", "memory:"), ("MFA_BACKUP_CODES_SET_SIZE", "50")]);
    let server = Server::with(binary!(), options);
    let issued = join_all((0..4).map(async |number| {
        let user = format!("user-{number}");
        let (token, mut codes) = server.client.enrol(&user, "hotp").await;
        let verified = server.client.verify(&user, &token.hotp(1)).await.expect(200);
        let session = server.client.in_session(&verified);
        for _ in 1..sets {
            codes.extend(texts(&reissue(&session, &user).await.expect(201).json["backup_codes"]));
        }
        codes
    }));
    let codes: Vec<_> = issued.await.concat();
    assert_eq!(codes.len(), 4 * 50 * sets);
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "a code was issued twice");
    let bare: Vec<Vec<u8>> = codes.iter().map(|code| code.replace('-', "").into_bytes()).collect();
    // 2,000 or 10,000 draws out of 32: the chance that one is drawn so rarely is less than 1 in 10^9.
    let fewest = rounds(15, 200);
    for place in 0..16 {
        for symbol in "0123456789abcdefghjkmnpqrstvwxyz".bytes() {
            let drawn = bare.iter().filter(|code| code[place] == symbol).count();
            assert!(drawn > fewest, "{} was drawn {drawn} times at place {place}", char::from(symbol));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_codes_class_a_dump_holds_no_code_and_each_set_its_salt() {
    let mut server = Server::with(binary!(), swift([]));
    let mut codes = Vec::new();
    for user in ["alice", "bob"] {
        let (token, first) = server.client.enrol(user, "hotp").await;
        let verified = server.client.verify(user, &token.hotp(1)).await.expect(200);
        let session = server.client.in_session(&verified);
        codes.extend(first);
        codes.extend(texts(&reissue(&session, user).await.expect(201).json["backup_codes"]));
    }
    assert!(server.terminate().success());
    let file = server.data().join("mfa.db");
    let dump = std::fs::read(&file).unwrap();
    for code in codes.iter().flat_map(|code| [code.clone(), code.replace('-', "")]) {
        for spelling in [code.to_uppercase(), code] {
            let found = dump.windows(spelling.len()).any(|window| window == spelling.as_bytes());
            assert!(!found, "the database holds {spelling}");
        }
    }
    let url = format!("sqlite:{}", file.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let schemes: Vec<String> =
        sqlx::query_scalar("SELECT scheme FROM backup_code_sets").fetch_all(&mut connection).await.unwrap();
    let lengths: Vec<i64> =
        sqlx::query_scalar("SELECT length(hash) FROM backup_codes").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(schemes.len(), 2);
    assert_ne!(schemes[0], schemes[1], "one salt for two users");
    for scheme in schemes {
        let salt = scheme.strip_prefix("argon2id$v=19$m=1024,t=1,p=1$").unwrap();
        assert_eq!(salt.len(), 22, "16 bytes in base64");
    }
    assert_eq!(lengths, [16; 20]);
}

/// The shortest of several tries, since a busy machine only adds time.
async fn fastest(tries: usize, mut call: impl AsyncFnMut(usize)) -> Duration {
    let mut fastest = Duration::MAX;
    for number in 0..tries {
        #[expect(clippy::disallowed_methods, reason = "a duration of the test")]
        let started = Instant::now();
        call(number).await;
        fastest = fastest.min(started.elapsed());
    }
    fastest
}

#[tokio::test(flavor = "multi_thread")]
async fn argon2_flood_class_one_hash_a_guess_and_none_while_locked() {
    let guess = async |set_size: &str| {
        let options = ServerOptions::new([
            ("MFA_STORE", "memory:"),
            ("MFA_ARGON2_MEMORY_KIB", "32768"),
            ("MFA_REQUEST_TIMEOUT", "60s"),
            ("MFA_BACKUP_CODES_SET_SIZE", set_size),
            ("MFA_BACKUP_CODES_LOW", "0"),
            ("MFA_THROTTLE_REFUSAL_DELAY", "0s"),
            ("MFA_THROTTLE_BACKUP_CODE", "1000/1h"),
        ]);
        let server = Server::with(binary!(), options);
        let (token, codes) = server.client.enrol("alice", "hotp").await;
        let wrong = async |number| {
            let answer = server.client.verify("alice", &nobodys_backup_code(number)).await;
            answer.expect_problem(401, "invalid-code");
        };
        let open = fastest(5, wrong).await;
        let locked = fastest(20, async |_| {
            server.client.verify("alice", &codes[0]).await.expect_problem(429, "locked");
        });
        let locked = locked.await;
        unlock(&server.client, "alice").await;
        // Malformed codes and codes of an authenticator are not hashed either.
        let malformed = fastest(20, async |_| {
            server.client.verify("alice", "zzzz-zzzz").await.expect_problem(422, "malformed-code");
        });
        let malformed = malformed.await;
        let one_time = fastest(4, async |number| {
            server.client.verify("alice", &token.wrong(number)).await.expect_problem(401, "invalid-code");
        });
        (open, locked, malformed, one_time.await)
    };
    let (one, ..) = guess("1").await;
    let (thirty, locked, malformed, one_time) = guess("30").await;
    assert!(thirty < 8 * one, "{thirty:?} with 30 codes, {one:?} with one");
    for (what, time) in [("locked", locked), ("malformed", malformed), ("one-time password", one_time)] {
        assert!(4 * time < thirty, "{what}: {time:?}, and a hash takes {thirty:?}");
    }
}

/// An old code is used while new ones are issued: it is accepted before, or rejected after.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_code_races_the_new_ones() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, mut codes) = client.enrol("alice", "hotp").await;
        for round in 0..rounds(2, 12) as u64 {
            let login = client.verify("alice", &token.hotp(round + 1)).await.expect(200);
            let session = client.in_session(&login);
            let old = codes[0].clone();
            let (fresh, answers) = tokio::join!(
                reissue(&session, "alice"),
                join_all((0..4).map(|_| client.verify("alice", &old)))
            );
            codes = texts(&fresh.expect(201).json["backup_codes"]);
            assert!(verified(&answers) <= 1, "round {round}");
            client.verify("alice", &old).await.expect_problem(401, "invalid-code");
            let status = client.get("/v1/users/alice").await.json;
            assert_eq!(status["backup_codes"]["remaining"], 10, "round {round}");

            // Each use has an event, which precedes the issue of the codes that replaced it.
            let events = client.events("alice").await;
            let at = |kind: &str| events.iter().rposition(|event| event["kind"] == kind);
            let used = events.iter().rposition(|event| {
                event["detail"]["factor_kind"] == "backup_code" && event["kind"] == "verified"
            });
            if verified(&answers) == 1 {
                assert!(used < at("backup_codes_issued"), "round {round}");
            }
            unlock(client, "alice").await;
        }
    })
    .await;
}
