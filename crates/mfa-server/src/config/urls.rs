//! URLs of stores and mail servers.
//!
//! A URL may contain a password. No URL is shown in full, and no error quotes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use mfa_email::{EmailUrl, InvalidEmailUrl};
use mfa_store_postgres::{PostgresError, PostgresUrl};
use mfa_store_redis::{RedisError, RedisUrl};
use serde::{Deserialize, Serialize};

/// The store of accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum StoreUrl {
    /// A file, relative to the data directory.
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
    Redis(RedisUrl),
    Memory,
}

/// The store of short-lived state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum EphemeralUrl {
    /// This process. Each server counts separately.
    Memory,
    /// The store of accounts.
    Store,
    Redis(RedisUrl),
}

/// The mail server; `None` if no mail is sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct MailUrl(pub(crate) Option<EmailUrl>);

impl TryFrom<String> for MailUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let url = text.parse().map_err(|error: InvalidEmailUrl| error.to_string())?;
        Ok(Self(Some(url)))
    }
}

/// For display: shows no password and cannot be parsed back.
impl From<MailUrl> for String {
    fn from(url: MailUrl) -> Self {
        url.0.map(|url| url.to_string()).unwrap_or_default()
    }
}

impl StoreUrl {
    /// Whether several servers can share it.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Redis(_))
    }

    /// The files that the URL names: certificates and keys.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Postgres(url) => url.files(),
            Self::Redis(url) => url.files(),
            Self::Sqlite(_) | Self::Memory => Vec::new(),
        }
    }
}

impl EphemeralUrl {
    /// The files that the URL names: certificates.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Redis(url) => url.files(),
            Self::Memory | Self::Store => Vec::new(),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() {
                    return Err("sqlite: needs a path".to_owned());
                }
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", _)) => {
                text.parse().map(Self::Postgres).map_err(|error: PostgresError| error.to_string())
            }
            Some((scheme, _)) if RedisUrl::is_scheme(scheme) => redis(text).map(Self::Redis),
            _ => Err("it must be sqlite:PATH, postgres://…, redis://… or memory:".to_owned()),
        }
    }
}

impl FromStr for EphemeralUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("store", "")) => Ok(Self::Store),
            Some((scheme, _)) if RedisUrl::is_scheme(scheme) => redis(text).map(Self::Redis),
            _ => Err("it must be redis://…, store: or memory:".to_owned()),
        }
    }
}

fn redis(text: &str) -> Result<RedisUrl, String> {
    text.parse().map_err(|error: RedisError| error.to_string())
}

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for EphemeralUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
            Self::Redis(url) => url.fmt(f),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

impl fmt::Display for EphemeralUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Store => f.write_str("store:"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

/// For display: shows no password and cannot be parsed back.
impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl From<EphemeralUrl> for String {
    fn from(url: EphemeralUrl) -> Self {
        url.to_string()
    }
}
