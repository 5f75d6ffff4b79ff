//! A replica without a connection to the database.

use std::time::Duration;

use mfa_tests::{Link, Proxy, Server, binary, rounds};

use super::load::Load;
use super::{on, told_by_readyz};
use crate::postgres::Server as Postgres;

/// Two replicas; the second reaches the database only through a proxy.
async fn replicas(database: &Postgres, way: &Proxy) -> [Server; 2] {
    let url = database.database().await;
    let through = format!("postgres://mfa@127.0.0.1:{}/{}", way.port, url.rsplit('/').next().unwrap());
    let one = Server::with(binary!(), on(&url));
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), on(&through));
    [one, other]
}

/// Disconnects one replica under load repeatedly. It reports that in time, and the other keeps serving.
async fn cut_off(link: Link) {
    let times = rounds(2, 10);
    let database = Postgres::start(&[]);
    drop(database.connect().await);
    let way = Proxy::to(&database.socket()).await;
    let servers = replicas(&database, &way).await;
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for _ in 0..times {
        way.set(link);
        load.refusals_at(1, 5).await;
        told_by_readyz(&servers[1], 503).await;
        told_by_readyz(&servers[0], 200).await;
        load.progress_at(0, 20).await;
        way.set(Link::Up);
        load.progress_at(1, 20).await;
        told_by_readyz(&servers[1], 200).await;
    }
    load.settle(&servers, &format!("{link:?}, {times} times")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_connections_are_cut_refuses_and_the_other_serves_on() {
    cut_off(Link::Cut).await;
}

/// Requests sent into a silent link arrive when nobody waits for them any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_hears_nothing_refuses_in_time_and_the_other_serves_on() {
    cut_off(Link::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_database_is_too_far_refuses_in_time_and_the_other_serves_on() {
    cut_off(Link::Slow(Duration::from_secs(1))).await;
}
