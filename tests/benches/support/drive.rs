//! Drives a server, from one thread of its own, so that the client costs as little as it can.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::population;

/// Which users one connection logs in, and the counter that each of their tokens is at.
pub struct Walk {
    first: u32,
    counters: Vec<u64>,
    at: u32,
    every: u32,
}

impl Walk {
    /// The users shared out to so many connections.
    pub fn share_out(users: Range<u32>, connections: u32) -> Vec<Self> {
        let share = (users.end - users.start) / connections;
        let walk =
            |n| Self { first: users.start + n * share, counters: vec![0; share as usize], at: 0, every: 1 };
        (0..connections).map(walk).collect()
    }

    /// From now on only one user of so many.
    pub const fn every(&mut self, users: u32) {
        self.every = users;
    }

    /// The next user, and a code that was never used. It goes through all users before one comes
    /// again, in no order that a cache would like.
    pub fn next(&mut self) -> (u32, u64) {
        let share = u32::try_from(self.counters.len()).expect("few") / self.every;
        // A prime that divides no share that is used.
        let user = u32::try_from(u64::from(self.at) * 7919 % u64::from(share)).expect("few") * self.every;
        self.at = (self.at + 1) % share;
        let counter = &mut self.counters[user as usize];
        *counter += 1;
        (self.first + user, *counter - 1)
    }
}

/// Logs users in for some time, each connection one after the other; every code is right and used
/// once. Gives how many a second.
pub async fn closed_loop(url: &str, api_key: &str, walks: &mut Vec<Walk>, time: Duration) -> f64 {
    let (url, api_key, mut taken) = (url.to_owned(), api_key.to_owned(), std::mem::take(walks));
    let (rate, given_back) = on_a_thread(move || async move {
        let mut connections = JoinSet::new();
        let began = Instant::now();
        for mut walk in taken.drain(..) {
            let mut connection = Connection::open(&url, &api_key).await;
            connections.spawn(async move {
                let mut done = 0_u32;
                while began.elapsed() < time {
                    let (user, counter) = walk.next();
                    let code = population::hotp(user, counter);
                    assert_eq!(connection.verify(&population::user(user), &code).await, 200);
                    done += 1;
                }
                (walk, done)
            });
        }
        let (walks, done): (Vec<Walk>, Vec<u32>) = connections.join_all().await.into_iter().unzip();
        (f64::from(done.iter().sum::<u32>()) / began.elapsed().as_secs_f64(), walks)
    })
    .await;
    *walks = given_back;
    rate
}

/// Does some work for users until the time is over; for [`Duration::MAX`], for all of them. Each list of users has a
/// connection, and its users take turns. Gives the results, those of the first list first.
pub async fn in_parallel<T: Send + 'static>(
    url: &str,
    api_key: &str,
    lists: Vec<impl IntoIterator<Item = u32> + Send + 'static>,
    time: Duration,
    work: impl AsyncFn(&mut Connection, u32) -> T + Send + 'static,
) -> Vec<T> {
    let (url, api_key) = (url.to_owned(), api_key.to_owned());
    on_a_thread(move || async move {
        let (url, api_key, work) = (&url, &api_key, &work);
        let began = Instant::now();
        let connections = lists.into_iter().map(|users| async move {
            let mut connection = Connection::open(url, api_key).await;
            let mut results = Vec::new();
            for user in users {
                if began.elapsed() > time {
                    break;
                }
                results.push(work(&mut connection, user).await);
            }
            results
        });
        join_all(connections).await.into_iter().flatten().collect::<Vec<T>>()
    })
    .await
}

/// Posts codes at a fixed rate, whether or not the server keeps up. Gives how long each took from the
/// moment when it was due, so that a server that stalls is charged for those that it kept waiting
/// (no coordinated omission).
pub async fn open_loop(
    url: &str,
    api_key: &str,
    connections: u32,
    rate: f64,
    logins: Box<dyn Iterator<Item = (String, String)> + Send>,
) -> Vec<Duration> {
    let (url, api_key) = (url.to_owned(), api_key.to_owned());
    on_a_thread(move || async move {
        // The one that waited longest is next: the server closes those that are idle for seconds.
        let mut idle = VecDeque::new();
        for _ in 0..connections {
            idle.push_back(Connection::open(&url, &api_key).await);
        }
        let (sender, mut due) = mpsc::unbounded_channel();
        // A thread, since timers of the runtime are right to a millisecond only.
        std::thread::spawn(move || {
            let began = Instant::now();
            for (n, login) in (0_u32..).zip(logins) {
                let at = began + Duration::from_secs_f64(f64::from(n) / rate);
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                if sender.send((at, login)).is_err() {
                    return;
                }
            }
        });
        let mut latencies = Vec::new();
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some((at, (user, code))) = due.recv(), if !idle.is_empty() => {
                    let mut connection = idle.pop_front().expect("one");
                    running.spawn(async move {
                        assert_eq!(connection.verify(&user, &code).await, 200);
                        (connection, at.elapsed())
                    });
                }
                Some(done) = running.join_next() => {
                    let (connection, latency) = done.expect("an answer");
                    idle.push_back(connection);
                    latencies.push(latency);
                }
                else => return latencies,
            }
        }
    })
    .await
}

/// The value that so many of a hundred are at most.
pub fn percentile(latencies: &mut [Duration], percent: usize) -> Duration {
    permille(latencies, percent * 10)
}

/// The value that so many of a thousand are at most.
pub fn permille(latencies: &mut [Duration], of: usize) -> Duration {
    latencies.sort_unstable();
    latencies[(latencies.len() * of / 1000).min(latencies.len() - 1)]
}

/// Runs a future on a thread of its own, with a runtime of its own.
pub async fn on_a_thread<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work())
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}
