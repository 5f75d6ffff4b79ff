//! The text that a start prints if there was never an API key: the first key and how to use it, or how to create one.
//!
//! It goes to standard output, as the results of all commands do. Standard error is the log, which is collected and
//! stored. If standard output is collected too, `no_key` keeps the key out of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mfa_domain::TenantId;

use crate::new_key::NewKey;

/// The key of an application, as arguments of `api-key create`.
const NARROW_KEY: &str = "--scope verify enrol --name shop";

/// The first API key, and how to use it.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) address: SocketAddr,
    /// The place of the data; `None` if it is in memory.
    pub(crate) kept_in: Option<String>,
    /// The beginning of the command line of other commands.
    pub(crate) program: String,
    pub(crate) tenant: TenantId,
    /// `None` with `no_key`.
    pub(crate) key: Option<NewKey>,
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept_in, program, tenant, key, .. } = self;
        match kept_in {
            Some(place) => writeln!(f, "\nAll data is in {place}. Back it up.")?,
            None => writeln!(f, "\nAll data is in memory and lost when the server stops.")?,
        }
        let Some(key) = key else {
            // Without any key there may be no installation yet, hence `--init`.
            return write!(
                f,
                "\nThere is no API key yet. Create one for each application; it is shown only once:\n\
                 \n  {program} api-key create --init --tenant {tenant} {NARROW_KEY}\n"
            );
        };
        write!(f, "\n{key}\n\nThis key has every scope, including admin. Use it only to try things out.")?;
        if kept_in.is_some() {
            write!(
                f,
                " Create a key with fewer scopes for each application, then revoke this one:\n\
                 \n  {program} api-key create --tenant {tenant} {NARROW_KEY}\n  {program} api-key revoke {}",
                key.record.id,
            )?;
        }
        writeln!(f)?;
        self.calls(f, key)
    }
}

impl Welcome {
    /// Calls to try. Only the id of the factor and the code must be filled in.
    fn calls(&self, f: &mut fmt::Formatter<'_>, key: &NewKey) -> fmt::Result {
        let user = format!("http://{}/v1/users/alice", reachable(self.address));
        let curl = |call: &str, body: &str| {
            let key = key.plain.expose();
            format!(
                "curl -sS {user}/{call} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
            )
        };
        write!(
            f,
            "\nEnrol a user. The answer contains the id of the factor, and the secret and URI for an authenticator app:\n\
             \n  {}\n\
             \nOr, with jq, show the QR code to scan and the id of the factor:\n\
             \n  {} | jq -r '.totp.qr_text, .factor.id'\n\
             \nConfirm the factor with its first code, and verify later ones:\n\
             \n  {}\n  {}\n",
            curl("factors", r#"{"kind":"totp","label":"Phone","qr":"none"}"#),
            curl("factors", r#"{"kind":"totp","label":"Phone","qr":"text"}"#),
            curl("factors/FACTOR/confirm", r#"{"code":"123456"}"#),
            curl("verify", r#"{"code":"123456"}"#),
        )
    }
}

/// The address by which a client on this machine reaches a server that listens on `address`.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
