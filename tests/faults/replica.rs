//! Replicas that are killed.

use std::time::Duration;

use mfa_tests::rounds;

use super::load::Load;
use super::replicas;
use crate::postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_under_load_loses_nothing_and_the_other_serves_on() {
    let kills = rounds(8, 200);
    let mut servers = replicas(&postgres::database().await);
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for kill in 0..kills {
        let (victim, survivor) = (kill % 2, 1 - kill % 2);
        // A different moment each time.
        tokio::time::sleep(Duration::from_micros(
            1000 + kill as u64 * 37 % 60 * 1000 + kill as u64 * 131 % 1000,
        ))
        .await;
        servers[victim].kill();
        load.progress_at(survivor, 5).await;
        servers[victim].restart();
        load.restarted(victim, &servers[victim]);
        load.progress_at(victim, 5).await;
    }
    load.settle(&servers, &format!("{kills} kills")).await;
}
