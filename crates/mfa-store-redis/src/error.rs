//! What can go wrong, in words for the person who runs the program.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::StoreError;
use redis::{ErrorKind, ServerErrorKind};
use thiserror::Error;

/// Why Redis could not be opened, read or written. No text of it holds a stored value, a password or the
/// URL.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL is none of Redis, or has a parameter that is not known.
    #[error("the URL of Redis is not valid: {0}")]
    Url(String),
    /// No server answers there.
    #[error("no Redis server can be reached at {server}; is it running, and is the address right?")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What was tried last.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// The server wants another user or password.
    #[error("Redis refused the user or the password")]
    Refused,
    /// No encrypted connection could be made.
    #[error(
        "no TLS connection could be made to Redis; has it TLS on that port, and is its certificate trusted?"
    )]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// It is a replica, or was set read-only.
    #[error("the Redis server is a replica, or cannot be written to; connect to the primary")]
    ReadOnly,
    /// The server is too old.
    #[error("the Redis server has version {found}, and at least {needed} is needed")]
    TooOld {
        /// The version that it has.
        found: String,
        /// The version that it must have.
        needed: &'static str,
    },
    /// What it has answered could be lost. The text says what to set.
    #[error("Redis could lose what it has answered: {0}")]
    NotDurable(String),
    /// It may drop what is still needed to make room.
    #[error("Redis may drop what is still needed: set maxmemory-policy to noeviction (it is {found})")]
    Evicting {
        /// The policy that it has.
        found: String,
    },
    /// The keys of the namespace belong to somebody else. Nothing was changed.
    #[error("the keys {namespace}:… of this Redis are another program's, or parts of ours are gone")]
    Foreign {
        /// Which namespace.
        namespace: String,
    },
    /// A newer, incompatible version of this program has written here. Nothing was changed.
    #[error(
        "a newer version of this program wrote here: the keys have version {found}, \
         and this version works with {known} only"
    )]
    TooNew {
        /// The major version that they have.
        found: u32,
        /// The one that this version knows.
        known: u32,
    },
    /// The user may not do that.
    #[error("the user of Redis lacks a right: {0}")]
    Privilege(String),
    /// The connection was lost. Of a change it is then unknown whether it was made.
    #[error("the connection to Redis was lost")]
    ConnectionLost(#[source] Arc<dyn StdError + Send + Sync>),
    /// It took too long. Of a change it is then unknown whether it was made.
    #[error("Redis did not answer in time")]
    Timeout,
    /// Too few replicas had a change in time. It may have been made, and may be lost.
    #[error("{got} of {wanted} replicas had the change within {} ms", .within.as_millis())]
    Unacknowledged {
        /// How many were asked for.
        wanted: u32,
        /// How many had it.
        got: u32,
        /// How long was waited.
        within: Duration,
    },
    /// The server, or the part of the cluster that has the key, does not work at the moment. Nothing was
    /// changed.
    #[error("Redis cannot answer at the moment: {0}")]
    Unavailable(String),
    /// There is no memory left. Nothing was changed.
    #[error("Redis has no memory left; raise maxmemory")]
    OutOfMemory,
    /// Nothing can be written to its disk. Nothing was changed.
    #[error("Redis cannot write to its disk: {0}")]
    DiskFailed(String),
    /// What is stored is older than what was seen before: the server lost changes that it had answered.
    #[error(
        "Redis has lost changes of tenant {tenant} that it had answered, as after a failover or a restart; \
         check what is there, and restart this program to go on with it"
    )]
    WentBack {
        /// Whose.
        tenant: String,
    },
    /// Nothing is left of what was there when the store was opened.
    #[error("Redis has lost all that was kept; restore its files, or restart this program to begin anew")]
    Emptied,
    /// A key holds what this version cannot read.
    #[error("field {field} of a key {key} holds what this version cannot read")]
    Undecodable {
        /// Which kind of key.
        key: &'static str,
        /// Which field of it.
        field: &'static str,
    },
    /// A number is beyond what can be kept.
    #[error("the number for field {field} is too large")]
    TooLarge {
        /// For which field.
        field: &'static str,
    },
    /// The API key was not kept, since there is one of that id already.
    #[error("there is an API key of that id already")]
    DuplicateApiKey,
    /// The challenge was not kept, since there is one of that id already.
    #[error("there is a challenge of that id already")]
    DuplicateChallenge,
    /// Anything else.
    #[error("Redis failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

/// What an error of the driver means for the call that met it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not know the script by its name.
    NoScript,
    /// The key is elsewhere while its slot moves there.
    Ask {
        host: String,
        port: u16,
    },
    /// Nothing was done, and soon it may work, perhaps elsewhere.
    NotNow(RedisError),
    Final(RedisError),
}

/// What a server said, or an attempt to speak with it ended in.
#[derive(Debug, Error)]
#[error("{0}")]
struct Plain(String);

impl RedisError {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(Arc::new(Plain(text.into())))
    }

    /// What a script could not read.
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

    /// Whether the connection that it came from is better not used any more. A server that hangs says
    /// nothing, and another one may have taken its place.
    pub(crate) const fn breaks_connection(&self) -> bool {
        matches!(self, Self::ConnectionLost(_) | Self::ReadOnly | Self::Refused | Self::Timeout)
    }

    /// What an attempt to connect failed with.
    pub(crate) fn of_connecting(error: &redis::RedisError, server: &str) -> Self {
        match Failure::of(error) {
            Failure::Final(Self::ConnectionLost(cause)) if is_tls(error) => Self::Tls(cause),
            Failure::Final(Self::ConnectionLost(cause) | Self::Other(cause)) => {
                Self::Unreachable { server: server.to_owned(), cause }
            }
            Failure::Final(Self::Timeout) => {
                let cause = Arc::new(Plain("nothing was heard in time".to_owned()));
                Self::Unreachable { server: server.to_owned(), cause }
            }
            Failure::Final(error) | Failure::NotNow(error) => error,
            Failure::NoScript | Failure::Ask { .. } => Self::other("an unexpected answer"),
        }
    }
}

/// TLS is told as an I/O error of its own kind.
fn is_tls(error: &redis::RedisError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // Neither shows what it holds as its source.
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
    /// The driver's own error is not kept as a source: what a server says of a command that it does not
    /// know can repeat what it was called with, a password included.
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
            // What a script is refused for is told with the script's own words around it.
            ServerErrorKind::ResponseError if said.contains("OOM") => Self::Final(RedisError::OutOfMemory),
            _ => Self::Final(RedisError::other(said)),
        }
    }
}

/// What a server said, without what it was asked.
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
