//! Sent codes: recipients, limits, and the content of the message.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::email_codes::{answer, begin, code, delivered, enrol, mailing};
use crate::mail_server::MailServer;

const ADDRESS: &str = "eve@example.com";

/// A server that sends through a mail server of the tests.
fn sending<const N: usize>(mails: &MailServer, more: [(&str, &str); N]) -> Server {
    Server::with(binary!(), mailing(mails.port).and(more))
}

fn offer_of(address: &str) -> Value {
    json!({ "kind": "email", "label": "Mail", "address": address })
}

#[tokio::test(flavor = "multi_thread")]
async fn per_challenge_memory_class_a_used_code_answers_no_other_challenge() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    let first = begin(client, "eve", &factor).await;
    let used = code(&mails.mail());
    answer(client, &first, &used).await.expect(200);
    let second = begin(client, "eve", &factor).await;
    if code(&mails.mail()) != used {
        answer(client, &second, &used).await.expect_problem(401, "invalid-code");
    }
    answer(client, &first, &used).await.expect_problem(410, "challenge-over");
}

/// Of forty guesses at a sent code five are evaluated, and nothing more is sent while the account is locked.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_32868_codes_that_were_sent_share_the_limit() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    client.verify("eve", "123456").await.expect_problem(422, "malformed-code");
    let id = begin(client, "eve", &factor).await;
    let right = code(&mails.mail());
    let wrong: Vec<_> = (0..).map(|n| format!("{n:08}")).filter(|code| *code != right).take(40).collect();
    let answers = join_all(wrong.iter().map(|code| answer(client, &id, code))).await;
    let count = |name| answers.iter().filter(|answer| answer.problem() == name).count();
    assert_eq!((count("invalid-code"), count("locked") + count("challenge-over")), (5, 35));
    let path = "/v1/users/eve/challenges";
    let locked = client.post(path, json!({ "factor": factor })).await.expect_problem(429, "locked");
    assert!(locked.headers.contains_key("retry-after"));
    assert_eq!(mails.more(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_43914_every_call_that_sends_is_limited() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, [("MFA_THROTTLE_MESSAGE", "5/1h")]);
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    // Without a proof, the enrolment would be rejected.
    let proof = begin(client, "eve", &factor).await;
    let session = client.in_session(&answer(client, &proof, &code(&mails.mail())).await.expect(200));
    let id = begin(client, "eve", &factor).await;
    for _ in 0..2 {
        client.post(&format!("/v1/challenges/{id}/resend"), json!({})).await.expect(202);
    }
    for (path, body) in [
        (format!("/v1/challenges/{id}/resend"), json!({})),
        ("/v1/users/eve/challenges".to_owned(), json!({ "factor": factor })),
        ("/v1/users/eve/factors".to_owned(), offer_of("eve@example.org")),
    ] {
        session.post(&path, body).await.expect_problem(429, "throttled");
    }
}

/// A call names a factor. An address in it is rejected, and nothing is sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_12988_cve_2026_16035_no_call_names_where_a_code_goes() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    let path = "/v1/users/eve/challenges";
    for name in ["address", "email", "to", "destination"] {
        let body = json!({ "factor": factor, name: "mallory@example.com" });
        client.post(path, body).await.expect_problem(422, "invalid-request");
    }
    let id = begin(client, "eve", &factor).await;
    assert_eq!(mails.mail()["to"], json!([ADDRESS]));
    let resend = format!("/v1/challenges/{id}/resend");
    client
        .post(&resend, json!({ "address": "mallory@example.com" }))
        .await
        .expect_problem(422, "invalid-request");
    client.post(&resend, json!({})).await.expect(202);
    assert_eq!(mails.mail()["to"], json!([ADDRESS]));
    assert_eq!(mails.more(), 0);
}

/// An answer to Mallory's challenge does not log in as Eve.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_12988_a_code_logs_in_whose_factor_it_went_to() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let client = &server.client;
    let [eves, mallorys] = [enrol(client, &mails, "eve").await, enrol(client, &mails, "mallory").await];
    client
        .post("/v1/users/eve/challenges", json!({ "factor": mallorys }))
        .await
        .expect_problem(404, "not-found");
    let id = begin(client, "mallory", &mallorys).await;
    let verified = answer(client, &id, &code(&mails.mail())).await.expect(200);
    assert_eq!(verified.json["user"], "mallory");
    begin(client, "eve", &eves).await;
    assert_eq!(client.count_events("eve", "verified").await, 0);
}

/// One address that many users enrol, and one user with many addresses.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_51557_cve_2025_29998_neither_an_address_nor_a_user_nor_a_tenant_is_flooded() {
    let mails = MailServer::start(&json!({}));
    for (limit, more) in [
        (("MFA_THROTTLE_RECIPIENT", "3/1h"), "user-4"),
        (("MFA_THROTTLE_TENANT_MESSAGES", "3/1h"), "user-4"),
        (("MFA_THROTTLE_MESSAGE", "1/1h"), "user-1"),
    ] {
        let server = sending(&mails, [limit]);
        for number in 1..=3 {
            let path = format!("/v1/users/user-{number}/factors");
            server.client.post(&path, offer_of(ADDRESS)).await.expect(201);
        }
        let path = format!("/v1/users/{more}/factors");
        server.client.post(&path, offer_of("EVE@example.com")).await.expect_problem(429, "throttled");
    }
}

/// A mail has no link, whatever host a call claims.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_48936_cve_2026_42606_no_host_of_a_call_is_in_a_mail() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let forged = server
        .client
        .with_header("x-forwarded-host", "mallory.example")
        .with_header("forwarded", "host=mallory.example");
    forged.post("/v1/users/eve/factors", offer_of(ADDRESS)).await.expect(201);
    let mail = mails.mail();
    for part in ["text", "html"] {
        let text = mail[part].as_str().unwrap();
        assert!(!text.contains("http") && !text.contains("mallory"), "{text}");
    }
    assert!(!mail["raw"].as_str().unwrap().contains("mallory"), "{mail}");
}

/// Neither in a body nor in a header of any call: only the recipient knows the code.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_2706_cve_2024_9820_no_answer_holds_a_code_that_was_mailed_or_its_address() {
    let mails = MailServer::start(&json!({}));
    let server = sending(&mails, []);
    let client = &server.client;
    let (factors, challenges) = ("/v1/users/eve/factors", "/v1/users/eve/challenges");
    let (mut answers, mut codes) = (Vec::new(), Vec::new());
    // Repeated calls get the stored answers.
    let repeatable = client.with_header("idempotency-key", "1");
    for _ in 0..2 {
        answers.push(repeatable.post(factors, offer_of(ADDRESS)).await.expect(201));
    }
    let offered = &answers[0].json;
    let factor = offered["factor"]["id"].as_str().unwrap().to_owned();
    let first = offered["challenge"]["id"].as_str().unwrap().to_owned();
    codes.push(code(&mails.mail()));
    answers.push(client.post(&format!("/v1/challenges/{first}/resend"), json!({})).await.expect(202));
    codes.push(code(&mails.mail()));
    let confirm = format!("{factors}/{factor}/confirm");
    for (code, status) in [(&codes[0], 401), (&codes[1], 200), (&codes[1], 409)] {
        answers.push(client.post(&confirm, json!({ "code": code })).await.expect(status));
    }
    let begun = client.post(challenges, json!({ "factor": factor })).await.expect(201);
    let id = begun.json["challenge"]["id"].as_str().unwrap().to_owned();
    answers.push(begun);
    codes.push(code(&mails.mail()));
    answers.push(client.post(&format!("/v1/challenges/{id}/resend"), json!({})).await.expect(202));
    codes.push(code(&mails.mail()));
    delivered(client, &id, "sent").await;
    answers.push(client.get(&format!("/v1/challenges/{id}")).await.expect(200));
    for (code, status) in [(&codes[2], 401), (&codes[3], 200), (&codes[3], 410)] {
        answers.push(answer(client, &id, code).await.expect(status));
    }
    let session = client.in_session(answers.iter().find(|answer| answer.json["verified"] == true).unwrap());
    answers.push(client.get(&format!("/v1/challenges/{id}")).await.expect(200));
    answers.push(session.post(factors, offer_of(ADDRESS)).await.expect(201));
    codes.push(code(&mails.mail()));
    answers.push(client.post("/v1/users/bob/factors", offer_of("eve@exa_mple.com")).await.expect(422));
    for path in ["/v1/users/eve", "/v1/users/eve/events", "/v1/events", "/metrics", "/healthz", "/readyz"] {
        answers.push(client.get(path).await.expect(200));
    }
    answers.push(client.delete(&format!("{factors}/{factor}")).await.expect(204));

    assert_eq!(codes.len(), 5);
    for Answer { headers, text, .. } in &answers {
        let headers_too =
            headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        for text in headers_too.chain([text.clone()]) {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(!words.any(|word| codes.iter().any(|code| code == word)), "a code is in {text}");
            assert!(!text.to_lowercase().contains("eve@"), "an address is in {text}");
        }
        assert!(!headers.contains_key("set-cookie"));
    }
}
