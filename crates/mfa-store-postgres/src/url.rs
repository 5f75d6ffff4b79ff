//! Where a database is, and what opens it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::PostgresError;

/// The URL of a database: `postgres://user:password@host:5432/database?sslmode=verify-full`.
///
/// It may hold a password, so `Display` and `Debug` show where the database is and nothing else.
///
/// ```
/// use mfa_store_postgres::PostgresUrl;
/// let url: PostgresUrl = "postgres://mfa:secret@db.example.com/mfa".parse().unwrap();
/// assert_eq!(url.to_string(), "postgres://db.example.com:5432/mfa");
/// assert!("postgres://mfa:secret@db.example.com:port/mfa".parse::<PostgresUrl>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Arc<str>);

const EXAMPLE: &str = "it must be like postgres://user:password@host:5432/database?sslmode=verify-full, \
     with characters other than letters and digits in the password written as %40";

/// Parameters after the question mark. Others are refused: a misspelt one would be ignored.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

impl PostgresUrl {
    /// The whole URL.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn settings(&self) -> Result<PgConnectOptions, PostgresError> {
        let settings = PgConnectOptions::from_str(&self.0).map_err(|_| invalid(EXAMPLE))?;
        // What comes after the password then ends up there.
        if settings.get_database().is_some_and(|database| database.contains('@')) {
            return Err(invalid(EXAMPLE));
        }
        let settings = match settings.get_application_name() {
            Some(_) => settings,
            None => settings.application_name("mfa"),
        };
        Ok(settings.disable_statement_logging())
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresError;

    /// Never says what the text was.
    fn from_str(text: &str) -> Result<Self, PostgresError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(invalid("it must begin with postgres://"));
        }
        let query = text.split_once('?').map_or("", |(_, query)| query);
        let names = query.split('&').filter(|pair| !pair.is_empty());
        let mut names = names.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        if names.any(|name| !PARAMETERS.contains(&name)) {
            return Err(invalid("it has a parameter that is not known"));
        }
        let url = Self(text.into());
        url.settings().map(|_| url)
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(settings) = self.settings() else { return f.write_str("postgres://..") };
        f.write_str("postgres://")?;
        match settings.get_socket() {
            Some(folder) => write!(f, "{}", folder.display())?,
            None => f.write_str(settings.get_host())?,
        }
        write!(f, ":{}/{}", settings.get_port(), database(&settings))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// The database that is meant: that of the user's name if none is named.
pub(crate) fn database(settings: &PgConnectOptions) -> &str {
    settings.get_database().unwrap_or(settings.get_username())
}

fn invalid(why: &str) -> PostgresError {
    PostgresError::Url(why.to_owned())
}
