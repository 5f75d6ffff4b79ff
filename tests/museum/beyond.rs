//! Weaknesses that nobody has published yet: races between all kinds of calls, and requests that no client
//! would send.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;

use super::*;

/// Changes that may come between a code and its answer.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Revoke,
    Reset,
    Erase,
    Rename,
    Unlock,
    Replace,
}

/// A code is accepted before the change or rejected after it. Every acceptance has its event at its place in
/// the trail, and once the change is answered the code is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_races_whatever_removes_its_factor() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(1, 6) {
            for meanwhile in [
                Meanwhile::Revoke,
                Meanwhile::Reset,
                Meanwhile::Erase,
                Meanwhile::Rename,
                Meanwhile::Unlock,
                Meanwhile::Replace,
            ] {
                let user = format!("{meanwhile:?}-{round}");
                race(client, &user, meanwhile).await;
            }
        }
    })
    .await;
}

async fn race(client: &Client, user: &str, meanwhile: Meanwhile) {
    let (token, _) = client.enrol(user, "hotp").await;
    let session = client.in_session(&client.verify(user, &token.hotp(1)).await.expect(200));
    let path = format!("/v1/users/{user}");
    let factor = format!("{path}/factors/{}", token.factor);
    let (_, next) = offer(&session, user, json!({ "kind": "hotp", "replaces": token.factor })).await;
    let change = async {
        match meanwhile {
            Meanwhile::Revoke => client.delete(&factor).await.expect(204),
            Meanwhile::Reset => {
                client.post(&format!("{path}/reset"), json!({ "reason": "x" })).await.expect(204)
            }
            Meanwhile::Erase => client.delete(&path).await.expect(204),
            Meanwhile::Rename => {
                client.send("PATCH", &factor, Some(json!({ "label": "y" }).to_string())).await.expect(200)
            }
            Meanwhile::Unlock => {
                client.post(&format!("{path}/unlock"), json!({ "reason": "x" })).await.expect(204)
            }
            Meanwhile::Replace => confirm(client, user, &next.factor, &next.hotp(0)).await.expect(200),
        };
        // The change was answered, so the factor is changed from here on.
        let late = token.hotp(4);
        let survives = matches!(meanwhile, Meanwhile::Rename | Meanwhile::Unlock);
        let answer = client.verify(user, &late).await;
        assert_eq!(answer.status == 200, survives, "{user}: {}", answer.text);
        usize::from(survives)
    };
    let code = token.hotp(2);
    let (answers, late) = tokio::join!(join_all((0..3).map(|_| client.verify(user, &code))), change);
    assert!(verified(&answers) <= 1, "{user}");
    assert_eq!(client.count_events(user, "verified").await, 1 + verified(&answers) + late, "{user}");
    let events = client.events(user).await;
    let end = events
        .iter()
        .position(|event| ["factor_revoked", "reset", "erased"].contains(&event["kind"].as_str().unwrap()));
    let last = events.iter().rposition(|event| event["kind"] == "verified");
    assert!(end.is_none_or(|end| last < Some(end)), "{user}: {events:?}");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], number + 1, "{user}");
    }
}

/// One code at three endpoints at once is accepted at one of them, once.
#[tokio::test(flavor = "multi_thread")]
async fn one_code_at_every_endpoint_at_once() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(2, 8) {
            let user = format!("user-{round}");
            let (token, _) = client.enrol(&user, "hotp").await;
            let (code, next) = (token.hotp(1), token.hotp(2));
            let pair = || [code.clone(), next.clone()];
            let (verifies, resynchronised, later) = tokio::join!(
                join_all((0..2).map(|_| client.verify(&user, &code))),
                resynchronise(client, &user, &token.factor, pair()),
                resynchronise(client, &user, &token.factor, pair()),
            );
            let pairs = [resynchronised, later];
            assert!(verified(&verifies) + verified(&pairs) <= 2, "{user}");
            assert!(verified(&verifies) <= 1 && verified(&pairs) <= 1, "{user}");
            let events = client.events(&user).await;
            let at = |kind: &str| events.iter().position(|event| event["kind"] == kind);
            if let (Some(verified), Some(resynchronised)) = (at("verified"), at("factor_resynchronised")) {
                panic!("{user}: the same code at {verified} and {resynchronised}: {events:?}");
            }

            // Confirming and verifying with the first code of a factor.
            let user = format!("first-{round}");
            let (_, phone) = offer(client, &user, json!({})).await;
            let code = phone.totp(0);
            let (confirms, verifies) = tokio::join!(
                join_all((0..3).map(|_| confirm(client, &user, &phone.factor, &code))),
                join_all((0..3).map(|_| client.verify(&user, &code))),
            );
            assert_eq!((verified(&confirms), verified(&verifies)), (1, 0), "{user}");
            assert_eq!(client.count_events(&user, "factor_activated").await, 1, "{user}");
            assert_eq!(client.count_events(&user, "backup_codes_issued").await, 1, "{user}");
        }
    })
    .await;
}

/// Commands of an operator run in another process on the same database: neither side undoes changes of the
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn commands_race_the_server() {
    const COMMANDS: usize = 15;
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let running = AtomicUsize::new(COMMANDS);
    let logins = async {
        let mut counter = 1;
        while running.load(Ordering::Relaxed) > 0 {
            // A failure to be lifted. Enough of them lock the account.
            client.verify("alice", &token.wrong(1)).await;
            match client.verify("alice", &token.hotp(counter)).await {
                answer if answer.status == 200 => counter += 1,
                answer => _ = answer.expect_problem(429, "locked"),
            }
        }
        client.verify("alice", &token.hotp(counter - 1)).await.expect_problem(401, "invalid-code");
        usize::try_from(counter - 1).unwrap()
    };
    let unlock = || {
        let unlock = ["user", "unlock", "alice", "--tenant", "default", "--reason", "race"];
        let output = server.command(unlock);
        running.fetch_sub(1, Ordering::Relaxed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let logins = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..COMMANDS / 3).for_each(|_| unlock()));
        }
        tokio::task::block_in_place(|| Handle::current().block_on(logins))
    });
    assert_eq!(client.count_events("alice", "verified").await, logins);
    let unlocked = client.count_events("alice", "unlocked").await;
    assert!((1..=COMMANDS).contains(&unlocked), "{unlocked}");
    assert!(server.command(["audit", "verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_near_their_end_accept_no_code_twice() {
    on_every_store(async |server| {
        let client = &server.client;
        let end = i64::MAX.unsigned_abs();
        for counter in [end + 1, u64::MAX] {
            let body = json!({ "kind": "hotp", "label": "x", "counter": counter });
            client.post("/v1/users/beyond/factors", body).await.expect_problem(422, "invalid-request");
        }
        let (_, token) = offer(client, "alice", json!({ "kind": "hotp", "counter": end - 3 })).await;
        confirm(client, "alice", &token.factor, &token.hotp(end - 3)).await.expect(200);
        client.verify("alice", &token.hotp(end - 2)).await.expect(200);
        client.verify("alice", &token.hotp(end - 1)).await.expect(200);
        for counter in [end - 3, end - 2, end - 1, 0, 1] {
            let answer = client.verify("alice", &token.hotp(counter)).await;
            assert_ne!(answer.status, 200, "{counter}");
        }
        assert_eq!(client.count_events("alice", "verified").await, 2);
        // The code of the last counter could be used repeatedly, so it is never accepted.
        let (_, last) = offer(client, "bob", json!({ "kind": "hotp", "counter": end })).await;
        for _ in 0..2 {
            confirm(client, "bob", &last.factor, &last.hotp(end)).await.expect_problem(401, "invalid-code");
        }
    })
    .await;
}

/// Any spelling of an id in a path names that user or nobody.
#[tokio::test(flavor = "multi_thread")]
async fn spellings_of_a_user_id() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let user = |path: &str| {
        let answer = raw(&server, format!("{}\r\n", head(&server, "GET", path)).as_bytes());
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        (answer.split(' ').nth(1).unwrap_or_default().to_owned(), json)
    };
    for path in [
        "/v1/users/alice",
        "/v1/users/%61lice",
        "/%76%31/users/alice",
        "http://elsewhere/v1/users/alice",
        "/v1/users/alice?user=bob",
    ] {
        let (status, json) = user(path);
        assert_eq!(
            (status.as_str(), &json["user"], &json["enrolled"]),
            ("200", &json!("alice"), &json!(true)),
            "{path}"
        );
    }
    for path in [
        "/v1/users/Alice",
        "/v1/users/alice.",
        "/v1/users/ALICE",
        "/v1/users/.",
        "/v1/users/..",
        "/v1/users/%2561lice",
        "/v1/users/alice%20",
        "/v1/users/%20alice",
        "/v1/users/alice;x=1",
        "/v1/users/al%C3%ADce",
        "/v1/users/alice*",
        "/v1/users/alice%",
        "/v1/users/%zz",
    ] {
        let (status, json) = user(path);
        // It is another user, or no user.
        assert!(["200", "422"].contains(&status.as_str()), "{path}: {status}");
        assert_ne!(json["enrolled"], true, "{path}");
    }
    for path in [
        "/v1/users/alice%00",
        "/v1/users/alice%0a",
        "/v1/users/alice%2f",
        "/v1/users/alice%2Fevents",
        "/v1/users/..%2falice",
        "/v1/users/%ff",
        "/v1/users/%c0%ae",
        "/v1/users/bob/../alice",
        "/v1/users//alice",
        "/v1/users/alice/",
        "//v1/users/alice",
        "/v1/./users/alice",
    ] {
        let (status, json) = user(path);
        assert!(["404", "422"].contains(&status.as_str()), "{path}: {status} {json}");
        assert_ne!(json["user"], "alice", "{path}");
    }
    client.verify("alice", &token.hotp(1)).await.expect(200);
    // An encoded path means its decoded text.
    for path in ["/v1/users/a+1@x.org:b", "/v1/users/a%2B1%40x.org%3Ab", "/v1/users/a%2b1@x%2Eorg:%62"] {
        assert_eq!(user(path).1["user"], "a+1@x.org:b", "{path}");
    }
}

/// Each would create a permanent metric for a caller without a key.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_methods_and_paths_are_no_metrics_of_their_own() {
    let server = Server::with(binary!(), swift([]));
    let nobody = server.client.with_key(None);
    let lines = async || nobody.get("/metrics").await.expect(200).text.lines().count();
    for method in ["GET", "OTHER"] {
        for path in ["/healthz", "/v1/users/alice", "/nowhere", "/metrics"] {
            nobody.send(method, path, None).await;
        }
    }
    let before = lines().await;
    for number in 0..50 {
        for path in ["/healthz", &format!("/v1/users/user-{number}"), &format!("/nowhere-{number}")] {
            nobody.send(&format!("METHOD{number}"), path, None).await;
            nobody.get(path).await;
        }
    }
    assert_eq!(lines().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_no_client_would_send() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let before = client.events("alice").await;
    let verify = head(&server, "POST", "/v1/users/alice/verify");
    let json_type = "Content-Type: application/json\r\n";
    let good = json!({ "code": token.hotp(1) }).to_string();
    let post = |kind: &str, body: &[u8]| {
        let head = format!("{verify}{kind}Content-Length: {}\r\n\r\n", body.len());
        raw(&server, &[head.as_bytes(), body].concat())
    };
    let chunked = |body: &str, size: usize, end: &str| {
        let chunks = body.as_bytes().chunks(size);
        let chunks = chunks
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
            .collect::<Vec<_>>()
            .concat();
        format!("{verify}{json_type}Transfer-Encoding: chunked\r\n\r\n{chunks}{end}").into_bytes()
    };
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or("none").to_owned();

    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: text/json\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json, text/plain\r\n",
        "Content-Type: \r\n",
        "Content-Type: application/json+x\r\n",
    ] {
        assert_eq!(status(&post(kind, good.as_bytes())), "415", "{kind}");
    }
    let deep = format!("{{\"code\":{}", "[".repeat(16_000));
    let wide = format!("{{\"code\":\"123456\",\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let bodies: [&[u8]; 10] = [
        deep.as_bytes(),
        wide.as_bytes(),
        b"{\"code\":\"12345\xff\"}",
        b"\xef\xbb\xbf{\"code\":\"123456\"}",
        b"{\"code\":\"111111\",\"\\u0063ode\":\"222222\"}",
        b"{\"code\":\"\\ud800\"}",
        b"{\"Code\":\"123456\"}",
        b"{\"code\":\"123456\"}{\"code\":\"123456\"}",
        b"{\"code\":\"123456\",}",
        b"{\"__proto__\":{},\"code\":\"123456\"}",
    ];
    for body in bodies {
        let answer = post(json_type, body);
        assert_eq!(status(&answer), "422", "{answer}");
        assert!(!answer.contains("123456"), "{answer}");
    }
    let huge = format!("{good}{}", " ".repeat(16 * 1024));
    assert_eq!(status(&post(json_type, huge.as_bytes())), "413");
    assert_eq!(status(&raw(&server, &chunked(&huge, 1000, "0\r\n\r\n"))), "413");
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 30\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let answer = raw(&server, format!("{verify}{json_type}{framing}\r\n{good}").as_bytes());
        assert!(["400", "422", "501"].contains(&status(&answer).as_str()), "{framing}: {answer}");
    }
    let filler = format!("X-Filler: {}\r\n", "a".repeat(400_000));
    assert_eq!(status(&raw(&server, format!("{verify}{filler}\r\n").as_bytes())), "431");
    let many = (0..500).map(|number| format!("X-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(status(&raw(&server, format!("{verify}{many}\r\n").as_bytes())), "431");
    // Half a body, then the end of the connection.
    raw(&server, &chunked(&good, 4, "zz\r\n"));

    assert_eq!(client.events("alice").await, before);
    // In chunks of one byte it is a valid body.
    assert_eq!(status(&raw(&server, &chunked(&good, 1, "0\r\n\r\n"))), "200");
}

/// Pipelined requests on one connection are handled like others, up to the first delayed refusal.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_guesses_are_counted_and_answered_in_order() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let requests = (0..40)
        .map(|number| {
            let code = if number == 2 { token.hotp(1) } else { token.wrong(number) };
            let body = json!({ "code": code }).to_string();
            let last = if number == 39 { "Connection: close\r\n" } else { "" };
            format!(
                "POST /v1/users/alice/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{last}\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                client.key(),
                body.len()
            )
        })
        .collect::<Vec<_>>()
        .concat();
    let answer = raw(&server, requests.as_bytes());
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    let expected = [vec!["401"; 2], vec!["200"], vec!["401"; 5], vec!["429"]].concat();
    assert_eq!(statuses, expected);
    assert_eq!(evaluated(client, "alice").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_read_strictly() {
    on_every_store(async |server| {
        let client = &server.client;
        client.enrol("alice", "hotp").await;
        for query in [
            "limit=1&limit=1000",
            "after=1&after=2",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=99999999999",
            "limit=1.5",
            "after=-1",
            "after=x",
            "after=1",
            "after=9223372036854775807",
            "after=18446744073709551616",
            "after=evt_6aa7ss2xkxx434m5qycywjdudy",
            "after=EVT_6aa7ss2xkxx434m5qycywjdudy",
            "user=bob",
            "tenant=other",
            "Limit=1",
        ] {
            for path in ["/v1/events", "/v1/users/alice/events"] {
                client.get(&format!("{path}?{query}")).await.expect_problem(422, "invalid-request");
            }
        }
    })
    .await;
}

/// Names are returned unchanged in JSON, whatever they contain, and draw nothing in the QR code.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_text_and_nothing_else() {
    on_every_store(async |server| {
        let client = &server.client;
        let hostile = [
            "<script>alert(1)</script>",
            "\"/><svg onload=alert(1)>",
            "' OR 1=1; DROP TABLE factors; --",
            "</svg><image href=x>",
            "{{7*7}} ${7*7} %s %n",
            "日本語 🔑 ñ",
            "&secret=AAAA&digits=1#",
        ];
        for (number, name) in hostile.into_iter().enumerate() {
            let user = format!("user-{number}");
            let shown = name.replace(':', "");
            let names =
                json!({ "kind": "hotp", "label": name, "issuer": shown, "account_name": shown, "qr": "svg" });
            let (enrolment, token) = offer(client, &user, names).await;
            assert_eq!(enrolment["factor"]["label"], name);
            let otp = &enrolment["hotp"];
            let svg = otp["qr_svg"].as_str().unwrap();
            assert!(!svg.contains("script") && !svg.contains("onload") && !svg.contains("image"), "{svg}");
            assert_eq!(svg.matches("<svg").count(), 1);
            let uri = otp["uri"].as_str().unwrap();
            assert_eq!(uri.matches("secret=").count(), 1, "{uri}");
            assert_eq!(uri.matches("&digits=").count(), 1, "{uri}");
            assert!(uri.is_ascii() && !uri.contains(['<', '"', '\'', ' ', '#']), "{uri}");
            confirm(client, &user, &token.factor, &token.hotp(0)).await.expect(200);
            let status = client.get(&format!("/v1/users/{user}")).await;
            assert_eq!(status.json["factors"][0]["label"], name);
            assert_eq!(status.headers["content-type"], "application/json");
            let events = client.get(&format!("/v1/users/{user}/events")).await.text;
            assert!(!events.contains(&name[..6]), "an event holds a label: {events}");
        }
    })
    .await;
}

/// A deleted user returns with the old device. A caller cannot replay the used codes, since only an operator
/// can set a secret.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_comes_back_only_by_an_operator() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (enrolment, token) = offer(client, "alice", json!({ "kind": "hotp" })).await;
    confirm(client, "alice", &token.factor, &token.hotp(0)).await.expect(200);
    client.delete("/v1/users/alice").await.expect(204);
    let import = json!({ "kind": "hotp", "label": "x", "secret": enrolment["hotp"]["secret"], "counter": 1 });
    let owner = client.with_key(Some(&create_key(&server, "default", "enrol")));
    owner.post("/v1/users/alice/factors", import.clone()).await.expect_problem(403, "forbidden");
    let (_, again) = offer(client, "alice", import.clone()).await;
    confirm(client, "alice", &again.factor, &token.hotp(0)).await.expect_problem(401, "invalid-code");
    confirm(client, "alice", &again.factor, &token.hotp(1)).await.expect(200);
    // With the secret enrolled twice, one code would be accepted twice.
    let session = client.in_session(&client.verify("alice", &token.hotp(2)).await.expect(200));
    session.post("/v1/users/alice/factors", import).await.expect_problem(422, "invalid-request");
}

/// An attacker with only the password offers a factor before the owner enrols, and confirms it afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_was_offered_without_proof_never_comes_alive_beside_another() {
    on_every_store(async |server| {
        let client = &server.client;
        let (_, planted) = offer(client, "alice", json!({ "kind": "hotp" })).await;
        let (_, planted_too) = offer(client, "alice", json!({})).await;
        let (token, _) = client.enrol("alice", "hotp").await;
        for (device, code) in [(&planted, planted.hotp(0)), (&planted_too, planted_too.totp(0))] {
            confirm(client, "alice", &device.factor, &code).await.expect_problem(404, "not-found");
            client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        }
        let status = client.get("/v1/users/alice").await.json;
        assert_eq!(status["factors"].as_array().unwrap().len(), 1, "{status}");
        client.verify("alice", &token.hotp(1)).await.expect(200);
    })
    .await;
}
