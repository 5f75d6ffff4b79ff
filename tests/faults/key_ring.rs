//! A key ring that is outdated, wrong or missing on one server. `crates/mfa-server/tests/refusals.rs` and
//! `tests/replicas.rs` test that a server does not start with one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mfa_tests::{Server, binary};
use tempfile::TempDir;
use tokio::time::Instant;

use super::load::Load;
use super::{on, told_by_readyz};
use crate::postgres;

const RING: &str = "keyring.toml";

/// Two servers on one new database, each with a key ring of its own.
async fn replicas() -> ([Server; 2], TempDir) {
    let url = postgres::database().await;
    let one = Server::with(binary!(), on(&url));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(one.data().join(RING), elsewhere.path().join(RING)).unwrap();
    let other = Server::in_folder(binary!(), elsewhere.path(), one.client.key(), on(&url));
    ([one, other], elsewhere)
}

/// Waits until a server has logged `text`.
async fn until_logged(server: &Server, text: &str) {
    let begin = Instant::now();
    while !server.log().contains(text) {
        assert!(begin.elapsed() < Duration::from_mins(1), "the log lacks: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn replace(folder: &Path, ring: &[u8]) {
    let fresh = folder.join("fresh");
    fs::write(&fresh, ring).unwrap();
    fs::rename(fresh, folder.join(RING)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_the_new_key_refuses_what_it_sealed_until_it_has_it() {
    let (servers, elsewhere) = replicas().await;
    let [one, other] = &servers;
    let load = Load::begin(&[one, other], 8).await;
    assert!(one.command(["keys", "add"]).status.success());
    assert!(one.command(["keys", "re-encrypt"]).status.success());
    load.refusals_at(1, 20).await;
    told_by_readyz(other, 503).await;
    load.progress_at(0, 20).await;
    told_by_readyz(one, 200).await;
    replace(elsewhere.path(), &fs::read(one.data().join(RING)).unwrap());
    load.progress_at(1, 20).await;
    told_by_readyz(other, 200).await;
    load.settle(&servers, "half-rotated key ring").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_is_replaced_by_a_wrong_one_or_removed_is_not_taken_up() {
    let (servers, elsewhere) = replicas().await;
    let [one, other] = &servers;
    let right = fs::read(elsewhere.path().join(RING)).unwrap();
    let load = Load::begin(&[one, other], 8).await;
    let stranger = Server::start(binary!());
    replace(elsewhere.path(), &fs::read(stranger.data().join(RING)).unwrap());
    until_logged(other, "the key ring lacks key ").await;
    load.progress_at(1, 20).await;
    fs::remove_file(elsewhere.path().join(RING)).unwrap();
    until_logged(other, "the key ring is missing").await;
    load.progress_at(1, 20).await;
    told_by_readyz(other, 200).await;
    replace(elsewhere.path(), &right);
    load.settle(&servers, "wrong and missing key ring").await;
}
