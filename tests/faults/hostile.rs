//! Clients without an API key: their connections use little memory, end, and keep nobody out.

use std::fs;
use std::time::Duration;

use mfa_tests::{Authenticator, Client, Server, ServerOptions, binary, raise_limit_of_open_files, rounds};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// The number of connections of each kind.
const CROWD: usize = 1_000;

/// The memory of the server that they may use together, in KiB, as docs/reliability.md promises.
const MOST: usize = 64 * 1024;

/// The maximum time until the server closes a useless connection: 15 seconds by contract, and more here for a
/// busy machine.
const GIVEN_UP: Duration = Duration::from_mins(1);

/// The maximum time of a login of another client at the 99th percentile: far more than measured, for a busy
/// machine.
const SERVED: Duration = Duration::from_secs(2);

/// A kind of connection: it sends this and reads nothing.
struct Sort {
    name: &'static str,
    sends: Vec<u8>,
}

fn sorts() -> [Sort; 9] {
    // The maximum number of header fields, and nearly the maximum number of bytes.
    let field = |number| format!("X-Field-{number}: {}\r\n", "a".repeat(70));
    let fields = (0..90).map(field).collect::<Vec<_>>().concat();
    let head = format!("POST /v1/users/alice/verify HTTP/1.1\r\nHost: x\r\n{fields}");
    let length = "Content-Type: application/json\r\nContent-Length: 16384";
    let body = format!("{head}{length}\r\n\r\n{}", " ".repeat(16_383));
    let chunks = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", "1\r\n \r\n".repeat(16_383));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(4_000);
    [
        ("silent", String::new()),
        ("half a head", head.clone()),
        ("half a body", body),
        ("half a body in chunks", chunks),
        ("large heads, refused", format!("{head}\r\n").repeat(50)),
        ("pipelined requests, refused", get("/v1/users/alice")),
        ("pipelined requests, answered", get("/healthz")),
        ("a document that nobody reads", get("/openapi.json")),
        ("metrics that nobody reads", get("/metrics")),
    ]
    .map(|(name, sends)| Sort { name, sends: sends.into_bytes() })
}

/// With delayed refusals, and with immediate ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_of_each_sort_cost_little_memory_and_others_are_served() {
    raise_limit_of_open_files();
    for (delay, sorts) in [("1s", &sorts()[..]), ("0s", &sorts()[4..6])] {
        // Other tests log at `trace`, which costs time and is not needed here.
        let server =
            server([("LOG", "info"), ("THROTTLE_ADDRESS", "100/1h"), ("THROTTLE_REFUSAL_DELAY", delay)]);
        let (phone, _) = server.client.enrol("bob", "hotp").await;
        let mut others = Others { client: server.client.clone(), phone, counter: 1 };
        exhaust_quota(&server.client).await;
        let idle = others.p99().await;
        let before = memory(&server, "VmRSS");
        for sort in sorts {
            forget_peak(&server);
            let (crowd, opening) = tokio::join!(crowd(&server, CROWD, &sort.sends), others.p99());
            let standing = others.p99().await;
            let cost = memory(&server, "VmHWM").saturating_sub(before);
            println!(
                "{CROWD} connections, {} (refused after {delay}): {cost} KiB; logins of others at p99: {opening:?} \
                 while they open, {standing:?} while they stand, {idle:?} without them",
                sort.name
            );
            assert!(cost <= MOST, "{}: {cost} KiB", sort.name);
            assert!(standing < SERVED, "{}: {standing:?}", sort.name);
            drop(crowd);
        }
    }
}

/// Each step has a time limit, including reading an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_is_closed_and_makes_room_for_others() {
    let server = server([("THROTTLE_ADDRESS", "100/1h"), ("MAX_CONNECTIONS", "64")]);
    for sort in sorts().into_iter().filter(|sort| sort.name.ends_with("nobody reads")) {
        let crowd = crowd(&server, 80, &sort.sends).await;
        let begun = Instant::now();
        let answer = timeout(GIVEN_UP, server.client.at(&server.url).get("/healthz")).await;
        answer.unwrap_or_else(|_| panic!("{}: other clients are not served", sort.name)).expect(200);
        println!("{}: others were served after {:?}", sort.name, begun.elapsed());
        are_closed(sort.name, crowd).await;
    }
    exhaust_quota(&server.client).await;
    for sort in sorts().into_iter().filter(|sort| !sort.name.ends_with("nobody reads")) {
        // The server answers these requests for as long as the client sends them.
        if sort.name != "pipelined requests, answered" {
            let crowd = crowd(&server, 8, &sort.sends).await;
            are_closed(sort.name, crowd).await;
        }
    }
}

/// Refusals of pipelined requests are delayed in parallel, even if the client is gone.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_requests_that_were_sent_ahead_do_not_wait_for_each_other() {
    let server = server([
        ("THROTTLE_ADDRESS", "1/1h"),
        ("THROTTLE_REFUSAL_DELAY", "1s"),
        ("MAX_CONNECTIONS", "64"),
        ("WORKERS", "1"),
    ]);
    exhaust_quota(&server.client).await;
    let ahead = ["/healthz", "/v1/users/alice"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    drop(crowd(&server, 300, ahead.concat().as_bytes()).await);
    // Sixty-four at a time, each for at most one and a half seconds.
    let soon = Duration::from_secs(15);
    let answer = timeout(soon, server.client.at(&server.url).get("/healthz")).await;
    answer.expect("other clients are not served").expect(200);
}

/// Opens connections. Each sends as much as the server accepts at once.
async fn crowd(server: &Server, count: usize, sends: &[u8]) -> Vec<TcpStream> {
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        // A small buffer, so that unread data stays on the server.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut connection = socket.connect(address).await.unwrap();
        // The server accepts no more, or has closed the connection.
        let _ = timeout(Duration::from_millis(1), connection.write_all(sends)).await;
        crowd.push(connection);
    }
    crowd
}

/// Waits until the server has closed each connection, without reading, so that unread answers block it.
async fn are_closed(name: &str, crowd: Vec<TcpStream>) {
    let begun = Instant::now();
    for connection in crowd {
        while !connection.ready(Interest::READABLE).await.unwrap().is_read_closed() {
            assert!(begun.elapsed() < GIVEN_UP, "{name}: stays open");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Another client, which logs in repeatedly.
struct Others {
    client: Client,
    phone: Authenticator,
    counter: u64,
}

impl Others {
    /// The duration of logins at the 99th percentile.
    async fn p99(&mut self) -> Duration {
        let logins = rounds(60, 200);
        let mut took = Vec::new();
        for _ in 0..logins {
            let begun = Instant::now();
            self.client.verify("bob", &self.phone.hotp(self.counter)).await.expect(200);
            took.push(begun.elapsed());
            self.counter += 1;
        }
        took.sort();
        took[logins * 99 / 100 - 1]
    }
}

/// Uses up the quota of requests without a key; the server throttles them from then on.
async fn exhaust_quota(client: &Client) {
    let stranger = client.with_key(None);
    while stranger.get("/v1/users/alice").await.problem() != "throttled" {}
}

fn server<const N: usize>(settings: [(&str, &str); N]) -> Server {
    let mut options = ServerOptions::new([("MFA_STORE", "memory:")]);
    options.environment.extend(settings.map(|(name, value)| (format!("MFA_{name}"), value.to_owned())));
    Server::with(binary!(), options)
}

/// A value of the kernel about the process, in KiB.
fn memory(server: &Server, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// Resets the peak of memory use.
fn forget_peak(server: &Server) {
    // If the kernel does not allow this, the peak since the start counts, which is not lower.
    let _ = fs::write(format!("/proc/{}/clear_refs", server.id()), "5");
}
