//! Overload: silent connections, and hundreds of clients.

use std::slice::from_ref;
use std::time::Duration;

use mfa_tests::{Server, binary, raise_limit_of_open_files, rounds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::load::Load;
use super::on;

/// Half of the head of a request.
const HALF: &[u8] = b"POST /v1/users/alice/verify HTTP/1.1\r\nHost: example.org\r\nContent-Ty";

/// The maximum time until the server closes a connection without a request: five seconds by contract, and
/// more here for a busy machine.
const GIVEN_UP: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections_keep_nobody_from_being_served() {
    raise_limit_of_open_files();
    let server = Server::with(binary!(), on("sqlite:mfa.db"));
    let load = Load::begin(&[&server], rounds(2, 8)).await;
    for _ in 0..rounds(1, 5) {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut slow = Vec::new();
        for _ in 0..2_000 {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(HALF).await.unwrap();
            slow.push(connection);
        }
        let opened = Instant::now();
        load.progress(rounds(50, 100)).await;
        // All of them are closed, so that they make room for others.
        for mut connection in slow {
            let (left, mut rest) = (GIVEN_UP.saturating_sub(opened.elapsed()), Vec::new());
            let given_up = timeout(left, connection.read_to_end(&mut rest)).await;
            // An answer and the end of the connection, or a reset.
            let _ = given_up.expect("a connection without a request stays open");
        }
    }
    load.settle(from_ref(&server), "2,000 slow connections").await;
}

/// Requests that need a hash queue up, and most of them fail; others are served.
#[tokio::test(flavor = "multi_thread")]
async fn more_hashing_than_it_can_do_is_refused_in_time_and_holds_up_nobody_else() {
    let options = on("sqlite:mfa.db").and([
        ("MFA_REQUEST_TIMEOUT", "500ms"),
        ("MFA_ARGON2_MEMORY_KIB", "16384"),
        ("MFA_ARGON2_ITERATIONS", "5"),
        ("MFA_ARGON2_CONCURRENCY", "1"),
        ("MFA_BACKUP_CODES_SET_SIZE", "1"),
        ("MFA_BACKUP_CODES_LOW", "0"),
    ]);
    let server = Server::with(binary!(), options);
    let others = Load::begin(&[&server], 2).await;
    // Even at 20 ms per hash, which is fast, some wait longer than they may.
    let crowd = Load::of_backup_codes(&[&server], rounds(40, 80)).await;
    for _ in 0..rounds(1, 5) {
        crowd.refusals_at(0, 20).await;
        crowd.progress(2).await;
        others.progress(20).await;
    }
    crowd.settle(from_ref(&server), "those who need a hash").await;
    others.settle(from_ref(&server), "the others").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_clients_that_keep_it_busy_are_all_answered_right() {
    raise_limit_of_open_files();
    let clients = rounds(8, 16);
    // A hash for each backup code makes an enrolment long.
    let few = [("MFA_BACKUP_CODES_SET_SIZE", "2"), ("MFA_BACKUP_CODES_LOW", "0")];
    let server = Server::with(binary!(), on("sqlite:mfa.db").and(few));
    let busy = Load::begin(&[&server], clients).await;
    busy.progress(rounds(100, 200)).await;
    busy.settle(from_ref(&server), &format!("{clients} clients")).await;
    let flood = Load::of(&[&server], "flood", 10 * clients, Duration::from_secs(20)).await;
    flood.progress(rounds(400, 2_000)).await;
    flood.settle(from_ref(&server), &format!("{} clients", 10 * clients)).await;
}
