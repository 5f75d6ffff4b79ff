//! Errors of Redis, worded for the operator of the program.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::StoreError;
use redis::{ErrorKind, ServerErrorKind};
use thiserror::Error;

/// Why Redis could not be opened, read or written. No text of it holds a stored value, a password or the URL.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL is not one of Redis, or has an unknown parameter.
    #[error("the URL of Redis is not valid: {0}")]
    Url(String),
    /// No server answers at the address.
    #[error("no Redis server can be reached at {server}; is it running, and is the address right?")]
    Unreachable {
        /// The address.
        server: String,
        /// The error of the last attempt.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// The server does not accept the user or the password.
    #[error("Redis refused the user or the password")]
    Refused,
    /// No encrypted connection could be made.
    #[error(
        "no TLS connection could be made to Redis; is TLS enabled on that port, and its certificate trusted?"
    )]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// The server is a replica, or is set read-only.
    #[error("the Redis server is a replica, or cannot be written to; connect to the primary")]
    ReadOnly,
    /// The server is too old.
    #[error("the Redis server has version {found}; at least {needed} is required")]
    TooOld {
        /// The version of the server.
        found: String,
        /// The oldest supported version.
        needed: &'static str,
    },
    /// The server could lose confirmed changes. The text says what to set.
    #[error("Redis could lose confirmed changes: {0}")]
    NotDurable(String),
    /// The server may evict data that is still needed.
    #[error("Redis may evict data that is still needed: set maxmemory-policy to noeviction (it is {found})")]
    Evicting {
        /// The policy of the server.
        found: String,
    },
    /// The keys of the namespace belong to another program. Nothing was changed.
    #[error("the keys {namespace}:… of this Redis belong to another program, or some of ours are missing")]
    Foreign {
        /// The namespace.
        namespace: String,
    },
    /// A newer, incompatible version of this program has written the keys. Nothing was changed.
    #[error(
        "a newer version of this program wrote the keys: they have version {found}, \
         and this program supports only version {known}"
    )]
    TooNew {
        /// The major version of the keys.
        found: u32,
        /// The major version that this program supports.
        known: u32,
    },
    /// The Redis user lacks a permission.
    #[error("the Redis user lacks a permission: {0}")]
    Privilege(String),
    /// The connection was lost. A change may or may not have been made.
    #[error("the connection to Redis was lost")]
    ConnectionLost(#[source] Arc<dyn StdError + Send + Sync>),
    /// The call took too long. A change may or may not have been made.
    #[error("Redis did not answer in time")]
    Timeout,
    /// Too few replicas confirmed a change in time. It may have been made, and may be lost.
    #[error("{got} of {wanted} replicas confirmed the change within {} ms", .within.as_millis())]
    Unacknowledged {
        /// How many replicas must confirm.
        wanted: u32,
        /// How many confirmed.
        got: u32,
        /// How long the call waited.
        within: Duration,
    },
    /// The server, or the part of the cluster that has the key, is temporarily out of service. Nothing was
    /// changed.
    #[error("Redis is temporarily unavailable: {0}")]
    Unavailable(String),
    /// The memory is used up. Nothing was changed.
    #[error("Redis has no memory left; raise maxmemory")]
    OutOfMemory,
    /// The server cannot write to its disk. Nothing was changed.
    #[error("Redis cannot write to its disk: {0}")]
    DiskFailed(String),
    /// The server shows older data than before: it lost confirmed changes.
    #[error(
        "Redis has lost changes of tenant {tenant} that it had confirmed, as after a failover or a restart; \
         check its data, and restart this program to continue with it"
    )]
    WentBack {
        /// The tenant.
        tenant: String,
    },
    /// All data that existed when the store was opened is gone.
    #[error("Redis has lost all data; restore its files, or restart this program to start empty")]
    Emptied,
    /// A key holds a value that this version cannot read.
    #[error("field {field} of a key {key} holds a value that this version cannot read")]
    Undecodable {
        /// The kind of key.
        key: &'static str,
        /// The field of the key.
        field: &'static str,
    },
    /// A number is too large to be stored.
    #[error("the number for field {field} is too large")]
    TooLarge {
        /// The field of the number.
        field: &'static str,
    },
    /// An API key with this id already exists. The new one was not stored.
    #[error("an API key with this id already exists")]
    DuplicateApiKey,
    /// A challenge with this id already exists. The new one was not stored.
    #[error("a challenge with this id already exists")]
    DuplicateChallenge,
    /// Any other error.
    #[error("Redis failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

/// The consequence of a driver error for the call that got it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not have the script of this hash.
    NoScript,
    /// The key is on another node while its slot moves there.
    Ask {
        host: String,
        port: u16,
    },
    /// Nothing was done. A later attempt may succeed, perhaps on another server.
    NotNow(RedisError),
    Final(RedisError),
}

/// A message of a server, or of a failed attempt to connect.
#[derive(Debug, Error)]
#[error("{0}")]
struct Plain(String);

impl RedisError {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(Arc::new(Plain(text.into())))
    }

    /// The error of a script that could not read a key.
    fn unreadable(what: Option<&str>) -> Self {
        let (key, field) = match what {
            Some("last") => ("last", "id"),
            Some("sealed") => ("sealed", "member"),
            Some("sealed_with") => ("account", "sealed_with"),
            Some("events") => ("events", "member"),
            Some("challenge") => ("challenge", "expires_at"),
            Some("version") => ("messages", "version"),
            Some("expires_at") => ("messages", "expires_at"),
            _ => ("throttle", "bucket"),
        };
        Self::Undecodable { key, field }
    }

    /// Whether the connection that returned it should not be used again. A server that hangs does not answer,
    /// and another one may have replaced it.
    pub(crate) const fn breaks_connection(&self) -> bool {
        matches!(self, Self::ConnectionLost(_) | Self::ReadOnly | Self::Refused | Self::Timeout)
    }

    /// Translates the error of a failed attempt to connect.
    pub(crate) fn of_connecting(error: &redis::RedisError, server: &str) -> Self {
        match Failure::of(error) {
            Failure::Final(Self::ConnectionLost(cause)) if is_tls(error) => Self::Tls(cause),
            Failure::Final(Self::ConnectionLost(cause) | Self::Other(cause)) => {
                Self::Unreachable { server: server.to_owned(), cause }
            }
            Failure::Final(Self::Timeout) => {
                let cause = Arc::new(Plain("the server did not answer in time".to_owned()));
                Self::Unreachable { server: server.to_owned(), cause }
            }
            Failure::Final(error) | Failure::NotNow(error) => error,
            Failure::NoScript | Failure::Ask { .. } => Self::other("an unexpected answer"),
        }
    }
}

/// Whether an I/O error wraps one of TLS.
fn is_tls(error: &redis::RedisError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // Neither type returns the wrapped error as its source.
        let shared = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>();
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match (shared, inner) {
            (Some(shared), _) => Some(&**shared),
            (_, Some(inner)) => Some(inner),
            _ => error.source(),
        };
    }
    false
}

impl Failure {
    /// The driver's own error is not kept as the source: a server's message about an unknown command can
    /// repeat its arguments, a password included.
    pub(crate) fn of(error: &redis::RedisError) -> Self {
        let said = plain(error);
        let final_of = |error| Self::Final(error);
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_server(kind, error, said),
            ErrorKind::AuthenticationFailed => final_of(RedisError::Refused),
            ErrorKind::Extension => match error.code() {
                Some("OOM") => final_of(RedisError::OutOfMemory),
                Some("MISCONF") => final_of(RedisError::DiskFailed(said)),
                Some("NOAUTH" | "WRONGPASS") => final_of(RedisError::Refused),
                Some("NOREPLICAS" | "BUSY") => final_of(RedisError::Unavailable(said)),
                Some("UNREADABLE") => final_of(RedisError::unreadable(error.detail())),
                Some("WRONGTYPE") => final_of(RedisError::Undecodable { key: "of ours", field: "type" }),
                _ => final_of(RedisError::other(said)),
            },
            ErrorKind::Io if error.is_timeout() => final_of(RedisError::Timeout),
            ErrorKind::Io | ErrorKind::Parse => final_of(RedisError::ConnectionLost(Arc::new(Plain(said)))),
            ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => Self::NotNow(RedisError::Unavailable(said)),
            _ => final_of(RedisError::other(said)),
        }
    }

    fn of_server(kind: ServerErrorKind, error: &redis::RedisError, said: String) -> Self {
        match kind {
            ServerErrorKind::NoScript => Self::NoScript,
            ServerErrorKind::Ask => {
                let node = error.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
                match node.map(|(host, port)| (host, port.parse())) {
                    Some((host, Ok(port))) => Self::Ask { host: host.to_owned(), port },
                    _ => Self::NotNow(RedisError::Unavailable(said)),
                }
            }
            ServerErrorKind::Moved
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading => Self::NotNow(RedisError::Unavailable(said)),
            ServerErrorKind::ReadOnly => Self::NotNow(RedisError::ReadOnly),
            ServerErrorKind::NoPerm => Self::Final(RedisError::Privilege(said)),
            // A failure within a script is reported with the script's own words around it.
            ServerErrorKind::ResponseError if said.contains("OOM") => Self::Final(RedisError::OutOfMemory),
            _ => Self::Final(RedisError::other(said)),
        }
    }
}

/// The message of a server without the arguments of the command.
fn plain(error: &redis::RedisError) -> String {
    let said = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    };
    let end = said.find(", with args beginning with").unwrap_or(said.len());
    said[..end].to_owned()
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Undecodable { .. } => Self::unreadable(error),
            error => Self::new(error),
        }
    }
}
