//! Replacing the signing key while two servers sign.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mfa_assertion::Refusal;
use mfa_tests::{Authenticator, Client, Clock, Server, ServerOptions, binary, now, unchecked};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SESSION, key_set, verify_at};
use crate::postgres;

const USERS: usize = 8;

/// How far the clock of the servers is moved at a time, in seconds.
const STEP: u64 = 20;

/// How long users log in between two of these steps.
const PAUSE: Duration = Duration::from_millis(150);

/// How long a key is published before it signs, in seconds.
const PUBLISHED_BEFORE: u64 = 600;

/// How long a host keeps a key set, in seconds.
const KEPT_BY_HOSTS: u64 = 300;

/// The time of the servers, and what they have published so far.
struct Timeline<'a> {
    clock: &'a Clock,
    clients: [Client; 2],
    /// How far the servers' clock is ahead of the real one, in seconds.
    ahead: u64,
    published: Arc<Published>,
}

/// The key sets of both servers, each with the time at which it was read, in order.
#[derive(Debug, Default)]
struct Published(Mutex<Vec<(u64, [String; 2])>>);

impl Timeline<'_> {
    /// Lets the users log in for so many seconds of the servers' time, and reads what is published meanwhile.
    async fn pass(&mut self, seconds: u64) {
        let end = self.ahead + seconds;
        while self.ahead < end {
            self.ahead += STEP;
            self.clock.set(self.ahead.try_into().unwrap());
            self.read().await;
            sleep(PAUSE).await;
        }
    }

    /// As a host that fetches the key set of each server.
    async fn read(&self) -> [String; 2] {
        let [one, other] = &self.clients;
        let key_sets = [key_set(one).await, key_set(other).await];
        self.published.0.lock().unwrap().push((self.now(), key_sets.clone()));
        key_sets
    }

    fn now(&self) -> u64 {
        now() + self.ahead
    }
}

impl Published {
    /// What hosts have that fetched the key sets five minutes before this time, or else at the beginning.
    fn five_minutes_before(&self, seconds: u64) -> [String; 2] {
        let published = self.0.lock().unwrap();
        let then = published.iter().rfind(|(at, _)| at + KEPT_BY_HOSTS <= seconds);
        let (_, key_sets) = then.or(published.first()).unwrap();
        key_sets.clone()
    }
}

/// Logs a user in, at the servers in turns, until the end. Hosts whose key set is five minutes old accept every
/// assertion. Returns when each was signed, and by which key.
async fn log_in(
    clients: [Client; 2],
    (user, token): (String, Authenticator),
    published: Arc<Published>,
    end: Arc<AtomicBool>,
) -> Vec<(u64, String)> {
    let mut signed = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let counter = signed.len() + 1;
        let code = token.hotp(counter.try_into().unwrap());
        let verified = clients[counter % 2].verify_in(&user, &code, SESSION).await.expect(200);
        let [_, claims] = unchecked(verified.assertion());
        // `iat` lies five seconds back.
        let at = claims["iat"].as_u64().unwrap() + 5;
        for key_set in published.five_minutes_before(at) {
            let checked = verify_at(at, &key_set, verified.assertion(), &user);
            assert!(checked.is_ok(), "{user} at {at}: {checked:?} by {key_set}");
        }
        signed.push((at, signed_by(verified.assertion())));
    }
    signed
}

/// The ids of a key set.
fn ids(key_set: &str) -> Vec<String> {
    let set: Value = serde_json::from_str(key_set).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The key that an assertion says it is signed by.
fn signed_by(assertion: &str) -> String {
    let [header, _] = unchecked(assertion);
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_two_servers_begin_to_sign_with_a_new_key_a_key_set_that_is_five_minutes_old_is_good() {
    let clock = Clock::new();
    let url = postgres::database().await;
    let options = ServerOptions::new([
        ("MFA_STORE", url.as_str()),
        ("MFA_LOG", "info"),
        ("MFA_THROTTLE_USER", "1000000/10m"),
    ]);
    let options = clock.of(options.patient());
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    let clients = [one.client.clone(), other.client.clone()];
    let mut time = Timeline { clock: &clock, clients: clients.clone(), ahead: 0, published: Arc::default() };
    let [before, same] = time.read().await;
    assert_eq!(before, same);
    let [old] = <[String; 1]>::try_from(ids(&before)).unwrap();

    let mut users = Vec::new();
    for number in 0..USERS {
        let user = format!("user-{number}");
        let (token, _) = clients[0].enrol(&user, "hotp").await;
        users.push((user, token));
    }
    let end = Arc::new(AtomicBool::default());
    let mut load = JoinSet::new();
    for user in users {
        load.spawn(log_in(clients.clone(), user, Arc::clone(&time.published), Arc::clone(&end)));
    }
    time.pass(3 * STEP).await;
    let made_at = time.now();
    let made = tokio::task::block_in_place(|| one.command(["signing-keys", "rotate", "--json"]));
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let new = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["state"], "next");
    // Within a minute both publish the new key.
    time.pass(70).await;
    for key_set in time.read().await {
        assert_eq!(ids(&key_set), [old.clone(), new.clone()]);
    }
    // Until hosts have what was published when it began to sign, and longer.
    time.pass(PUBLISHED_BEFORE + KEPT_BY_HOSTS).await;
    end.store(true, Ordering::Relaxed);
    let signed: Vec<_> = load.join_all().await.into_iter().flatten().collect();

    let by = |kid: &str| signed.iter().filter(|(_, by)| by == kid).map(|(at, _)| *at).collect::<Vec<_>>();
    let (by_old, by_new) = (by(&old), by(&new));
    assert_eq!(by_old.len() + by_new.len(), signed.len());
    println!("{} assertions by the old key, {} by the new one", by_old.len(), by_new.len());
    assert!(by_old.len() > 5 * USERS && by_new.len() > 2 * USERS, "too few logins");
    let first = by_new.into_iter().min().unwrap();
    assert!(first >= made_at + PUBLISHED_BEFORE, "made at {made_at}, signs at {first}");

    // Both sign with it now. A host that has not fetched it refuses it.
    let (token, _) = clients[0].enrol("later", "hotp").await;
    for (client, counter) in clients.iter().zip(1..) {
        let verified = client.verify_in("later", &token.hotp(counter), SESSION).await.expect(200);
        assert_eq!(signed_by(verified.assertion()), new);
        let outdated = verify_at(time.now(), &before, verified.assertion(), "later");
        assert_eq!(outdated, Err(Refusal::UnknownKey));
    }
}
