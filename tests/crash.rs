//! `kill -9` at any moment under load: nothing that was answered is forgotten.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use mfa_tests::{Authenticator, Client, Server, binary};
use serde_json::json;

const KILLS: u64 = 100;
const USERS: usize = 8;

/// A user who logs in with one HOTP code after the other, until the server is gone.
struct Login {
    user: String,
    token: Authenticator,
    /// The next counter to use.
    counter: u64,
    /// Codes that were answered with 200, by counter.
    accepted: BTreeMap<u64, String>,
}

impl Login {
    async fn keep_on(&mut self, client: &Client) {
        loop {
            let code = self.token.hotp(self.counter);
            let path = format!("/v1/users/{}/verify", self.user);
            let body = format!(r#"{{"code": "{code}"}}"#);
            let Some(answer) = client.try_send("POST", &path, Some(body)).await else {
                // Whether that one counted is unknown; the next counter is good either way.
                self.counter += 1;
                return;
            };
            assert_eq!(answer.status, 200, "{}", answer.text);
            self.accepted.insert(self.counter, code);
            self.counter += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_forget_nothing_that_was_answered() {
    let mut server = Server::start(binary!());
    let mut logins = Vec::new();
    for number in 0..USERS {
        let user = format!("crash-{number}");
        let (token, _) = server.client.enrol(&user, "hotp").await;
        logins.push(Login { user, token, counter: 1, accepted: BTreeMap::new() });
    }
    for kill in 0..KILLS {
        let client = server.client.clone();
        // A different moment each time: between 1 and 60 milliseconds into the load.
        let moment = Duration::from_micros(1000 + kill * 37 % 60 * 1000 + kill * 131 % 1000);
        let load = join_all(logins.iter_mut().map(|login| login.keep_on(&client)));
        let killing = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        tokio::join!(load, killing);
        server.restart();
        for login in &logins {
            let Some((_, last)) = login.accepted.last_key_value() else { continue };
            server.client.verify(&login.user, last).await.expect_problem(401, "invalid-code");
            // A hundred replays would lock for good reason; an operator forgives them.
            let unlock = format!("/v1/users/{}/unlock", login.user);
            server.client.post(&unlock, json!({ "reason": "a replay of the test" })).await.expect(204);
        }
    }

    let mut total = 0;
    for login in &logins {
        let verified = server.client.count_events(&login.user, "verified").await;
        total += login.accepted.len();
        assert!(verified >= login.accepted.len(), "an answered login without its event");
        assert!(verified as u64 <= login.counter, "an event without a login");
    }
    assert!(total > 500, "only {total} logins: that was no load");
    let audit = server.command(["audit", "verify"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
    println!("{KILLS} kills, {total} logins answered, none forgotten");
}
