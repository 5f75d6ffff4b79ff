//! The URL of a database.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::PostgresError;

/// The URL of a database: `postgres://user:password@host:5432/database?sslmode=verify-full`.
///
/// It may hold a password, so `Display` and `Debug` show only host, port and database.
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

/// Parameters after the question mark that are supported.
const USED: [&str; 13] = [
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

/// Parameters that providers of hosted databases write into URLs. What they ask for is done anyway, or has no
/// equivalent here.
const IGNORED: [&str; 8] = [
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "pgbouncer",
];

/// Parameters with the values that are accepted: they ask for what is done anyway.
const FIXED: [(&str, &[&str]); 2] =
    [("target_session_attrs", &["any", "read-write", "primary"]), ("gssencmode", &["disable", "prefer"])];

impl PostgresUrl {
    /// The whole URL, with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The files that the URL names: `sslrootcert`, `sslcert` and `sslkey`.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let query = self.0.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let named = pairs.filter(|(name, _)| matches!(*name, "sslrootcert" | "sslcert" | "sslkey"));
        let values = named.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned());
        // The driver also accepts the text of a certificate.
        values.filter(|value| !value.starts_with("-----BEGIN")).map(PathBuf::from).collect()
    }

    pub(crate) fn settings(&self) -> Result<PgConnectOptions, PostgresError> {
        let (before, parameters) = parts(&self.0)?;
        let used = parameters.iter().filter(|(name, _)| USED.contains(name));
        let used: Vec<_> = used.map(|(name, value)| format!("{name}={value}")).collect();
        let url = format!("{before}?{}", used.join("&"));
        let settings = PgConnectOptions::from_str(&url).map_err(|_| invalid(EXAMPLE))?;
        // The rest of an unescaped password then ends up in the name of the database.
        if settings.get_database().is_some_and(|database| database.contains('@')) {
            return Err(invalid(EXAMPLE));
        }
        let settings = match settings.get_application_name() {
            Some(_) => settings,
            None => settings.application_name("mfa"),
        };
        // Poolers refuse this setting, and no number here is a float.
        Ok(settings.extra_float_digits(None).disable_statement_logging())
    }

    /// Warns about requested protection that is ignored and that an attacker on the network could exploit.
    pub(crate) fn warn_of_losses(&self) {
        let Ok((_, parameters)) = parts(&self.0) else { return };
        let asks = |name, value: &[&str]| {
            parameters.iter().any(|(found, given)| *found == name && value.contains(given))
        };
        if asks("channel_binding", &["require"]) && !asks("sslmode", &["verify-ca", "verify-full"]) {
            tracing::warn!(
                "channel_binding=require in the database URL has no effect; sslmode=verify-full protects the connection"
            );
        }
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresError;

    /// Errors never quote the text, except for the name of a parameter.
    fn from_str(text: &str) -> Result<Self, PostgresError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(invalid("it must begin with postgres://"));
        }
        // An unescaped `/`, `?` or `#` ends the password, and its rest would be taken for the host, the
        // database or a parameter, which are shown.
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let after_host = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
        if rest.contains('#') || after_host.contains('@') {
            return Err(invalid(EXAMPLE));
        }
        let (_, parameters) = parts(text)?;
        for (name, value) in parameters {
            let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name);
            match fixed {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => {
                    return Err(invalid(&format!("its parameter {name} must be {}", values.join(" or "))));
                }
                None if USED.contains(&name) || IGNORED.contains(&name) => {}
                None if is_name(name) && !value.is_empty() => {
                    return Err(invalid(&format!("its parameter {name} is not known")));
                }
                None => return Err(invalid("it has a parameter that is not known")),
            }
        }
        let url = Self(text.into());
        url.settings().map(|_| url)
    }
}

/// Whether it looks like the name of a parameter, and so not like a part of a password.
fn is_name(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '-')
}

/// Names and values.
type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// The text before the question mark, and the parameters after it.
///
/// If the password has a question mark that is not written as `%3F`, its end and the host are among the
/// parameters. No name may then be quoted.
fn parts(text: &str) -> Result<(&str, Parameters<'_>), PostgresError> {
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    if text.contains('#') || query.contains('@') {
        return Err(invalid(EXAMPLE));
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    Ok((before, pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()))
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

/// The database of the URL; by default it has the name of the user.
pub(crate) fn database(settings: &PgConnectOptions) -> &str {
    settings.get_database().unwrap_or(settings.get_username())
}

fn invalid(why: &str) -> PostgresError {
    PostgresError::Url(why.to_owned())
}
