//! A pooler in transaction mode, at its worst: between any two transactions of a connection somebody else
//! has had its session, and has set there what is bad for us.
//!
//! Prepared statements are kept, as poolers keep them that are of use here.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// All that `DISCARD ALL` does, but for prepared statements.
pub(crate) const DISCARD: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES";

/// What no promise may rest on.
pub(crate) const HOSTILE: &str = "SET synchronous_commit = off; SET lock_timeout = 1; \
    SET idle_in_transaction_session_timeout = 200; SET default_transaction_isolation = serializable; \
    SET default_transaction_read_only = on; SET default_transaction_deferrable = on; SET search_path = ''; \
    SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET bytea_output = 'escape'; \
    SET plan_cache_mode = force_custom_plan; SET enable_nestloop = off; SET enable_indexscan = off; \
    SET enable_seqscan = on; SET client_encoding = 'LATIN1'; SET ROLE pg_monitor; SET statement_timeout = 1";

/// What lets each statement be made, and could change what it means.
pub(crate) const SILENT: &str = "SET array_nulls = off; SET transform_null_equals = on; SET row_security = off; \
    SET standard_conforming_strings = off; SET backslash_quote = on; SET escape_string_warning = off; \
    SET session_replication_role = replica; SET search_path = ''; SET timezone = 'Asia/Kathmandu'; \
    SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape'; \
    SET extra_float_digits = -15; SET xmloption = 'document'; SET xmlbinary = 'hex'; \
    SET default_transaction_isolation = serializable; SET check_function_bodies = off";

/// Each makes other texts of what is sent and read.
pub(crate) const ENCODINGS: [&str; 4] = [
    "SET client_encoding = 'LATIN1'",
    "SET client_encoding = 'WIN1251'",
    "SET client_encoding = 'EUC_JP'",
    "SET client_encoding = 'SQL_ASCII'",
];

/// Somebody who may neither read nor write our tables.
pub(crate) const OTHER_ROLE: &str = "SET ROLE pg_monitor";

/// Somebody who changes nothing.
pub(crate) const NOTHING: &str = "";

/// With it a crash loses what was committed, and nothing else is to be seen.
pub(crate) const FORGETFUL: &str = "SET synchronous_commit = off";

/// What a connection may be begun with, as PgBouncer has it.
const PARAMETERS: [&str; 6] =
    ["user", "database", "client_encoding", "DateStyle", "TimeZone", "application_name"];

/// It ends, for new connections, when it is dropped.
pub(crate) struct Pooler {
    port: u16,
    between: Arc<Between>,
    listening: JoinHandle<()>,
}

/// What somebody else does in the session between two transactions, by turns.
struct Between {
    statements: &'static [&'static str],
    done: AtomicUsize,
}

/// A message: its kind, and all of its bytes.
type Message = (u8, Vec<u8>);

impl Pooler {
    /// A way to a server's socket. Must be called on a tokio runtime.
    pub(crate) async fn to(socket: PathBuf, statements: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = Arc::new(Between { statements, done: AtomicUsize::new(0) });
        let others = Arc::clone(&between);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, others) = (socket.clone(), Arc::clone(&others));
                // A connection that is lost is an error to whoever has it.
                tokio::spawn(async move { drop(carry(client, &socket, &others).await) });
            }
        });
        Self { port, between, listening }
    }

    /// The URL of a database of the server.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://mfa@127.0.0.1:{}/{database}", self.port)
    }

    /// How often somebody else has had a session.
    pub(crate) fn between(&self) -> usize {
        self.between.done.load(Ordering::Relaxed)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One connection, a transaction at a time.
async fn carry(client: TcpStream, socket: &Path, between: &Between) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    let mut startup = untyped(&mut client).await?;
    if startup[4..8] == 80_877_103_u32.to_be_bytes() {
        client.write_all(b"N").await?;
        startup = untyped(&mut client).await?;
    }
    let words: Vec<&[u8]> = startup[8..].split(|byte| *byte == 0).collect();
    let mut names = words.chunks(2).map(|pair| String::from_utf8_lossy(pair[0]));
    if let Some(name) = names.find(|name| !name.is_empty() && !PARAMETERS.contains(&&**name)) {
        return client.write_all(&refusal(&format!("unsupported startup parameter: {name}"))).await;
    }
    let mut server = BufReader::new(UnixStream::connect(socket).await?);
    server.write_all(&startup).await?;
    let mut state = answers(&mut server, &mut client).await?;
    loop {
        let mut message = tokio::select! {
            message = typed(&mut client) => message?,
            // It says nothing by itself but that it ends.
            _ = server.read_u8() => return Ok(()),
        };
        if state == b'I' {
            between.have(&mut server).await?;
        }
        // What is sent together: up to a query, or to what ends several messages.
        while !matches!(message.0, b'Q' | b'S') {
            server.write_all(&message.1).await?;
            message = typed(&mut client).await?;
        }
        server.write_all(&message.1).await?;
        state = answers(&mut server, &mut client).await?;
    }
}

impl Between {
    /// Has a session, until all was done.
    async fn have(&self, server: &mut BufReader<UnixStream>) -> io::Result<()> {
        let turn = self.done.fetch_add(1, Ordering::Relaxed);
        let statements = self.statements[turn % self.statements.len()];
        let query = format!("SET statement_timeout = 0; RESET ROLE; {statements}\0");
        let length = u32::try_from(query.len() + 4).unwrap();
        let message = [b"Q", length.to_be_bytes().as_slice(), query.as_bytes()].concat();
        loop {
            server.write_all(&message).await?;
            let mut failed = false;
            loop {
                let (kind, _) = typed(server).await?;
                failed |= kind == b'E';
                if kind == b'Z' {
                    break;
                }
            }
            if !failed {
                return Ok(());
            }
        }
    }
}

/// Hands on what the server says until it is ready; gives its state.
async fn answers(server: &mut BufReader<UnixStream>, client: &mut BufReader<TcpStream>) -> io::Result<u8> {
    let mut said = Vec::new();
    loop {
        let (kind, bytes) = typed(server).await?;
        said.extend_from_slice(&bytes);
        if kind == b'Z' {
            client.write_all(&said).await?;
            return Ok(bytes[5]);
        }
    }
}

async fn untyped(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(length as usize, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}

async fn typed(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Message> {
    let kind = from.read_u8().await?;
    let mut bytes = vec![kind];
    bytes.extend(untyped(from).await?);
    Ok((kind, bytes))
}

fn refusal(message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C08P01\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", length.to_be_bytes().as_slice(), fields.as_bytes()].concat()
}
