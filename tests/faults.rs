//! Faults while users log in. `docs/reliability.md` has a line for each test.
//!
//! [`load`] and [`ledger`] check the same for every fault: no code is accepted twice, no attempt is
//! forgotten, no answer of 200 lacks its event, every answer comes in time, and service resumes without a
//! restart of the server. [`mail`] has users who request codes by e-mail: each promised code is sent or
//! reported as failed.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use mfa_tests::{Server, ServerOptions, binary, rounds};
use tokio::time::Instant;

mod clock;
mod database;
mod disk;
mod flood;
mod hostile;
mod key_ring;
mod ledger;
mod load;
mod mail;
mod network;
mod races;
mod redis;
mod replica;
mod standby;

/// No delay of refusals for a load of one user. All other limits are the defaults. The log level is not `trace`
/// as in other tests, because the logs of a load are long.
const SWIFT: [(&str, &str); 4] = [
    ("MFA_LOG", "info"),
    ("MFA_THROTTLE_USER", "1000000/10m"),
    ("MFA_THROTTLE_BACKUP_CODE", "1000000/10m"),
    ("MFA_THROTTLE_REFUSAL_DELAY", "0s"),
];

/// The options of a server on this store, with many backup codes, so that they are part of the load.
fn on(store: &str) -> ServerOptions {
    let set_size = rounds(20, 50).to_string();
    ServerOptions::new(SWIFT).and([("MFA_STORE", store), ("MFA_BACKUP_CODES_SET_SIZE", set_size.as_str())])
}

/// Two servers with one key ring on one database.
fn replicas(url: &str) -> [Server; 2] {
    let one = Server::with(binary!(), on(url));
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), on(url));
    [one, other]
}

/// Waits until `/readyz` has this status, which may be half a second old.
async fn told_by_readyz(server: &Server, status: u16) {
    let begin = Instant::now();
    while server.client.get("/readyz").await.status != status {
        assert!(begin.elapsed() < Duration::from_secs(30), "/readyz does not reach {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
