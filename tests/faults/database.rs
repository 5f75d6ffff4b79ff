//! A PostgreSQL server that stops and returns.

use mfa_tests::rounds;
use sqlx::{Connection, Executor, PgConnection};

use super::load::Load;
use super::{replicas, told_by_readyz};
use crate::postgres;
use crate::postgres::Server as Postgres;

/// Stops the database under load repeatedly. Requests are refused in time, and service resumes by itself.
async fn comes_back(stop: impl Fn(&Postgres), times: usize) {
    let database = Postgres::start(&[]);
    let servers = replicas(&database.database().await);
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for _ in 0..times {
        stop(&database);
        for (replica, server) in servers.iter().enumerate() {
            load.refusals_at(replica, 5).await;
            told_by_readyz(server, 503).await;
        }
        database.start_again();
        for (replica, server) in servers.iter().enumerate() {
            load.progress_at(replica, 20).await;
            told_by_readyz(server, 200).await;
        }
    }
    load.settle(&servers, &format!("stopped {times} times")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_under_load_loses_nothing_and_is_used_again() {
    comes_back(Postgres::crash, rounds(2, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_under_load_loses_nothing_and_is_used_again() {
    comes_back(Postgres::stop, rounds(1, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_terminated_under_load_lose_nothing() {
    let times = rounds(8, 200);
    let url = postgres::database().await;
    let servers = replicas(&url);
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    let mut shell = PgConnection::connect(&url).await.unwrap();
    let mut terminated = 0;
    for _ in 0..times {
        let ended = shell
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'mfa'",
            )
            .await
            .unwrap();
        terminated += ended.rows_affected();
        load.progress(20).await;
    }
    assert!(terminated > times as u64, "only {terminated} connections were there to be terminated");
    load.settle(&servers, &format!("{terminated} connections terminated")).await;
}
