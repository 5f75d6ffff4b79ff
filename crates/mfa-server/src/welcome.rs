//! What the first start shows, once.
//!
//! It goes to standard output, where the answers of all commands go: standard error is the log,
//! which is collected, sent around and kept. Whoever collects standard output too runs `api-key
//! create --init` before the first start; then there is nothing to show.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mfa_actix::api_key::PlainApiKey;
use mfa_domain::TenantId;

/// The first API key, and how to use it.
#[derive(Debug)]
pub(crate) struct Welcome<'a> {
    pub(crate) address: SocketAddr,
    /// Where everything is kept, if it is.
    pub(crate) kept_in: Option<String>,
    pub(crate) tenant: &'a TenantId,
    pub(crate) key: &'a PlainApiKey,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, key, .. } = self;
        let user = format!("http://{}/v1/users/alice", reachable(self.address));
        let curl = |call: &str, body: &str| {
            let key = key.expose();
            format!(
                "curl -sS {user}/{call} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
            )
        };
        match &self.kept_in {
            Some(place) => {
                writeln!(f, "\nThis is the first start; everything is kept in {place}. Back it up.")?;
            }
            None => writeln!(f, "\nEverything is kept in memory, and gone when the server stops.")?,
        }
        write!(
            f,
            "\nAn API key of the tenant {tenant}, shown only now:\n\n  {}\n\
             \nEnrol a user; the answer has a QR code to scan and the id of the factor:\n\n  {}\n\
             \nConfirm the factor with its first code, and verify later ones:\n\n  {}\n  {}\n",
            key.expose(),
            curl("factors", r#"{"kind":"totp","label":"Phone"}"#),
            curl("factors/FACTOR/confirm", r#"{"code":"123456"}"#),
            curl("verify", r#"{"code":"123456"}"#),
        )
    }
}

/// An address that a client on this machine can reach.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
