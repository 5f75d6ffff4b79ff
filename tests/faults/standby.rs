//! A standby that takes over.

use std::path::Path;
use std::time::Duration;

use mfa_tests::{Link, Proxy, Server, rounds};
use sqlx::{Connection, Executor, PgConnection};

use super::load::Load;
use super::told_by_readyz;
use crate::postgres::Server as Postgres;

/// A primary, its standby, and the address that clients use, which moves.
pub(super) struct Pair {
    primary: Postgres,
    standby: Postgres,
    address: Proxy,
    database: String,
}

impl Pair {
    /// A primary that commits nothing without its standby.
    pub(super) async fn synchronous() -> Self {
        let primary = Postgres::start(&[]);
        drop(primary.connect().await);
        let folder = primary.folder().to_owned();
        let pair = Self::start(primary, &folder, 5432).await;
        let mut shell = pair.primary.connect().await;
        shell.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'").await.unwrap();
        shell.execute("SELECT pg_reload_conf()").await.unwrap();
        pair.until("SELECT sync_state = 'sync' FROM pg_stat_replication").await;
        pair
    }

    /// Starts a standby that streams from this host and port of the primary.
    async fn start(primary: Postgres, host: &Path, port: u16) -> Self {
        let url = primary.database().await;
        let standby = Postgres::standby_of(&format!("host={} port={port}", host.display()));
        drop(standby.connect().await);
        let address = Proxy::to(&primary.socket()).await;
        Self { primary, standby, address, database: url.rsplit('/').next().unwrap().to_owned() }
    }

    /// The URL of the database at the address that clients use.
    pub(super) fn url(&self) -> String {
        format!("postgres://mfa@127.0.0.1:{}/{}", self.address.port, self.database)
    }

    fn replicas(&self) -> [Server; 2] {
        super::replicas(&self.url())
    }

    /// The primary crashes, and the address moves to the standby, which refuses requests: its data may be
    /// old.
    pub(super) fn lose_primary(&self) {
        self.primary.crash();
        self.address.turn_to(&self.standby.socket());
    }

    pub(super) fn promote(&self) {
        self.standby.promote();
    }

    /// Waits until a query of the primary about its standby returns true.
    async fn until(&self, query: &'static str) {
        let mut shell = PgConnection::connect(&self.primary.url("postgres")).await.unwrap();
        for _ in 0..1_000 {
            if sqlx::query_scalar(query).fetch_optional(&mut shell).await.unwrap() == Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the query stays false: {query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_takes_over_under_load_has_everything() {
    let times = rounds(1, 5);
    for _ in 0..times {
        let pair = Pair::synchronous().await;
        let servers = pair.replicas();
        let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
        load.progress(50).await;
        pair.lose_primary();
        for (replica, server) in servers.iter().enumerate() {
            load.refusals_at(replica, 20).await;
            told_by_readyz(server, 503).await;
        }
        pair.promote();
        for (replica, server) in servers.iter().enumerate() {
            load.progress_at(replica, 20).await;
            told_by_readyz(server, 200).await;
        }
        load.settle(&servers, "a synchronous standby took over").await;
    }
}

/// A lost acceptance looks like one that never happened, so those codes are accepted once more.
#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_that_takes_over_lacks_what_had_not_reached_it_and_nothing_else() {
    let primary = Postgres::start(&[]);
    drop(primary.connect().await);
    let line = Proxy::to(&primary.socket()).await;
    let pair = Pair::start(primary, Path::new("127.0.0.1"), line.port).await;
    let [one, other] = pair.replicas();
    let (token, _) = one.client.enrol("alice", "hotp").await;
    for counter in 1..=10 {
        one.client.verify("alice", &token.hotp(counter)).await.expect(200);
    }
    pair.until("SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication").await;
    line.set(Link::Cut);
    for counter in 11..=20 {
        other.client.verify("alice", &token.hotp(counter)).await.expect(200);
    }
    pair.lose_primary();
    one.client.verify("alice", &token.hotp(21)).await.expect_problem(503, "unavailable");
    pair.promote();
    told_by_readyz(&one, 200).await;
    told_by_readyz(&other, 200).await;
    assert_eq!(other.client.count_events("alice", "verified").await, 10);
    for counter in [1, 9, 10] {
        other.client.verify("alice", &token.hotp(counter)).await.expect_problem(401, "invalid-code");
    }
    other.client.verify("alice", &token.hotp(11)).await.expect(200);
    one.client.verify("alice", &token.hotp(11)).await.expect_problem(401, "invalid-code");
    assert!(one.command(["audit", "verify"]).status.success());
}
