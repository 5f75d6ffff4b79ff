//! The URL of a Redis.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates, TlsMode,
};

use crate::RedisError;

/// The URL of a Redis: one server, a primary monitored by sentinels, or a cluster.
///
/// ```text
/// redis://user:password@host:6379/0
/// redis+sentinel://user:password@host:26379,host:26379/service/0
/// redis+cluster://user:password@host:6379,host:6379
/// ```
///
/// With `rediss` instead of `redis` connections use TLS, and certificates are checked. `valkey` and `valkeys`
/// are synonyms of `redis` and `rediss`. Parameters after a question mark:
///
/// - `namespace`: the prefix of all keys: 1 to 32 characters of `a-z 0-9 _ -`; default `mfa`
/// - `ca`: a PEM file of the authorities to trust for TLS, instead of the usual ones
/// - `replicas`: how many replicas must have a change before it is confirmed; default 0
/// - `loss`: `accepted` if the server may lose confirmed changes
/// - `sentinel_user`, `sentinel_password`: credentials for the sentinels
///
/// It may hold passwords, so `Display` and `Debug` show only addresses, service and database.
///
/// ```
/// use mfa_store_redis::RedisUrl;
/// let url: RedisUrl = "redis+sentinel://mfa:secret@one,two:26380/main".parse().unwrap();
/// assert_eq!(url.to_string(), "redis+sentinel://one:26379,two:26380/main/0");
/// assert!("redis://mfa:secret@host:port".parse::<RedisUrl>().is_err());
/// ```
#[derive(Clone)]
pub struct RedisUrl(Arc<Parts>);

/// The parsed URL.
pub(crate) struct Parts {
    text: String,
    pub(crate) kind: Kind,
    pub(crate) tls: bool,
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    database: i64,
    pub(crate) namespace: String,
    pub(crate) replicas: u32,
    pub(crate) loss_accepted: bool,
    authorities: Option<PathBuf>,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Option<String>,
}

/// The kind of servers at the addresses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    /// Sentinels that monitor the primary with this name.
    Sentinel(String),
    Cluster,
}

const FORMS: &str = "it must be like redis://user:password@host:6379/0, \
     redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379, \
     with characters other than letters and digits in the password written as %40";

impl RedisUrl {
    /// The whole URL, with its passwords.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0.text
    }

    /// Whether a scheme belongs to Redis: `redis`, `rediss`, `valkey` or `valkeys`, alone or with
    /// `+sentinel`, `+cluster` or any other suffix after a plus.
    #[must_use]
    pub fn is_scheme(scheme: &str) -> bool {
        matches!(scheme.split('+').next(), Some("redis" | "rediss" | "valkey" | "valkeys"))
    }

    /// The files that the URL names: the one of `ca`.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.authorities.iter().cloned().collect()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = ConnectionAddr> {
        self.hosts.iter().map(|(host, port)| {
            if self.tls {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            } else {
                ConnectionAddr::Tcp(host.clone(), *port)
            }
        })
    }

    /// The settings that a new connection sends to the server.
    pub(crate) fn greeting(&self) -> RedisConnectionInfo {
        let greeting = RedisConnectionInfo::default()
            .set_db(self.database)
            .set_skip_set_lib_name()
            // With RESP3 the client notices a lost connection before it is used again.
            .set_protocol(ProtocolVersion::RESP3);
        let greeting = match &self.user {
            Some(user) => greeting.set_username(user),
            None => greeting,
        };
        match &self.password {
            Some(password) => greeting.set_password(password),
            None => greeting,
        }
    }

    pub(crate) fn servers(&self) -> Result<Vec<ConnectionInfo>, RedisError> {
        let infos = self.addresses().map(|address| {
            let info = address.into_connection_info().map_err(|_| invalid(FORMS))?;
            Ok(info.set_redis_settings(self.greeting()))
        });
        infos.collect()
    }

    /// Warns if another server may take over that was not waited for.
    pub(crate) fn warn_of_losses(&self) {
        if self.kind != Kind::Server && self.replicas == 0 && !self.loss_accepted {
            tracing::warn!(
                "changes do not wait for replicas, so a failover loses the last confirmed ones; \
                 set replicas=1, or accept the loss (loss=accepted)"
            );
        }
    }

    pub(crate) fn tls_mode(&self) -> Option<TlsMode> {
        self.tls.then_some(TlsMode::Secure)
    }

    /// The authorities of `ca`.
    pub(crate) fn certificates(&self) -> Result<Option<TlsCertificates>, RedisError> {
        let Some(path) = &self.authorities else { return Ok(None) };
        let pem = fs::read(path).map_err(|error| {
            RedisError::Url(format!("its ca, {}, cannot be read: {error}", path.display()))
        })?;
        Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
    }

    fn parse(text: &str) -> Result<Self, RedisError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid(FORMS))?;
        let (tls, what) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis" | "valkey", what) => (false, what),
            ("rediss" | "valkeys", what) => (true, what),
            _ => return Err(invalid("it must begin with redis://, rediss://, redis+sentinel:// or similar")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // The rest of an unescaped password then ends up in the path or the parameters.
        if path.contains('@') || query.contains('@') || text.contains('#') {
            return Err(invalid(FORMS));
        }
        let (who, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(who, hosts)| (Some(who), hosts));
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (None, None),
        };
        let mut path = path.trim_end_matches('/').split('/').filter(|part| !part.is_empty());
        let kind = match what {
            "" => Kind::Server,
            "cluster" => Kind::Cluster,
            "sentinel" => Kind::Sentinel(
                path.next().and_then(|part| decoded(part).ok().flatten()).ok_or_else(|| {
                    invalid(
                        "the hosts must be followed by / and the name of the service that sentinels monitor",
                    )
                })?,
            ),
            _ => return Err(invalid(FORMS)),
        };
        let database = match path.next() {
            None => 0,
            Some(number) => number.parse::<u16>().map(i64::from).map_err(|_| invalid(FORMS))?,
        };
        if path.next().is_some() {
            return Err(invalid(FORMS));
        }
        let default_port = if matches!(kind, Kind::Sentinel(_)) { 26379 } else { 6379 };
        let hosts: Vec<_> =
            hosts.split(',').map(|host| address(host, default_port)).collect::<Result<_, _>>()?;
        match kind {
            Kind::Server if hosts.len() > 1 => {
                return Err(invalid("several hosts need redis+cluster:// or redis+sentinel://"));
            }
            Kind::Cluster if database != 0 => return Err(invalid("a cluster has database 0 only")),
            _ => {}
        }
        let mut parts = Self {
            text: text.to_owned(),
            kind,
            tls,
            hosts,
            user,
            password,
            database,
            namespace: "mfa".to_owned(),
            replicas: 0,
            loss_accepted: false,
            authorities: None,
            sentinel_user: None,
            sentinel_password: None,
        };
        parts.read_parameters(query)?;
        Ok(parts)
    }

    fn read_parameters(&mut self, query: &str) -> Result<(), RedisError> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?.ok_or_else(|| invalid("one of its parameters has no value"))?;
            match name {
                "namespace" => self.namespace = namespace(value)?,
                "replicas" => {
                    self.replicas = value
                        .parse::<u8>()
                        .map(u32::from)
                        .map_err(|_| invalid("its replicas must be a number from 0 to 255"))?;
                }
                "loss" if value == "accepted" => self.loss_accepted = true,
                "loss" => return Err(invalid("its parameter loss must be accepted")),
                "ca" if self.tls => self.authorities = Some(value.into()),
                "ca" => return Err(invalid("its ca needs rediss://")),
                "sentinel_user" => self.sentinel_user = Some(value),
                "sentinel_password" => self.sentinel_password = Some(value),
                // An ignored misspelling would lose a protection.
                _ => return Err(invalid("it has a parameter that is not known")),
            }
        }
        Ok(())
    }
}

fn namespace(text: String) -> Result<String, RedisError> {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if text.len() <= 32 && text.bytes().all(allowed) {
        return Ok(text);
    }
    Err(invalid("its namespace must be 1 to 32 characters of a-z 0-9 _ -"))
}

fn address(text: &str, default_port: u16) -> Result<(String, u16), RedisError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(|| invalid(FORMS))?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-._:".contains(&c);
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(invalid(FORMS));
    }
    let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| invalid(FORMS)))?;
    Ok((host.to_owned(), port))
}

/// Decodes percent signs; `None` if the text is empty.
fn decoded(text: &str) -> Result<Option<String>, RedisError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| invalid(FORMS))?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

fn invalid(why: &str) -> RedisError {
    RedisError::Url(why.to_owned())
}

impl FromStr for RedisUrl {
    type Err = RedisError;

    /// Errors never quote the text.
    fn from_str(text: &str) -> Result<Self, RedisError> {
        Parts::parse(text).map(|parts| Self(Arc::new(parts)))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { kind, tls, hosts, database, .. } = &*self.0;
        let scheme = if *tls { "rediss" } else { "redis" };
        let (what, path) = match kind {
            Kind::Server => ("", format!("/{database}")),
            Kind::Sentinel(service) => ("+sentinel", format!("/{service}/{database}")),
            Kind::Cluster => ("+cluster", String::new()),
        };
        let hosts: Vec<_> = hosts
            .iter()
            .map(
                |(host, port)| {
                    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
                },
            )
            .collect();
        write!(f, "{scheme}{what}://{}{path}", hosts.join(","))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for RedisUrl {}
