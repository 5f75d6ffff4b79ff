//! Passkeys with the settings of `[webauthn]`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mfa_actix::WellKnown;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_webauthn::{AttestationPolicy, InvalidSettings, RelyingParty};
use tracing::info;

use self::attestation::Authenticators;
use crate::config::Settings;
use crate::config::webauthn::{LOCALHOST, Webauthn};

mod attestation;
mod change;
mod metadata;

pub(crate) use attestation::unusable_files;
pub(crate) use change::check_change;

/// An option that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) key: String,
    pub(crate) why: String,
}

/// The relying party, and which authenticators it accepts.
pub(crate) struct Passkeys {
    pub(crate) relying_party: Arc<RelyingParty>,
    /// `None` if it accepts every one.
    authenticators: Option<Authenticators>,
}

/// The passkeys of a server that listens on `address`; `None` if they are off.
///
/// They are off if the server listens for other machines and `webauthn.rp_id` is not set: no default would be right,
/// and a passkey for a wrong relying party is lost when it is corrected.
pub(crate) fn passkeys(settings: &Settings, address: SocketAddr) -> Result<Option<Passkeys>, Vec<Unusable>> {
    let authenticators = Authenticators::of(settings, SystemClock.now())?;
    let Some(site) = Site::of(settings, address) else { return Ok(None) };
    let attestation = authenticators.as_ref().map_or(AttestationPolicy::None, Authenticators::policy);
    let relying_party = Arc::new(site.relying_party(settings, attestation)?);
    Ok(Some(Passkeys { relying_party, authenticators }))
}

impl Passkeys {
    /// Looks at the metadata file every hour, if there is one.
    pub(crate) fn follow_metadata(self) {
        if let Some(authenticators) = self.authenticators {
            authenticators.follow_metadata(self.relying_party);
        }
    }
}

/// Logs whether passkeys are on, and for whom.
pub(crate) fn announce(settings: &Settings, address: SocketAddr) {
    match Site::of(settings, address) {
        None => info!("passkeys are off, since webauthn.rp_id is not set"),
        Some(Site { rp_id, origins }) if settings.webauthn.rp_id.is_empty() => {
            info!(rp_id, ?origins, "passkeys work on this machine only, since webauthn.rp_id is not set");
        }
        Some(Site { rp_id, origins }) => info!(rp_id, ?origins, "passkeys are on"),
    }
}

/// Every option that cannot be used, without reading the files that the options name.
pub(crate) fn unusable(settings: &Settings) -> Vec<Unusable> {
    // With port 0, the system chooses a free port, which is not known yet. Any port will do here.
    let port = settings.listen.port().max(1);
    let site = Site::of(settings, SocketAddr::new(settings.listen.ip(), port));
    let relying_party = site.map(|site| site.relying_party(settings, AttestationPolicy::None));
    relying_party.and_then(Result::err).unwrap_or_default()
}

/// The documents about the application's pages.
pub(crate) fn well_known(settings: &Settings, relying_party: Option<&RelyingParty>) -> WellKnown {
    let Webauthn { enroll_url, manage_url, .. } = &settings.webauthn;
    let set = |url: &String| Some(url.clone()).filter(|url| !url.is_empty());
    WellKnown {
        related_origins: relying_party.map_or_else(Vec::new, |party| party.related_origins().to_vec()),
        enroll_url: set(enroll_url),
        manage_url: set(manage_url),
    }
}

/// A relying party and the origins of its pages.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    rp_id: String,
    origins: Vec<String>,
}

impl Site {
    /// The site of the settings. A server for this machine only is its own site by default.
    fn of(settings: &Settings, address: SocketAddr) -> Option<Self> {
        let Webauthn { rp_id, origins, .. } = &settings.webauthn;
        let rp_id = match rp_id.as_str() {
            "" if !address.ip().is_loopback() => return None,
            "" => LOCALHOST,
            rp_id => rp_id,
        };
        let own = || match address.port() {
            // Browsers leave out the usual port.
            80 => format!("http://{LOCALHOST}"),
            port => format!("http://{LOCALHOST}:{port}"),
        };
        let origins = if origins.is_empty() { vec![own()] } else { origins.clone() };
        Some(Self { rp_id: rp_id.to_owned(), origins })
    }

    fn relying_party(
        self,
        settings: &Settings,
        attestation: AttestationPolicy,
    ) -> Result<RelyingParty, Vec<Unusable>> {
        let Self { rp_id, origins } = self;
        let names = [&settings.webauthn.name, &settings.issuer, &rp_id];
        let name = names.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        let top_origins = settings.webauthn.top_origins.clone();
        let party = mfa_webauthn::Settings { rp_name: name, rp_id, origins, top_origins, attestation };
        RelyingParty::new(party).map_err(named)
    }
}

fn named(invalid: Vec<InvalidSettings>) -> Vec<Unusable> {
    let unusable = |invalid: InvalidSettings| {
        let key = if invalid.key == "rp_name" { "name" } else { invalid.key };
        Unusable::new(key, invalid.problem)
    };
    invalid.into_iter().map(unusable).collect()
}

impl Unusable {
    fn new(key: &str, why: String) -> Self {
        Self { key: format!("webauthn.{key}"), why }
    }

    /// Reads the file that an option names.
    fn read(key: &str, file: &Path) -> Result<Vec<u8>, Self> {
        fs::read(file).map_err(|error| Self::new(key, format!("{} cannot be read: {error}", file.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(rp_id: &str, origins: &[&str], address: &str) -> Option<(String, Vec<String>)> {
        let mut settings = Settings::default();
        settings.webauthn.rp_id = rp_id.to_owned();
        settings.webauthn.origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Site::of(&settings, address.parse().unwrap()).map(|Site { rp_id, origins }| (rp_id, origins))
    }

    #[test]
    fn a_server_for_this_machine_only_is_its_own_site_until_one_is_set() {
        let of = |rp_id: &str, origin: &str| Some((rp_id.to_owned(), vec![origin.to_owned()]));
        for (address, origin) in [
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("[::1]:49152", "http://localhost:49152"),
            ("127.0.0.1:80", "http://localhost"),
        ] {
            assert_eq!(site("", &[], address), of("localhost", origin));
        }
        let development = "http://localhost:3000";
        assert_eq!(site("", &[development], "127.0.0.1:8080"), of("localhost", development));
        let real = "https://login.example.com";
        for address in ["127.0.0.1:8080", "0.0.0.0:8080"] {
            assert_eq!(site("example.com", &[real], address), of("example.com", real));
        }
    }

    #[test]
    fn a_server_for_other_machines_has_no_site_until_one_is_set() {
        for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            assert_eq!(site("", &[], address), None);
        }
    }
}
