//! Errors of the database, worded for the operator of the program.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use mfa_batch::{Closed, Failure};
use mfa_domain::ports::StoreError;
use mfa_rows::ColumnError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use thiserror::Error;

/// Why the database could not be opened, read or written. No text of it holds a stored value, a password or
/// the URL.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL is not one of PostgreSQL, or has an unknown parameter.
    #[error("the URL of the database is not valid: {0}")]
    Url(String),
    /// No server answers at the address.
    #[error("no PostgreSQL server can be reached at {server}; is it running, and is the address right?")]
    Unreachable {
        /// Host and port, or the folder of the socket.
        server: String,
        /// The error of the operating system.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// The server answered, but did not accept the connection.
    #[error("the server at {server} did not accept the connection: {cause}")]
    Rejected {
        /// Host and port, or the folder of the socket.
        server: String,
        /// What the server said.
        cause: String,
    },
    /// The server does not accept the user or the password.
    #[error("the server refused user {user}; is the password right, and may the user connect?")]
    Refused {
        /// The user of the URL.
        user: String,
    },
    /// The database does not exist.
    #[error("the server has no database {database}; create it first (CREATE DATABASE)")]
    NoDatabase {
        /// Its name.
        database: String,
    },
    /// No encrypted connection could be made.
    #[error("no TLS connection could be made to the server; is sslmode right, and its certificate trusted?")]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// The server, or the pool in front of it, has no connection left.
    #[error(
        "the database accepts no more connections; lower max_connections of this program or raise the limit of \
         the server"
    )]
    TooManyConnections,
    /// No connection was free or could be made within this time.
    #[error("no connection to the database within {} ms: it is down, or all connections are busy", .0.as_millis())]
    NoConnection(std::time::Duration),
    /// A pooler in front of the server runs prepared statements in sessions that do not have them. Nothing
    /// was changed.
    #[error(
        "the pooler in front of the database does not keep prepared statements: set pool_mode = session \
         and server_reset_query = DISCARD ALL there, or max_prepared_statements = 200 \
         (PgBouncer 1.21 or newer), or connect without it"
    )]
    NoPreparedStatements,
    /// The server is a standby, or is set read-only. Reads could be stale, so nothing is read either.
    #[error("the database is read-only: the server is a standby or set read-only; connect to the primary")]
    ReadOnly,
    /// The schema `mfa` belongs to another program. Nothing was changed in it.
    #[error("the schema mfa of this database belongs to another program")]
    Foreign,
    /// The encoding of the database cannot hold every user id and label. Nothing was changed in it.
    #[error(
        "the encoding of the database is {found}, and must be UTF8; create another database (CREATE DATABASE … \
         ENCODING 'UTF8' TEMPLATE template0)"
    )]
    Encoding {
        /// The encoding of the database.
        found: String,
    },
    /// A newer, incompatible version of this program has migrated the database. Nothing was changed in it.
    #[error(
        "a newer version of this program wrote the database: its tables have version {found}, \
         and this program supports at most version {known}"
    )]
    TooNew {
        /// The major version of the tables.
        found: i32,
        /// The newest major version that this program supports.
        known: i32,
    },
    /// The tables could not be brought up to date. Nothing was changed.
    #[error("the database could not be migrated")]
    Unmigrated(#[source] Arc<dyn StdError + Send + Sync>),
    /// A change claims a handle that belongs to another account. Nothing was changed.
    #[error("the handle already belongs to another account")]
    HandleTaken,
    /// The database user lacks a privilege.
    #[error("the database user lacks a privilege: {0}")]
    Privilege(String),
    /// The connection was lost. A change may or may not have been made.
    #[error("the connection to the database was lost")]
    ConnectionLost(#[source] Arc<dyn StdError + Send + Sync>),
    /// The call took too long. A change may or may not have been made.
    #[error("the database did not answer in time")]
    Timeout,
    /// The server stopped a statement that took too long. Nothing was changed.
    #[error("the database stopped a statement that took too long")]
    StatementTimeout,
    /// Another transaction kept a row or table locked for too long. Nothing was changed.
    #[error("another transaction keeps a row or table locked")]
    Locked,
    /// The server rolled the transaction back because of a deadlock or a serialization failure. Nothing was
    /// changed.
    #[error("the database rolled the transaction back because of a conflict with another one")]
    GivenUp,
    /// A transaction that has written to the audit trail is still open, so the next events are not known yet.
    #[error("a transaction that writes to mfa.events is still open (process {process}); end it")]
    Unsettled {
        /// The id of its server process, as in `pg_stat_activity`.
        process: i32,
    },
    /// The disk is full.
    #[error("the disk of the database is full")]
    DiskFull,
    /// The stored data contradicts itself.
    #[error("the database is damaged; stop the program and restore a backup")]
    Corrupt(#[source] Arc<dyn StdError + Send + Sync>),
    /// A row holds a value that this version cannot read.
    #[error(
        "column {column} of table mfa.{table} holds a value that this version cannot read (account {account})"
    )]
    Undecodable {
        /// The table of the value.
        table: &'static str,
        /// The column of the value.
        column: &'static str,
        /// The number of the account, as in `accounts.id`; 0 if the row has none.
        account: i64,
    },
    /// A number exceeds what PostgreSQL can store.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// The column of the number.
        column: &'static str,
    },
    /// An API key with this id already exists. The new one was not stored.
    #[error("an API key with this id already exists")]
    DuplicateApiKey,
    /// A challenge with this id already exists. The new one was not stored.
    #[error("a challenge with this id already exists")]
    DuplicateChallenge,
    /// Other replicas charged the same key before each attempt. Nothing was changed.
    #[error("other replicas charged the same key before each attempt")]
    Contended,
    /// [`PostgresStore::close`](crate::PostgresStore::close) was called, or the runtime on which the store
    /// was opened has ended. A change may or may not have been made.
    #[error("the store is closed")]
    Closed,
    /// Any other error.
    #[error("the database failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

impl PostgresError {
    /// Wraps an error that no other variant describes.
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    /// Translates an error of the driver on an open connection.
    ///
    /// The driver's own text is kept as the source, for the log. The server's `DETAIL` can hold stored
    /// values; `Display` of the driver does not print it.
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::Tls(error) => Self::Tls(Arc::from(error)),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::ConnectionLost(Arc::new(error)),
            sqlx::Error::Database(error) => Self::from_server(error.downcast_ref::<PgDatabaseError>()),
            error => Self::Other(Arc::new(error)),
        }
    }

    /// Translates an error of the server by its code, see
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn from_server(error: &PgDatabaseError) -> Self {
        let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let message = Plain(error.message().to_owned());
        match error.code() {
            "42501" => Self::Privilege(message.0),
            // A read-only transaction or server refused to become read-write.
            "25006" | "25001" => Self::ReadOnly,
            "53300" => Self::TooManyConnections,
            "53100" => Self::DiskFull,
            "XX001" | "XX002" => Self::Corrupt(Arc::new(message)),
            // A server that ends a session does not say whether it has committed: a commit that waits for a
            // standby is durable on this server although its client gets this error.
            _ if fatal => Self::ConnectionLost(Arc::new(message)),
            // The name of a prepared statement is taken or unknown, or belongs to another statement.
            "42P05" | "26000" | "08P01" => Self::NoPreparedStatements,
            "57014" => Self::StatementTimeout,
            "23505" if error.constraint() == Some("handles_key") => Self::HandleTaken,
            "55P03" => Self::Locked,
            "40001" | "40P01" => Self::GivenUp,
            code => Self::Other(Arc::new(Plain(format!("{} ({code})", message.0)))),
        }
    }

    /// Whether certainly nothing was changed and the connection still works: the statement failed as a whole,
    /// and its parts may be tried again.
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

    /// Whether it is another error that the server reported for a statement.
    pub(crate) fn is_of_a_statement(&self) -> bool {
        matches!(self, Self::Other(source) if source.is::<Plain>())
    }

    /// Whether the connection that caused it can no longer be used.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::ConnectionLost(_) | Self::Timeout | Self::ReadOnly | Self::NoPreparedStatements)
    }
}

/// A message of the server without the details, which can hold stored values.
#[derive(Debug, Error)]
#[error("{0}")]
struct Plain(String);

/// Translates the error of a failed attempt to connect.
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
                // Columns that reference rows end in `_id` here, and `user` is an SQL keyword.
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
    /// An unreadable row, or one on a damaged page, concerns one account; the others can be read.
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
