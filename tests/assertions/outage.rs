//! Signing keys that cannot be read.

use mfa_tests::{Clock, Server, ServerOptions, binary};
use sqlx::{Connection, SqliteConnection};

use super::{SESSION, key_set, verify_at};

/// How long a server works with the keys that it has read, in seconds, and some more.
const KEPT_FOR: i64 = 70;

/// Without a key there is no assertion, so no code is looked at that a host could not use the answer to.
#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_signed_no_code_is_used_up_and_afterwards_it_counts() {
    let clock = Clock::new();
    let server = Server::with(binary!(), clock.of(ServerOptions::default()));
    let client = &server.client;
    let (token, codes) = client.enrol("alice", "hotp").await;
    client.verify_in("alice", &token.hotp(1), SESSION).await.expect(200);
    let keys = key_set(client).await;

    let url = format!("sqlite:{}", server.data().join("mfa.db").display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let factors = "SELECT factors FROM accounts WHERE user = 'signing-keys'";
    let factors: String = sqlx::query_scalar(factors).fetch_one(&mut database).await.unwrap();
    // The sealed private key does not open any more.
    let damage = "UPDATE accounts SET factors = json_set(factors, '$[0].secret', 'AAAAAAAA' || \
                  substr(json_extract(factors, '$[0].secret'), 9)) WHERE user = 'signing-keys'";
    assert_eq!(sqlx::query(damage).execute(&mut database).await.unwrap().rows_affected(), 1);
    clock.set(KEPT_FOR);
    let code = token.hotp(2);
    for code in [&code, &codes[0], &token.wrong(1)] {
        let refused = client.verify_in("alice", code, SESSION).await.expect_problem(503, "unavailable");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(client.count_events("alice", "verified").await, 1);
    assert_eq!(client.count_events("alice", "verification_failed").await, 0);
    // Hosts check what was signed before.
    assert_eq!(key_set(client).await, keys);

    let repair = "UPDATE accounts SET factors = ? WHERE user = 'signing-keys'";
    sqlx::query(repair).bind(factors).execute(&mut database).await.unwrap();
    for code in [&code, &codes[0]] {
        let verified = client.verify_in("alice", code, SESSION).await.expect(200);
        let now = mfa_tests::now().checked_add_signed(KEPT_FOR).unwrap();
        verify_at(now, &keys, verified.assertion(), "alice").unwrap();
    }
}
