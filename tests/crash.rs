//! `kill -9` at any moment under load: the server forgets nothing that it answered.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use mfa_tests::{Authenticator, Client, Server, ServerOptions, binary, rounds};
use serde_json::json;

const USERS: usize = 8;

/// A user who logs in with consecutive HOTP codes until the server is gone.
struct Login {
    user: String,
    token: Authenticator,
    /// The next counter to use.
    counter: u64,
    /// Codes that were answered with 200, by counter.
    accepted: BTreeMap<u64, String>,
    backup_codes: Vec<String>,
    /// Backup codes that were answered with 200.
    spent: Vec<String>,
}

impl Login {
    async fn keep_on(&mut self, client: &Client) {
        loop {
            if self.counter.is_multiple_of(4) && !self.use_backup_code(client).await {
                return;
            }
            if !self.log_in(client).await {
                return;
            }
        }
    }

    /// Logs in with the next code; `false` if the server went away.
    async fn log_in(&mut self, client: &Client) -> bool {
        let (counter, code) = (self.counter, self.token.hotp(self.counter));
        // Without an answer, the test does not know whether the code counted. The next code is valid either
        // way.
        self.counter += 1;
        let path = format!("/v1/users/{}/verify", self.user);
        let Some(answer) = client.try_send("POST", &path, Some(json!({ "code": code }).to_string())).await
        else {
            return false;
        };
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.accepted.insert(counter, code);
        true
    }
}

impl Login {
    /// Uses a backup code, if one is left; `false` if the server went away.
    async fn use_backup_code(&mut self, client: &Client) -> bool {
        let Some(code) = self.backup_codes.pop() else { return true };
        let path = format!("/v1/users/{}/verify", self.user);
        let Some(answer) = client.try_send("POST", &path, Some(json!({ "code": code }).to_string())).await
        else {
            return false;
        };
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.spent.push(code);
        true
    }

    /// Checks that every code that was answered with 200 is rejected. Lifts locks on the way; a success ends
    /// the row of failures, which would otherwise disable the factors.
    async fn replay_all(&mut self, client: &Client) {
        let codes: Vec<_> = self.accepted.values().chain(&self.spent).cloned().collect();
        for replays in codes.chunks(4) {
            // A code that equals one of a later counter by chance is accepted correctly.
            let next = self.accepted.last_key_value().map_or(1, |(last, _)| last + 1);
            let to_come = next..self.counter + 8;
            for code in replays.iter().filter(|code| !self.token.shows(code, to_come.clone())) {
                client.verify(&self.user, code).await.expect_problem(401, "invalid-code");
            }
            let unlock = format!("/v1/users/{}/unlock", self.user);
            client.post(&unlock, json!({ "reason": "replays of the test" })).await.expect(204);
            assert!(self.log_in(client).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_forget_nothing_that_was_answered() {
    // More backup codes than a user may try in an hour.
    let options = ServerOptions::new([("MFA_THROTTLE_BACKUP_CODE", "1000/1h")]);
    let mut server = Server::with(binary!(), options);
    let mut logins = Vec::new();
    for number in 0..USERS {
        let user = format!("crash-{number}");
        let (token, backup_codes) = server.client.enrol(&user, "hotp").await;
        let accepted = BTreeMap::new();
        logins.push(Login { user, token, counter: 1, accepted, backup_codes, spent: Vec::new() });
    }
    let kills = rounds(12, 100);
    for kill in 0..kills as u64 {
        let client = server.client.clone();
        // A different moment each time: 1 to 60 milliseconds into the load.
        let moment = Duration::from_micros(1000 + kill * 37 % 60 * 1000 + kill * 131 % 1000);
        let load = join_all(logins.iter_mut().map(|login| login.keep_on(&client)));
        let killing = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        tokio::join!(load, killing);
        server.restart();
        for login in &mut logins {
            if let Some((_, last)) = login.accepted.last_key_value() {
                server.client.verify(&login.user, last).await.expect_problem(401, "invalid-code");
            }
            // Without load, so that the counter stays within reach. The success resets the row of failures
            // from the replay, and an operator lifts the locks of a hundred replays.
            login.log_in(&server.client).await;
            let unlock = format!("/v1/users/{}/unlock", login.user);
            server.client.post(&unlock, json!({ "reason": "a replay of the test" })).await.expect(204);
        }
    }

    let (mut total, mut backup_codes) = (0, 0);
    for login in &mut logins {
        let (answered, spent) = (login.accepted.len() + login.spent.len(), login.spent.len());
        let verified = server.client.count_events(&login.user, "verified").await;
        total += answered;
        backup_codes += spent;
        assert!(verified >= answered, "an answered login has no event");
        assert!(verified as u64 <= login.counter + 10, "an event has no login");
        login.replay_all(&server.client).await;
    }
    assert!(backup_codes > 0, "no backup code was used under load");
    assert!(total > kills, "only {total} logins under load");
    let audit = server.command(["audit", "verify"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
    println!("{kills} kills, {total} logins answered, none forgotten");
}
