//! What can go wrong, in words for the person who runs the program.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use mfa_batch::{Closed, Failure};
use mfa_domain::ports::StoreError;
use mfa_rows::ColumnError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use thiserror::Error;

/// Why the database could not be opened, read or written. No text of it holds a stored value, a
/// password or the URL.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL is none of PostgreSQL, or has a parameter that is not known.
    #[error("the URL of the database is not valid: {0}")]
    Url(String),
    /// Nothing answers there.
    #[error("no PostgreSQL server can be reached at {server}; is it running, and is the address right?")]
    Unreachable {
        /// Host and port, or the folder of the socket.
        server: String,
        /// What the operating system says.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// What answers there did not accept the connection.
    #[error("the server at {server} did not accept the connection: {cause}")]
    Rejected {
        /// Host and port, or the folder of the socket.
        server: String,
        /// What it said.
        cause: String,
    },
    /// The server wants another user or password.
    #[error("the server refused user {user}; is the password right, and may the user connect?")]
    Refused {
        /// Which user.
        user: String,
    },
    /// There is no such database.
    #[error("the server has no database {database}; make it first (CREATE DATABASE)")]
    NoDatabase {
        /// Which one.
        database: String,
    },
    /// No encrypted connection could be made.
    #[error("no TLS connection could be made to the server; is sslmode right, and its certificate trusted?")]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// The server, or the pool in front of it, has no connection left.
    #[error("the database has no connection left; lower max_connections here or raise it there")]
    TooManyConnections,
    /// No connection was free or could be made in time.
    #[error("no connection to the database within {} ms: it is down, or all connections are busy", .0.as_millis())]
    NoConnection(std::time::Duration),
    /// A pooler in front of the server gives statements to sessions that do not know them. Nothing was changed.
    #[error(
        "the pooler in front of the database does not keep prepared statements: set pool_mode = session \
         and server_reset_query = DISCARD ALL there, or max_prepared_statements = 200 \
         (PgBouncer 1.21 or newer), or connect without it"
    )]
    NoPreparedStatements,
    /// It is a standby, or was set read-only. Reads from it could be old, so nothing is read either.
    #[error("the database is read-only: the server is a standby, or was told to be; connect to the primary")]
    ReadOnly,
    /// The schema `mfa` belongs to somebody else. Nothing was changed in it.
    #[error("the schema mfa of this database is another program's")]
    Foreign,
    /// Its encoding cannot hold every user id and label. Nothing was changed in it.
    #[error(
        "the database has the encoding {found}, and needs UTF8; make another one (CREATE DATABASE … ENCODING 'UTF8' \
         TEMPLATE template0)"
    )]
    Encoding {
        /// Which it has.
        found: String,
    },
    /// A newer, incompatible version of this program has migrated it. Nothing was changed in it.
    #[error(
        "a newer version of this program wrote the database: its tables have version {found}, \
         and this version works with {known} at most"
    )]
    TooNew {
        /// The major version that it has.
        found: i32,
        /// The newest that this version knows.
        known: i32,
    },
    /// The tables could not be brought up to date. Nothing was changed.
    #[error("the database could not be migrated")]
    Unmigrated(#[source] Arc<dyn StdError + Send + Sync>),
    /// A handle that a change claims leads to another account. Nothing was changed.
    #[error("a handle leads to another account already")]
    HandleTaken,
    /// The user may not do that.
    #[error("the database user lacks a privilege: {0}")]
    Privilege(String),
    /// The connection was lost. Of a change it is then unknown whether it was made.
    #[error("the connection to the database was lost")]
    ConnectionLost(#[source] Arc<dyn StdError + Send + Sync>),
    /// It took too long. Of a change it is then unknown whether it was made.
    #[error("the database did not answer in time")]
    Timeout,
    /// A statement was stopped by the server since it took too long. Nothing was changed.
    #[error("the database stopped a statement that took too long")]
    StatementTimeout,
    /// Somebody else kept a row or table locked for too long. Nothing was changed.
    #[error("another transaction keeps a row or table locked")]
    Locked,
    /// Transactions waited for each other, and this one was given up. Nothing was changed.
    #[error("the transaction was given up for another one")]
    GivenUp,
    /// A transaction that has written to the audit trail stays open, so that it is not known yet
    /// which events come next.
    #[error("a transaction that writes to mfa.events stays open (process {process}); end it")]
    Unsettled {
        /// The process of the server that it belongs to, as in `pg_stat_activity`.
        process: i32,
    },
    /// There is no room left.
    #[error("the disk of the database is full")]
    DiskFull,
    /// What is stored contradicts itself.
    #[error("the database is damaged; stop the program and restore a backup")]
    Corrupt(#[source] Arc<dyn StdError + Send + Sync>),
    /// A row holds what this version cannot read.
    #[error("column {column} of table mfa.{table} holds what this version cannot read (account {account})")]
    Undecodable {
        /// In which table.
        table: &'static str,
        /// In which column.
        column: &'static str,
        /// The number of its account, as in `accounts.id`; 0 if it has none.
        account: i64,
    },
    /// A number is beyond what PostgreSQL can hold.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// For which column.
        column: &'static str,
    },
    /// The API key was not kept, since there is one of that id already.
    #[error("there is an API key of that id already")]
    DuplicateApiKey,
    /// The challenge was not kept, since there is one of that id already.
    #[error("there is a challenge of that id already")]
    DuplicateChallenge,
    /// Other replicas charged the same key again and again. Nothing was changed.
    #[error("other replicas were faster, again and again")]
    Contended,
    /// [`PostgresStore::close`](crate::PostgresStore::close) was called, or the runtime that the
    /// store was opened on is gone. Of a change it is then unknown whether it was made.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("the database failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

impl PostgresError {
    /// An error of another kind.
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    /// What an error of the driver means, on a connection that was made.
    ///
    /// The driver's own text is kept as a source, for the log. The server's `DETAIL` can hold stored
    /// values, and `Display` of the driver does not print it.
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::Tls(error) => Self::Tls(Arc::from(error)),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::ConnectionLost(Arc::new(error)),
            sqlx::Error::Database(error) => Self::from_server(error.downcast_ref::<PgDatabaseError>()),
            error => Self::Other(Arc::new(error)),
        }
    }

    /// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn from_server(error: &PgDatabaseError) -> Self {
        let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let message = Plain(error.message().to_owned());
        match error.code() {
            "42501" => Self::Privilege(message.0),
            // What was asked to become read-write cannot.
            "25006" | "25001" => Self::ReadOnly,
            "53300" => Self::TooManyConnections,
            "53100" => Self::DiskFull,
            "XX001" | "XX002" => Self::Corrupt(Arc::new(message)),
            // A server that ends a session does not say whether it has committed: a commit that
            // waits for a standby is durable here, though its client gets this error.
            _ if fatal => Self::ConnectionLost(Arc::new(message)),
            // A statement of that name is there already, or is not, or is another one.
            "42P05" | "26000" | "08P01" => Self::NoPreparedStatements,
            "57014" => Self::StatementTimeout,
            "23505" if error.constraint() == Some("handles_key") => Self::HandleTaken,
            "55P03" => Self::Locked,
            "40001" | "40P01" => Self::GivenUp,
            code => Self::Other(Arc::new(Plain(format!("{} ({code})", message.0)))),
        }
    }

    /// Whether certainly nothing was changed, though the connection works: the statement failed as a
    /// whole, and its parts may be tried again.
    pub(crate) fn changed_nothing(&self) -> bool {
        match self {
            Self::StatementTimeout
            | Self::Locked
            | Self::GivenUp
            | Self::Corrupt(_)
            | Self::HandleTaken
            | Self::TooLarge { .. } => true,
            error => error.is_of_a_statement(),
        }
    }

    /// Whether it is anything else that a server said of a statement.
    pub(crate) fn is_of_a_statement(&self) -> bool {
        matches!(self, Self::Other(source) if source.is::<Plain>())
    }

    /// Whether the connection that it came from can no longer be used.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::ConnectionLost(_) | Self::Timeout | Self::ReadOnly | Self::NoPreparedStatements)
    }
}

/// What the server said, without the details that can hold stored values.
#[derive(Debug, Error)]
#[error("{0}")]
struct Plain(String);

/// What an attempt to connect failed with.
pub(crate) fn of_connecting(
    error: sqlx::Error,
    settings: &sqlx::postgres::PgConnectOptions,
) -> PostgresError {
    let server = match settings.get_socket() {
        Some(folder) => format!("{}, port {}", folder.display(), settings.get_port()),
        None => format!("{}:{}", settings.get_host(), settings.get_port()),
    };
    match error {
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            PostgresError::Tls(Arc::new(error))
        }
        sqlx::Error::Io(error) => PostgresError::Unreachable { server, cause: Arc::new(error) },
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => PostgresError::Refused { user: settings.get_username().to_owned() },
            Some("3D000") => {
                PostgresError::NoDatabase { database: crate::url::database(settings).to_owned() }
            }
            Some("53300") => PostgresError::TooManyConnections,
            _ => PostgresError::Rejected { server, cause: error.message().to_owned() },
        },
        sqlx::Error::Protocol(cause) => PostgresError::Rejected { server, cause },
        error => PostgresError::from_driver(error),
    }
}

impl From<ColumnError> for PostgresError {
    fn from(error: ColumnError) -> Self {
        match error {
            ColumnError::Undecodable { table, column, account } => {
                // References to rows end in `_id` here, and `user` is a word of SQL.
                let column = match column {
                    "tenant" => "tenant_id",
                    "user" => "user_id",
                    "factor" => "factor_id",
                    column => column,
                };
                Self::Undecodable { table, column, account }
            }
            ColumnError::TooLarge { column } => Self::TooLarge { column },
            ColumnError::Unwritable { .. } => Self::other(error),
        }
    }
}

impl From<Closed> for PostgresError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Failure for PostgresError {
    /// A row that cannot be read, or lies on a damaged page, is one account's; the others can be read.
    fn may_be_of_one(&self) -> bool {
        matches!(self, Self::Other(_) | Self::Corrupt(_) | Self::Undecodable { .. })
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Undecodable { .. } => Self::unreadable(error),
            error => Self::new(error),
        }
    }
}
