//! Start to ready, resident memory and bytes on disk, and how each grows with the number of users.
//!
//! `cargo bench --package mfa-tests --bench growth [-- 1000 10000 100000 1000000]`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    unreachable_pub,
    dead_code,
    reason = "a benchmark measures the real clock and prints"
)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use mfa_domain::FactorKind;
use mfa_tests::{Server, ServerOptions, binary};
use support::connection::Connection;
use support::{numbers, population, sqlite};

#[tokio::main]
async fn main() {
    let mut sizes = numbers();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000, 1_000_000];
    }
    sizes.sort_unstable();
    let folder = tempfile::tempdir().unwrap();
    println!(
        "    users   load /s   start to ready   memory idle   memory after use   bytes/user   verifications/s"
    );
    let mut there = 0;
    for users in sizes {
        let loading = Instant::now();
        let api_key = sqlite::populate(folder.path(), there..users, &FactorKind::Hotp).await;
        let load = f64::from(users - there) / loading.elapsed().as_secs_f64();
        let new = there..users;
        there = users;
        let disk = bytes_on_disk(folder.path()) as f64 / f64::from(users);

        let start = || {
            let options = ServerOptions::new([("MFA_LOG", "warn")]);
            let starting = Instant::now();
            let server = Server::in_folder(binary!(), folder.path(), &api_key, options);
            (starting.elapsed(), server)
        };
        let mut starts: Vec<Duration> = (0..5).map(|_| start().0).collect();
        starts.sort();
        let (_, server) = start();
        let idle = resident_kib(&server);
        let rate = log_in(&server, &api_key, new).await;
        println!(
            "{users:>9} {load:>9.0} {:>13.0} ms {:>9.1} MiB {:>14.1} MiB {disk:>12.0} {rate:>17.0}",
            starts[2].as_secs_f64() * 1000.0,
            idle as f64 / 1024.0,
            resident_kib(&server) as f64 / 1024.0,
        );
    }
}

/// Logs in users who never did, on 64 connections for five seconds, in no order that a cache would
/// like.
async fn log_in(server: &Server, api_key: &str, users: std::ops::Range<u32>) -> f64 {
    const CONNECTIONS: u32 = 64;
    let started = Instant::now();
    let share = (users.end - users.start) / CONNECTIONS;
    let tasks = (0..CONNECTIONS).map(|number| {
        let (url, api_key) = (server.url.clone(), api_key.to_owned());
        let first = users.start + number * share;
        tokio::spawn(async move {
            let mut connection = Connection::open(&url, &api_key).await;
            let mut done = 0;
            while started.elapsed() < Duration::from_secs(5) && done < share {
                // 7919 is prime and no share divides it: every user of the share once.
                let user = first + u32::try_from(u64::from(done) * 7919 % u64::from(share)).unwrap();
                assert_eq!(connection.verify(&population::user(user), &population::hotp(user, 0)).await, 200);
                done += 1;
            }
            done
        })
    });
    let mut total = 0;
    for task in tasks.collect::<Vec<_>>() {
        total += task.await.unwrap();
    }
    f64::from(total) / started.elapsed().as_secs_f64()
}

fn resident_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn bytes_on_disk(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let database = files.filter(|file| file.file_name().to_string_lossy().starts_with("mfa.db"));
    database.map(|file| file.metadata().unwrap().len()).sum()
}
