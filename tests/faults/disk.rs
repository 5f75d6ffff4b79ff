//! Full disks: of the database, and of the log.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::slice::from_ref;

use mfa_tests::{Server, ServerOptions, binary, program, rounds};
use tempfile::TempDir;

use super::load::Load;
use super::{on, replicas, told_by_readyz};
use crate::postgres::Server as Postgres;

/// Whether this test may mount disks. If not, it says so on the terminal, because the test runner shows
/// printed output for failures only.
fn may_mount(test: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut mount = Command::new("unshare");
    mount.args(["--mount", "mount", "-t", "tmpfs", "none"]).arg(folder.path());
    let may = mount.output().is_ok_and(|output| output.status.success());
    if !may {
        let mut output = std::io::stderr();
        writeln!(output, "NOT RUN: {test}: it needs permission to mount a disk").unwrap();
    }
    may
}

/// A server whose database is on its own disk of 16 megabytes, and the folder of that disk.
fn on_a_small_disk() -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mount = r#"mount -t tmpfs -o size=16m none "$0" && exec "$@""#;
    let mut options = on(&format!("sqlite:{path}/mfa.db"));
    options.wrapper = ["unshare", "--mount", "sh", "-c", mount, path].map(str::to_owned).to_vec();
    (Server::with(binary!(), options), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_under_sqlite_accepts_nothing_until_there_is_room() {
    if !may_mount("a_disk_that_is_full_under_sqlite") {
        return;
    }
    let times = rounds(2, 5);
    let (server, folder) = on_a_small_disk();
    // The path of the disk for processes outside of its mount namespace.
    let seen = Path::new("/proc")
        .join(server.id().to_string())
        .join("root")
        .join(folder.path().strip_prefix("/").unwrap());
    let load = Load::begin(&[&server], 8).await;
    for _ in 0..times {
        let mut ballast = std::fs::File::create(seen.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        drop(ballast);
        load.refusals_at(0, 50).await;
        told_by_readyz(&server, 503).await;
        std::fs::remove_file(seen.join("ballast")).unwrap();
        load.progress_at(0, 50).await;
        told_by_readyz(&server, 200).await;
    }
    // A command inside of the mount namespace.
    let inside = |words: [&str; 2]| {
        let mut command = program(Path::new("nsenter"));
        command.args(["--mount", "--target", &server.id().to_string(), "--"]).arg(binary!()).args(words);
        command.arg("--data-dir").arg(server.data());
        command.env("MFA_STORE", format!("sqlite:{}/mfa.db", folder.path().display())).output().unwrap()
    };
    load.settle_with(from_ref(&server), inside, &format!("the disk of SQLite was full {times} times")).await;
}

/// The limit on the size of files needs no privileges, and SQLite gets an error like that of a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_may_not_grow_under_sqlite_accept_nothing_until_they_may() {
    let times = rounds(1, 5);
    let mut options = on("sqlite:mfa.db");
    // The limit would also stop the log, which another test covers.
    let unless_killed = r#"trap "" XFSZ; exec "$@" 2>/dev/null"#;
    options.wrapper = ["sh", "-c", unless_killed, "sh"].map(str::to_owned).to_vec();
    let server = Server::with(binary!(), options);
    let limit = |bytes: &str| {
        let process = server.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
        assert!(set.unwrap().success());
    };
    let load = Load::begin(&[&server], 8).await;
    for _ in 0..times {
        limit("65536");
        load.refusals_at(0, 50).await;
        told_by_readyz(&server, 503).await;
        limit("unlimited");
        load.progress_at(0, 50).await;
        told_by_readyz(&server, 200).await;
    }
    load.settle(from_ref(&server), &format!("the files of SQLite could not grow {times} times")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_under_postgresql_accepts_nothing_until_there_is_room() {
    if !may_mount("a_disk_that_is_full_under_postgresql") {
        return;
    }
    let times = rounds(1, 5);
    let database = Postgres::on_a_small_disk("128m");
    let servers = replicas(&database.database().await);
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for _ in 0..times {
        database.fill_disk();
        load.refusals_at(0, 20).await;
        load.refusals_at(1, 20).await;
        told_by_readyz(&servers[0], 503).await;
        told_by_readyz(&servers[1], 503).await;
        database.empty_disk();
        load.progress_at(0, 20).await;
        load.progress_at(1, 20).await;
        told_by_readyz(&servers[0], 200).await;
        told_by_readyz(&servers[1], 200).await;
    }
    load.settle(&servers, &format!("the disk of PostgreSQL was full {times} times")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let mut options: ServerOptions = on("sqlite:mfa.db");
    options.wrapper = ["sh", "-c", r#"exec "$@" 2>/dev/full"#, "sh"].map(str::to_owned).to_vec();
    let server = Server::with(binary!(), options);
    let load = Load::begin(&[&server], 8).await;
    load.progress(100).await;
    load.settle(from_ref(&server), "the log could not be written").await;
}
