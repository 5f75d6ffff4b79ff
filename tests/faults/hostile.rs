//! Connections of clients without an API key: they cost little memory, they end, and they keep nobody out.

use std::fs;
use std::time::Duration;

use mfa_tests::{Authenticator, Client, Server, ServerOptions, binary, raise_limit_of_open_files};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// How many connections there are of each sort.
const CROWD: usize = 1_000;

/// How much memory of the server they may take together, in KiB, as docs/reliability.md promises.
const MOST: usize = 64 * 1024;

/// How long the server may take to close a useless connection: at most 15 seconds, and more on a busy machine.
const GIVEN_UP: Duration = Duration::from_mins(1);

/// How long a login of somebody else may take at the 99th percentile: far more than measured, for a busy machine.
const SERVED: Duration = Duration::from_secs(2);

/// A sort of connection: what it sends without reading anything.
struct Sort {
    name: &'static str,
    sends: Vec<u8>,
}

fn sorts() -> [Sort; 9] {
    // As many fields as the server accepts, and nearly as many bytes.
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

/// With refusals that are held back, and with refusals at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_of_each_sort_cost_little_memory_and_others_are_served() {
    raise_limit_of_open_files();
    for (delay, sorts) in [("1s", &sorts()[..]), ("0s", &sorts()[4..6])] {
        // The other tests log at `trace`, which costs time and shows nothing here.
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

/// Each step has a limit of time, reading an answer included.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_is_closed_and_makes_room_for_others() {
    let server = server([("THROTTLE_ADDRESS", "100/1h"), ("MAX_CONNECTIONS", "64")]);
    for sort in sorts().into_iter().filter(|sort| sort.name.ends_with("nobody reads")) {
        let crowd = crowd(&server, 80, &sort.sends).await;
        let begun = Instant::now();
        let answer = timeout(GIVEN_UP, server.client.at(&server.url).get("/healthz")).await;
        answer.unwrap_or_else(|_| panic!("{}: nobody else is served", sort.name)).expect(200);
        println!("{}: others were served after {:?}", sort.name, begun.elapsed());
        are_closed(sort.name, crowd).await;
    }
    exhaust_quota(&server.client).await;
    for sort in sorts().into_iter().filter(|sort| !sort.name.ends_with("nobody reads")) {
        // The server answers each request of these for as long as the client likes to send them.
        if sort.name != "pipelined requests, answered" {
            let crowd = crowd(&server, 8, &sort.sends).await;
            are_closed(sort.name, crowd).await;
        }
    }
}

/// Refusals of requests that were sent ahead are held back beside each other, also where the client is gone.
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
    // Sixty-four at a time, and each for a second and a half at most.
    let soon = Duration::from_secs(15);
    let answer = timeout(soon, server.client.at(&server.url).get("/healthz")).await;
    answer.expect("nobody else is served").expect(200);
}

/// Opens connections. Each sends as much as the server takes at once.
async fn crowd(server: &Server, count: usize, sends: &[u8]) -> Vec<TcpStream> {
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        // What the client does not read stays with the server.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut connection = socket.connect(address).await.unwrap();
        // The server takes no more, or has closed the connection.
        let _ = timeout(Duration::from_millis(1), connection.write_all(sends)).await;
        crowd.push(connection);
    }
    crowd
}

/// Waits until the server has closed each, without reading, so that unread answers stay in the way.
async fn are_closed(name: &str, crowd: Vec<TcpStream>) {
    let begun = Instant::now();
    for connection in crowd {
        while !connection.ready(Interest::READABLE).await.unwrap().is_read_closed() {
            assert!(begun.elapsed() < GIVEN_UP, "{name}: stays open");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Somebody else, who logs in again and again.
struct Others {
    client: Client,
    phone: Authenticator,
    counter: u64,
}

impl Others {
    /// How long logins take at the 99th percentile, of 200.
    async fn p99(&mut self) -> Duration {
        let mut took = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            self.client.verify("bob", &self.phone.hotp(self.counter)).await.expect(200);
            took.push(begun.elapsed());
            self.counter += 1;
        }
        took.sort();
        took[197]
    }
}

/// After this the server refuses every request without a key.
async fn exhaust_quota(client: &Client) {
    let stranger = client.with_key(None);
    while stranger.get("/v1/users/alice").await.problem() != "throttled" {}
}

fn server<const N: usize>(settings: [(&str, &str); N]) -> Server {
    let mut options = ServerOptions::new([("MFA_STORE", "memory:")]);
    options.environment.extend(settings.map(|(name, value)| (format!("MFA_{name}"), value.to_owned())));
    Server::with(binary!(), options)
}

/// A figure of the kernel about the process, in KiB.
fn memory(server: &Server, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// Starts the measurement of the peak anew.
fn forget_peak(server: &Server) {
    // Where the kernel does not allow it the peak since the start counts, which is no less.
    let _ = fs::write(format!("/proc/{}/clear_refs", server.id()), "5");
}
