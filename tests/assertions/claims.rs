//! What an assertion says about each kind of verification.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::Timestamp;
use mfa_tests::{Answer, Client, ISSUER, SecurityKey, Server, ServerOptions, binary, now, unchecked};
use serde_json::{Value, json};

use super::{SESSION, TENANT, key_set, verify};
use crate::email_codes::{self, mailing};
use crate::mail_server::MailServer;
use crate::passkeys::calls::{answer, options, register, relying_party};

/// A verification, and what is known of it otherwise.
struct Verified {
    answer: Answer,
    user: &'static str,
    /// None for a backup code.
    factor: Option<String>,
    amr: &'static [&'static str],
    acr: &'static str,
}

impl Verified {
    /// Checks every claim; returns the one that no other assertion has.
    fn check(&self, key_set: &str) -> String {
        let Self { answer, user, factor, amr, acr } = self;
        let [header, mut claims] = unchecked(answer.assertion());
        let keys: Value = serde_json::from_str(key_set).unwrap();
        let kid = &keys["keys"][0]["kid"];
        assert_eq!(header, json!({ "alg": "ES256", "kid": kid, "typ": "mfa-assertion+jwt" }));

        let mut take = |name: &str| claims.as_object_mut().unwrap().remove(name).unwrap();
        let (issued_at, expires_at, id) = (take("iat"), take("exp"), take("jti"));
        let at: Timestamp = answer.json["auth_time"].as_str().unwrap().parse().unwrap();
        let auth_time = at.unix_seconds();
        let mut expected = json!({
            "iss": ISSUER, "aud": TENANT, "tenant": TENANT, "sub": user,
            "auth_time": auth_time, "amr": amr, "acr": acr, "nonce": SESSION,
        });
        if let Some(factor) = factor {
            expected["factor"] = json!(factor);
        }
        assert_eq!(claims, expected);
        let issued_at = issued_at.as_u64().unwrap();
        assert!((auth_time - 5..=now() - 5).contains(&issued_at), "{issued_at}, verified at {auth_time}");
        assert_eq!(expires_at.as_u64(), Some(issued_at + 65));
        let id = id.as_str().unwrap().to_owned();
        assert_eq!(BASE64URL_NOPAD.decode(id.as_bytes()).unwrap().len(), 16, "{id}");

        let checked = verify(key_set, answer.assertion(), user).unwrap();
        assert_eq!((checked.subject.as_str(), checked.tenant.as_str()), (*user, TENANT));
        assert_eq!((checked.acr.as_str(), json!(checked.methods)), (*acr, json!(amr)));
        assert_eq!((checked.factor, checked.auth_time), (factor.clone(), auth_time));
        id
    }
}

/// Logs in by a passkey; `path` is where the challenge begins.
async fn by_passkey(client: &Client, path: &str, key: &SecurityKey) -> Answer {
    let begun = client.post(path, json!({ "kind": "passkey", "nonce": SESSION })).await.expect(201).json;
    answer(client, &begun, &key.get(options(&begun))).await
}

async fn by_mail(client: &Client, mails: &MailServer, user: &str, factor: &str) -> Answer {
    let path = format!("/v1/users/{user}/challenges");
    let begun = client.post(&path, json!({ "factor": factor, "nonce": SESSION })).await.expect(201).json;
    let code = email_codes::code(&mails.mail());
    email_codes::answer(client, begun["challenge"]["id"].as_str().unwrap(), &code).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_says_who_was_verified_when_and_how_whatever_it_was_by() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), relying_party(mailing(mails.port)));
    let client = &server.client;
    let (phone, codes) = client.enrol("alice", "totp").await;
    let (token, _) = client.enrol("bob", "hotp").await;
    let address = email_codes::enrol(client, &mails, "carol").await;
    let (key, passkey) = register(client, "dave").await;
    let keys = key_set(client).await;
    let verified = |answer: Answer,
                    user: &'static str,
                    factor: Option<&String>,
                    amr: &'static [&'static str],
                    acr: &'static str| {
        let (answer, factor) = (answer.expect(200), factor.cloned());
        Verified { answer, user, factor, amr, acr }.check(&keys)
    };
    let by_app = client.verify_in("alice", &phone.totp(0), SESSION).await;
    let by_backup_code = client.verify_in("alice", &codes[0], SESSION).await;
    let by_token = client.verify_in("bob", &token.hotp(1), SESSION).await;
    let by_mail = by_mail(client, &mails, "carol", &address).await;
    let by_key = by_passkey(client, "/v1/users/dave/challenges", &key).await;
    let without_user = by_passkey(client, "/v1/challenges", &key).await;
    let ids = BTreeSet::from([
        verified(by_app, "alice", Some(&phone.factor), &["otp"], "medium"),
        verified(by_backup_code, "alice", None, &["otp"], "low"),
        verified(by_token, "bob", Some(&token.factor), &["otp"], "medium"),
        verified(by_mail, "carol", Some(&address), &["otp"], "low"),
        verified(by_key, "dave", Some(&passkey), &["user", "mfa"], "high"),
        verified(without_user, "dave", Some(&passkey), &["user", "mfa"], "high"),
    ]);
    assert_eq!(ids.len(), 6, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_other_settings_the_issuer_is_the_address_and_there_is_a_nonce_only_if_one_was_given() {
    let server = Server::with(
        binary!(),
        ServerOptions::new([("MFA_STORE", "memory:"), ("MFA_ASSERTIONS_ISSUER", "")]),
    );
    let (token, _) = server.client.enrol("alice", "hotp").await;
    let verified = server.client.verify("alice", &token.hotp(1)).await.expect(200);
    let [_, claims] = unchecked(verified.assertion());
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(server.url), &json!(TENANT)));
    assert_eq!(claims.get("nonce"), None);
    // A refused code gets none.
    let refused = server.client.verify_in("alice", &token.wrong(1), SESSION).await.expect(401);
    assert_eq!(refused.json.get("assertion"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_signs_nothing_says_so_and_verifies_as_before() {
    let options = ServerOptions::new([("MFA_STORE", "memory:"), ("MFA_ASSERTIONS_ENABLED", "false")]);
    let server = Server::with(binary!(), options.and([("MFA_ENROLMENT_PROOF", "account")]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let verified = client.verify_in("alice", &token.hotp(1), SESSION).await.expect(200);
    assert_eq!(verified.json.get("assertion"), None);
    let nobody = client.with_key(None);
    nobody.get("/.well-known/jwks.json").await.expect_problem(404, "not-found");
}
