//! Signed assertions: what they say, who accepts them, and which key signs them.

#![allow(clippy::unwrap_used, reason = "test code")]

use mfa_assertion::{Assertion, Expected, KeySet, Refusal, Verifier};
use mfa_tests::{Client, ISSUER, now};

mod claims;
mod outage;
mod peers;
mod rotation;

/// The tenant, for which assertions are by default.
const TENANT: &str = "default";

/// The session of the host in which users log in.
const SESSION: &str = "session-c1f09a7e";

/// The key set, as anybody can read it.
async fn key_set(client: &Client) -> String {
    client.with_key(None).get("/.well-known/jwks.json").await.expect(200).text
}

/// Verifies an assertion about a user in [`SESSION`], as a host does at this time.
fn verify_at(seconds: u64, key_set: &str, assertion: &str, user: &str) -> Result<Assertion, Refusal> {
    let keys = KeySet::from_json(key_set).unwrap();
    let expected = Expected { subject: user, nonce: Some(SESSION) };
    Verifier::new(ISSUER, TENANT).verify(&keys, assertion, expected, seconds)
}

/// As [`verify_at`], now.
fn verify(key_set: &str, assertion: &str, user: &str) -> Result<Assertion, Refusal> {
    verify_at(now(), key_set, assertion, user)
}
