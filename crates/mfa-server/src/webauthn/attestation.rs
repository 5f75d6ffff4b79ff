//! Which authenticators new passkeys may be of: the attestation policy, with the content of its files.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::Timestamp;
use mfa_domain::passkey::Aaguid;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_webauthn::{AttestationPolicy, RelyingParty, TrustedAuthenticators};
use tokio::task::spawn_blocking;
use tracing::error;

use super::Unusable;
use super::metadata::{COPY, Current, Refused, Source};
use crate::config::webauthn::{Attestation, Webauthn};
use crate::config::{Settings, StoreUrl};

/// Time between two looks at the metadata file.
const BETWEEN_LOOKS: Duration = Duration::from_hours(1);

/// Authenticators that prove their model.
#[derive(Debug)]
pub(super) struct Authenticators {
    /// Without metadata.
    trusted: TrustedAuthenticators,
    metadata: Option<Current>,
}

impl Authenticators {
    /// Those of the attestation policy now; `None` if every one is accepted.
    pub(super) fn of(settings: &Settings, now: Timestamp) -> Result<Option<Self>, Vec<Unusable>> {
        let Settings { store, data_dir, webauthn, .. } = settings;
        if webauthn.attestation == Attestation::None {
            return Ok(None);
        }
        let (trusted, source) = both(manufacturers(webauthn), Source::of(webauthn))?;
        let copy = (*store != StoreUrl::Memory).then(|| data_dir.join(COPY));
        let metadata = source.map(|source| Current::new(source, copy, now));
        let mut authenticators = Self { trusted, metadata };
        authenticators.look(now);
        Ok(Some(authenticators))
    }

    /// Looks at the metadata file, if there is one. Returns whether the policy changes.
    fn look(&mut self, now: Timestamp) -> bool {
        self.metadata.as_mut().is_some_and(|metadata| metadata.look(now))
    }

    /// What new passkeys must prove now.
    pub(super) fn policy(&self) -> AttestationPolicy {
        let trusted = self.trusted.clone();
        match &self.metadata {
            None => AttestationPolicy::Trusted(trusted),
            Some(metadata) => match metadata.used() {
                // The certificates of manufacturers alone would let in models that are compromised.
                None => AttestationPolicy::Suspended,
                metadata => AttestationPolicy::Trusted(TrustedAuthenticators { metadata, ..trusted }),
            },
        }
    }

    /// Looks at the metadata file, and has the relying party use what is valid now.
    fn update(&mut self, relying_party: &RelyingParty, now: Timestamp) {
        if !self.look(now) {
            return;
        }
        if let Err(problem) = relying_party.set_attestation(&self.policy()) {
            error!("no new passkey is accepted, since the metadata cannot be used: {problem}");
            // Nothing can be wrong with what trusts nothing.
            let _ = relying_party.set_attestation(&AttestationPolicy::Suspended);
        }
    }

    /// Looks at the metadata file every hour, if there is one: it may have been replaced, or the blob in use may be out
    /// of date.
    pub(super) fn follow_metadata(self, relying_party: Arc<RelyingParty>) {
        if self.metadata.is_some() {
            tokio::spawn(follow(relying_party, self));
        }
    }
}

async fn follow(relying_party: Arc<RelyingParty>, mut authenticators: Authenticators) {
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let relying_party = Arc::clone(&relying_party);
        let looked = spawn_blocking(move || {
            authenticators.update(&relying_party, SystemClock.now());
            authenticators
        });
        authenticators = match looked.await {
            Ok(authenticators) => authenticators,
            Err(error) => {
                error!(%error, "the metadata file is not looked at any more until a restart");
                return;
            }
        };
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use mfa_domain::ports::Webauthn as _;
    use tempfile::TempDir;

    use super::*;
    use crate::webauthn::{Passkeys, passkeys};

    /// The attestation policy of a start.
    fn policy(settings: &Settings) -> Result<AttestationPolicy, Vec<Unusable>> {
        let authenticators = Authenticators::of(settings, SystemClock.now())?;
        Ok(authenticators.map_or(AttestationPolicy::None, |authenticators| authenticators.policy()))
    }

    #[test]
    fn files_are_read_only_for_an_attestation_policy_and_each_missing_one_is_named() {
        let mut settings = Settings::default();
        settings.webauthn.roots_file = "/no/roots.pem".into();
        settings.webauthn.metadata_file = "/no/blob.jwt".into();
        settings.webauthn.metadata_roots_file = "/no/signer.pem".into();
        assert_eq!(unusable_files(&settings.webauthn), []);
        assert!(policy(&settings).is_ok());
        settings.webauthn.attestation = Attestation::Trusted;
        let unusable = unusable_files(&settings.webauthn);
        let keys: Vec<_> = unusable.iter().map(|unusable| unusable.key.as_str()).collect();
        assert_eq!(keys, ["webauthn.roots_file", "webauthn.metadata_roots_file"]);
        assert!(unusable[0].why.starts_with("/no/roots.pem cannot be read: "), "{unusable:?}");
        assert_eq!(policy(&settings).err().unwrap(), unusable);
    }

    const SEVEN: &str = include_str!("../../tests/data/metadata_7.jwt");
    const EIGHT: &str = include_str!("../../tests/data/metadata_8.jwt");
    const OUTDATED: &str = include_str!("../../tests/data/metadata_9_outdated.jwt");

    /// Settings with a metadata file in a folder of their own.
    struct World {
        _folder: TempDir,
        blob: PathBuf,
        settings: Settings,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let [roots, blob] = ["roots.pem", "blob.jwt"].map(|name| folder.path().join(name));
            fs::write(&roots, include_str!("../../tests/data/metadata_root.pem")).unwrap();
            let mut settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
            settings.webauthn.attestation = Attestation::Trusted;
            // Certificates do not tell which models are compromised.
            settings.webauthn.roots_file.clone_from(&roots);
            settings.webauthn.metadata_roots_file = roots;
            settings.webauthn.metadata_file.clone_from(&blob);
            Self { _folder: folder, blob, settings }
        }

        fn put(&self, blob: &str) {
            fs::write(&self.blob, blob).unwrap();
        }

        /// Starts with a damaged file.
        fn start(&self) -> Passkeys {
            self.put("damaged");
            passkeys(&self.settings, "127.0.0.1:8080".parse().unwrap()).unwrap().unwrap()
        }
    }

    /// The name of a model that only the metadata know.
    fn name(relying_party: &RelyingParty) -> Option<String> {
        relying_party.model("00010203-0405-0607-0809-0a0b0c0d0e0f".parse().unwrap())
    }

    #[test]
    fn a_bad_blob_is_reported_by_a_check_and_stops_only_registrations_at_a_start() {
        let world = World::new();
        world.put(OUTDATED);
        let why = "is not valid: it is out of date: the next one was announced for 2026-01-01T00:00:00Z";
        let why = format!("{} {why}", world.blob.display());
        assert_eq!(unusable_files(&world.settings.webauthn), [Unusable::new("metadata_file", why)]);
        assert!(matches!(policy(&world.settings), Ok(AttestationPolicy::Suspended)));

        world.put(SEVEN);
        assert_eq!(unusable_files(&world.settings.webauthn), []);
        let number = |policy: Result<AttestationPolicy, Vec<Unusable>>| match policy {
            Ok(AttestationPolicy::Trusted(trusted)) => trusted.metadata.map(|metadata| metadata.number()),
            other => panic!("{other:?}"),
        };
        assert_eq!(number(policy(&world.settings)), Some(7));
        world.put("damaged");
        assert_eq!(number(policy(&world.settings)), Some(7));
    }

    #[test]
    fn a_running_server_takes_over_new_metadata_and_gives_up_outdated_ones() {
        let world = World::new();
        let Passkeys { relying_party, authenticators } = world.start();
        let mut authenticators = authenticators.unwrap();
        assert_eq!(name(&relying_party), None);
        for (blob, now, expected) in [
            (SEVEN, "2109-12-15T00:00:00Z", Some("Test key")),
            (SEVEN, "2110-01-01T23:59:59Z", Some("Test key")),
            (SEVEN, "2110-01-02T00:00:00Z", None),
            (EIGHT, "2110-01-02T00:00:00Z", Some("Test key")),
            ("damaged", "2110-01-03T00:00:00Z", Some("Test key")),
        ] {
            world.put(blob);
            authenticators.update(&relying_party, now.parse().unwrap());
            assert_eq!(name(&relying_party).as_deref(), expected, "{now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_server_looks_at_the_file_every_hour() {
        let world = World::new();
        let passkeys = world.start();
        let relying_party = Arc::clone(&passkeys.relying_party);
        passkeys.follow_metadata();
        tokio::time::sleep(BETWEEN_LOOKS + Duration::from_secs(1)).await;
        world.put(SEVEN);
        tokio::time::sleep(BETWEEN_LOOKS.saturating_sub(Duration::from_secs(10))).await;
        assert_eq!(name(&relying_party), None);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(name(&relying_party).as_deref(), Some("Test key"));
    }
}
