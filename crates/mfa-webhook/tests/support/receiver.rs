//! A receiver of webhooks that does what it is told, for tests. It speaks just enough HTTP.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is done with one message.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// It is answered with that status.
    Status(u16),
    /// It is answered with that status and one more header.
    With(u16, &'static str, String),
    /// It is answered with 200 after so long.
    Late(Duration),
    /// It is never answered.
    Hang,
    /// The connection is closed instead.
    Close,
    /// It is answered with that status and bytes without end.
    Endless(u16),
    /// It is answered with what is no HTTP.
    Nonsense,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The status that it was answered with; 0 if it was not.
    pub(crate) status: u16,
}

/// A receiver on a free port. It is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    replies: Mutex<VecDeque<Reply>>,
    usual: Mutex<Option<Reply>>,
    received: Mutex<Vec<Received>>,
    bytes_sent: Mutex<u64>,
    arrived: Notify,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

impl Receiver {
    /// One that answers 204, unless it is told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut receiver =
            Self { address: listener.local_addr().unwrap(), state: Arc::default(), task: None };
        receiver.listen(listener);
        receiver
    }

    fn listen(&mut self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        self.task = Some(tokio::spawn(async move {
            // Dropped with this task, and so are their connections.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
        }));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What is done with the next messages, one after the other.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.replies.lock().unwrap().extend(replies);
    }

    /// What is done with every message that nothing else was said about.
    pub(crate) fn always(&self, reply: Reply) {
        *self.state.usual.lock().unwrap() = Some(reply);
    }

    /// Everything that came so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Bytes of endless answers that it got rid of.
    pub(crate) fn bytes_sent(&self) -> u64 {
        *self.state.bytes_sent.lock().unwrap()
    }

    /// Waits until so many messages came, and no longer than a minute.
    pub(crate) async fn arrived(&self, count: usize) {
        let all = async {
            loop {
                let next = self.state.arrived.notified();
                if self.state.received.lock().unwrap().len() >= count {
                    return;
                }
                next.await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), all).await.unwrap();
    }

    /// Stops listening, and breaks every connection.
    pub(crate) async fn go_down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn come_up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut received) = read(&mut stream).await {
        let queued = state.replies.lock().unwrap().pop_front();
        let reply = queued.or_else(|| state.usual.lock().unwrap().clone()).unwrap_or(Reply::Status(204));
        received.status = match reply {
            Reply::Status(status) | Reply::With(status, _, _) | Reply::Endless(status) => status,
            Reply::Late(_) => 200,
            Reply::Hang | Reply::Close | Reply::Nonsense => 0,
        };
        state.received.lock().unwrap().push(received);
        state.arrived.notify_waiters();
        if !answer(&mut stream, reply, &state).await {
            return;
        }
    }
}

/// Answers; `false` if the connection is of no more use.
async fn answer(stream: &mut BufReader<TcpStream>, reply: Reply, state: &State) -> bool {
    let head =
        |status: u16, rest: &str| format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {rest}\r\n\r\n");
    let (text, goes_on) = match reply {
        Reply::Status(204) => ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), true),
        Reply::Status(status) => (head(status, "0"), true),
        Reply::With(status, name, value) => (head(status, &format!("0\r\n{name}: {value}")), true),
        Reply::Late(wait) => {
            tokio::time::sleep(wait).await;
            (head(200, "0"), true)
        }
        Reply::Hang => {
            // Until the other side gives up.
            let _ = stream.read_u8().await;
            return false;
        }
        Reply::Close => return false,
        Reply::Endless(status) => {
            let _ = stream.write_all(head(status, "100000000").as_bytes()).await;
            let noise = vec![b'x'; 100_000];
            for _ in 0..1000 {
                if stream.write_all(&noise).await.is_err() {
                    return false;
                }
                *state.bytes_sent.lock().unwrap() += noise.len() as u64;
            }
            return false;
        }
        Reply::Nonsense => ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), false),
    };
    stream.write_all(text.as_bytes()).await.is_ok() && goes_on
}

/// Reads a request; `None` if there is no more, or not a whole one.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut received = Received { path, headers, body: Vec::new(), status: 0 };
    received.body = vec![0; received.header("content-length").parse().ok()?];
    stream.read_exact(&mut received.body).await.ok()?;
    Some(received)
}
