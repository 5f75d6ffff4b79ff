//! Passkeys with the settings of `[webauthn]`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mfa_actix::WellKnown;
use mfa_domain::passkey::Aaguid;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_webauthn::{AttestationPolicy, InvalidSettings, RelyingParty, TrustedAuthenticators};
use tracing::info;

use self::metadata::{COPY, Refused, Source};
use crate::config::webauthn::{Attestation, LOCALHOST, Webauthn};
use crate::config::{Settings, StoreUrl};

mod change;
mod metadata;

pub(crate) use change::check_change;

/// An option that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) key: String,
    pub(crate) why: String,
}

/// The relying party of a server that listens on `address`; `None` if passkeys are off.
///
/// Passkeys are off if the server listens for other machines and `webauthn.rp_id` is not set: no default would be
/// right, and a passkey for a wrong relying party is lost when it is corrected.
pub(crate) fn relying_party(
    settings: &Settings,
    address: SocketAddr,
) -> Result<Option<RelyingParty>, Vec<Unusable>> {
    let attestation = attestation(settings)?;
    let Some(site) = Site::of(settings, address) else { return Ok(None) };
    site.relying_party(settings, attestation).map(Some)
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

/// Every file of the attestation policy that cannot be used now.
pub(crate) fn unusable_files(settings: &Webauthn) -> Vec<Unusable> {
    if settings.attestation == Attestation::None {
        return Vec::new();
    }
    let refused = |why: Refused| {
        Unusable::new("metadata_file", format!("{} is not valid: {why}", settings.metadata_file.display()))
    };
    let blob = |source: Source| source.given(SystemClock.now()).map_err(refused);
    let metadata = Source::of(settings).and_then(|source| source.map(blob).transpose());
    both(manufacturers(settings), metadata).err().unwrap_or_default()
}

/// The attestation policy, with the content of its files.
fn attestation(settings: &Settings) -> Result<AttestationPolicy, Vec<Unusable>> {
    let Settings { store, data_dir, webauthn, .. } = settings;
    if webauthn.attestation == Attestation::None {
        return Ok(AttestationPolicy::None);
    }
    let (trusted, source) = both(manufacturers(webauthn), Source::of(webauthn))?;
    let Some(source) = source else { return Ok(AttestationPolicy::Trusted(trusted)) };
    let copy = (*store != StoreUrl::Memory).then(|| data_dir.join(COPY));
    let metadata = source.last_good(copy.as_deref(), SystemClock.now());
    // Without metadata, the certificates of manufacturers would let in models that it reports as compromised.
    Ok(metadata.map_or(AttestationPolicy::Suspended, |metadata| {
        AttestationPolicy::Trusted(TrustedAuthenticators { metadata: Some(Arc::new(metadata)), ..trusted })
    }))
}

/// The models and certificates that the options name.
fn manufacturers(settings: &Webauthn) -> Result<TrustedAuthenticators, Unusable> {
    let models = settings.authenticators.iter().map(|text| text.parse::<Aaguid>());
    // An empty list would allow all models.
    let models = models.collect::<Result<Vec<_>, _>>();
    let models = models.map_err(|error| Unusable::new("authenticators", error.to_string()))?;
    if settings.roots_file.as_os_str().is_empty() {
        return Ok(TrustedAuthenticators { models, ..TrustedAuthenticators::default() });
    }
    let pem = Unusable::read("roots_file", &settings.roots_file)?;
    TrustedAuthenticators::from_pem(models, &String::from_utf8_lossy(&pem))
        .map_err(|error| Unusable::new("roots_file", error.to_string()))
}

/// Both, or everything that is wrong.
fn both<A, B>(one: Result<A, Unusable>, other: Result<B, Unusable>) -> Result<(A, B), Vec<Unusable>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err([one.err(), other.err()].into_iter().flatten().collect()),
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

    #[test]
    fn files_are_read_only_for_an_attestation_policy_and_each_missing_one_is_named() {
        let mut settings = Settings::default();
        settings.webauthn.roots_file = "/no/roots.pem".into();
        settings.webauthn.metadata_file = "/no/blob.jwt".into();
        settings.webauthn.metadata_roots_file = "/no/signer.pem".into();
        assert_eq!(unusable_files(&settings.webauthn), []);
        assert!(attestation(&settings).is_ok());
        settings.webauthn.attestation = Attestation::Trusted;
        let unusable = unusable_files(&settings.webauthn);
        let keys: Vec<_> = unusable.iter().map(|unusable| unusable.key.as_str()).collect();
        assert_eq!(keys, ["webauthn.roots_file", "webauthn.metadata_roots_file"]);
        assert!(unusable[0].why.starts_with("/no/roots.pem cannot be read: "), "{unusable:?}");
        assert_eq!(attestation(&settings).err().unwrap(), unusable);
    }

    #[test]
    fn a_bad_blob_is_reported_by_a_check_and_stops_only_registrations_at_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let [roots, blob] = ["roots.pem", "blob.jwt"].map(|name| folder.path().join(name));
        fs::write(&roots, include_str!("../tests/data/metadata_root.pem")).unwrap();
        let mut settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
        settings.webauthn.attestation = Attestation::Trusted;
        // Certificates do not tell which models are compromised.
        settings.webauthn.roots_file.clone_from(&roots);
        settings.webauthn.metadata_roots_file.clone_from(&roots);
        settings.webauthn.metadata_file.clone_from(&blob);

        fs::write(&blob, include_str!("../tests/data/metadata_9_outdated.jwt")).unwrap();
        let why = "is not valid: it is out of date: the next one was announced for 2026-01-01T00:00:00Z";
        let why = format!("{} {why}", blob.display());
        assert_eq!(unusable_files(&settings.webauthn), [Unusable::new("metadata_file", why)]);
        assert!(matches!(attestation(&settings), Ok(AttestationPolicy::Suspended)));

        fs::write(&blob, include_str!("../tests/data/metadata_7.jwt")).unwrap();
        assert_eq!(unusable_files(&settings.webauthn), []);
        let number = |policy: Result<AttestationPolicy, Vec<Unusable>>| match policy {
            Ok(AttestationPolicy::Trusted(trusted)) => trusted.metadata.map(|metadata| metadata.number()),
            other => panic!("{other:?}"),
        };
        assert_eq!(number(attestation(&settings)), Some(7));
        fs::write(&blob, "damaged").unwrap();
        assert_eq!(number(attestation(&settings)), Some(7));
    }
}
