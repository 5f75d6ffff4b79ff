//! The metadata blob of authenticators: that of the configured file, or the last good one.
//!
//! The operator replaces the file about monthly, and it may be damaged or late. Sign-ins need no metadata, so this stops
//! no start: the data directory keeps a copy of the last good blob, which is used while it is valid.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use mfa_domain::Timestamp;
use mfa_webauthn::{InvalidMetadata, InvalidRoots, Metadata};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use tracing::{error, info, warn};

use super::Unusable;
use crate::config::Webauthn;
use crate::data_dir;
use crate::failure::describe;

/// The name of the copy.
pub(super) const COPY: &str = "webauthn-metadata.jwt";

/// The configured file, and what its signature leads to.
#[derive(Debug)]
pub(super) struct Source {
    file: PathBuf,
    roots: Vec<CertificateDer<'static>>,
}

/// A blob that was verified.
#[derive(Debug)]
pub(super) struct Blob {
    text: String,
    metadata: Metadata,
}

/// Why a file is not used.
#[derive(Debug, Error)]
pub(super) enum Refused {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidMetadata),
    /// Somebody could bring back a blob that does not yet report a model as compromised.
    #[error("it is older than the last good blob: its number is {number}, not {last_good} or more")]
    Older { number: u64, last_good: u64 },
}

impl Source {
    /// The source that the options name, if they name one.
    pub(super) fn of(settings: &Webauthn) -> Result<Option<Self>, Unusable> {
        let Webauthn { metadata_file, metadata_roots_file, .. } = settings;
        if metadata_file.as_os_str().is_empty() {
            return Ok(None);
        }
        let pem = Unusable::read("metadata_roots_file", metadata_roots_file)?;
        let roots = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let roots = roots.ok().filter(|roots| !roots.is_empty());
        let roots = roots.ok_or_else(|| Unusable::new("metadata_roots_file", InvalidRoots.to_string()))?;
        Ok(Some(Self { file: metadata_file.clone(), roots }))
    }

    /// The blob of the file.
    pub(super) fn given(&self, now: Timestamp) -> Result<Blob, Refused> {
        self.read(&self.file, now)
    }

    /// The blob of the file, which then replaces the copy. If it is not valid, or older than the copy, the blob of the
    /// copy; `None` if that is not valid either. There is no copy if nothing is kept.
    pub(super) fn last_good(&self, copy: Option<&Path>, now: Timestamp) -> Option<Metadata> {
        let kept = copy.and_then(|copy| self.kept(copy, now));
        let given = self.given(now).and_then(|given| given.at_least(kept.as_ref()));
        let file = self.file.display();
        let (used, metadata) = match (given, kept) {
            (Ok(given), kept) => {
                if let Some(copy) = copy.filter(|_| kept.is_none_or(|kept| kept.text != given.text)) {
                    keep(copy, &given);
                }
                ("file", given.metadata)
            }
            (Err(why), Some(kept)) => {
                warn!(
                    %file,
                    "webauthn.metadata_file is not used: {why}. The last good blob is used instead; download the \
                     current one and restart"
                );
                ("copy", kept.metadata)
            }
            (Err(why), None) => {
                error!(
                    %file,
                    "no new passkey is accepted, since webauthn.metadata_file is not valid: {why}. Download the \
                     current one from https://mds3.fidoalliance.org/ and restart; existing passkeys work"
                );
                return None;
            }
        };
        let (number, next_update) = (metadata.number(), metadata.next_update());
        info!(used, number, %next_update, "the metadata of authenticators was read");
        Some(metadata)
    }

    /// The blob of the copy, if it is valid.
    fn kept(&self, copy: &Path, now: Timestamp) -> Option<Blob> {
        match self.read(copy, now) {
            Ok(blob) => Some(blob),
            Err(Refused::Unreadable(error)) if error.kind() == ErrorKind::NotFound => None,
            Err(why) => {
                info!(file = %copy.display(), "the copy of the last good metadata blob is not used: {why}");
                None
            }
        }
    }

    fn read(&self, file: &Path, now: Timestamp) -> Result<Blob, Refused> {
        let text = fs::read_to_string(file)?;
        let metadata = Metadata::read(&text, &self.roots, now)?;
        Ok(Blob { text, metadata })
    }
}

impl Blob {
    /// Refuses a blob that is older than the last good one.
    fn at_least(self, last_good: Option<&Self>) -> Result<Self, Refused> {
        let number = self.metadata.number();
        match last_good.map(|blob| blob.metadata.number()) {
            Some(last_good) if number < last_good => Err(Refused::Older { number, last_good }),
            _ => Ok(self),
        }
    }
}

/// Replaces the copy. Without it, the blob is as good.
fn keep(copy: &Path, blob: &Blob) {
    if let Err(error) = data_dir::replace(copy, blob.text.as_bytes()) {
        warn!("the metadata blob was not kept for a start with a damaged file: {}", describe(&error));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::config::Settings;

    /// Signed, with the number 7, and current until the end of 2110-01-01.
    const SEVEN: &str = include_str!("../../tests/data/metadata_7.jwt");
    /// The next one, current until the end of 2110-02-01.
    const EIGHT: &str = include_str!("../../tests/data/metadata_8.jwt");
    const ROOT: &str = include_str!("../../tests/data/metadata_root.pem");

    const NOW: &str = "2109-12-15T00:00:00Z";
    /// Only the blob with the number 8 is current.
    const LATER: &str = "2110-01-02T00:00:00Z";

    /// The next one, with the signature of the first.
    fn forged() -> String {
        let ((signed, _), (_, signature)) =
            (EIGHT.rsplit_once('.').unwrap(), SEVEN.rsplit_once('.').unwrap());
        format!("{signed}.{signature}")
    }

    struct World(TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn source(&self) -> Source {
            let roots = CertificateDer::pem_slice_iter(ROOT.as_bytes()).collect::<Result<_, _>>().unwrap();
            Source { file: self.path("blob.jwt"), roots }
        }

        fn refusal(&self, blob: &str, now: &str) -> String {
            fs::write(self.path("blob.jwt"), blob).unwrap();
            self.source().given(now.parse().unwrap()).unwrap_err().to_string()
        }

        /// Starts with this blob in the file; gives the number of the one that is used.
        fn start(&self, blob: &str, now: &str) -> Option<u64> {
            fs::write(self.path("blob.jwt"), blob).unwrap();
            self.start_again(now)
        }

        fn start_again(&self, now: &str) -> Option<u64> {
            let metadata = self.source().last_good(Some(&self.path(COPY)), now.parse().unwrap());
            metadata.map(|metadata| metadata.number())
        }

        fn copy(&self) -> Option<String> {
            fs::read_to_string(self.path(COPY)).ok()
        }
    }

    #[test]
    fn a_good_blob_is_used_and_kept_for_its_owner_only() {
        let world = World::new();
        for (blob, number) in [(SEVEN, 7), (SEVEN, 7), (EIGHT, 8)] {
            assert_eq!(world.start(blob, NOW), Some(number));
            assert_eq!(world.copy().as_deref(), Some(blob));
        }
        let mode = fs::metadata(world.path(COPY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_damaged_outdated_or_missing_leaves_the_last_good_blob_in_use() {
        let half = &EIGHT[..EIGHT.len() / 2];
        for (file, now) in [(half, NOW), ("", NOW), (forged().as_str(), NOW), (SEVEN, LATER)] {
            let world = World::new();
            assert_eq!(world.start(EIGHT, NOW), Some(8));
            assert_eq!(world.start(file, now), Some(8), "{file}");
            assert_eq!(world.copy().as_deref(), Some(EIGHT));
        }
        let world = World::new();
        assert_eq!(world.start(EIGHT, NOW), Some(8));
        fs::remove_file(world.path("blob.jwt")).unwrap();
        assert_eq!(world.start_again(NOW), Some(8));
    }

    #[test]
    fn an_older_blob_does_not_replace_a_newer_one() {
        let world = World::new();
        assert_eq!(world.start(EIGHT, NOW), Some(8));
        assert_eq!(world.start(SEVEN, NOW), Some(8));
        assert_eq!(world.copy().as_deref(), Some(EIGHT));
        let [older, last_good] = [SEVEN, EIGHT].map(|blob| {
            fs::write(world.path("blob.jwt"), blob).unwrap();
            world.source().given(NOW.parse().unwrap()).unwrap()
        });
        let why = "it is older than the last good blob: its number is 7, not 8 or more";
        assert_eq!(older.at_least(Some(&last_good)).unwrap_err().to_string(), why);
    }

    #[test]
    fn the_last_good_blob_is_used_no_longer_than_it_is_valid() {
        let world = World::new();
        assert_eq!(world.start(SEVEN, NOW), Some(7));
        assert_eq!(world.start("damaged", NOW), Some(7));
        assert_eq!(world.start("damaged", LATER), None);
        assert_eq!(world.start(EIGHT, LATER), Some(8));
    }

    #[test]
    fn a_copy_is_verified_like_the_file_and_replaced_if_it_is_damaged() {
        let world = World::new();
        fs::write(world.path(COPY), forged()).unwrap();
        assert_eq!(world.start("damaged", NOW), None);
        assert_eq!(world.start(SEVEN, NOW), Some(7));
        assert_eq!(world.copy().as_deref(), Some(SEVEN));
    }

    #[test]
    fn without_a_place_for_the_copy_the_file_alone_counts() {
        let world = World::new();
        fs::write(world.path("blob.jwt"), SEVEN).unwrap();
        let now = NOW.parse().unwrap();
        assert_eq!(world.source().last_good(None, now).map(|metadata| metadata.number()), Some(7));
        let nowhere = world.path("missing").join(COPY);
        let metadata = world.source().last_good(Some(&nowhere), now);
        assert_eq!(metadata.map(|metadata| metadata.number()), Some(7));
    }

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_file() {
        let world = World::new();
        assert_eq!(
            world.refusal(SEVEN, LATER),
            "it is out of date: the next one was announced for 2110-01-01T00:00:00Z"
        );
        assert!(world.refusal("damaged", NOW).starts_with("it is not a metadata blob"));
        assert_eq!(world.refusal(&forged(), NOW), "its signature is wrong");
        fs::remove_file(world.path("blob.jwt")).unwrap();
        let missing = world.source().given(NOW.parse().unwrap()).unwrap_err().to_string();
        assert!(missing.starts_with("it cannot be read: No such file"), "{missing}");
    }

    #[test]
    fn a_file_without_certificates_is_the_fault_of_the_configuration() {
        let world = World::new();
        let mut settings = Settings::default().webauthn;
        assert!(Source::of(&settings).unwrap().is_none());
        settings.metadata_file = world.path("blob.jwt");
        settings.metadata_roots_file = world.path("roots.pem");
        fs::write(world.path("roots.pem"), ROOT).unwrap();
        assert!(Source::of(&settings).unwrap().is_some());
        for content in ["", SEVEN] {
            fs::write(world.path("roots.pem"), content).unwrap();
            let unusable = Source::of(&settings).unwrap_err();
            assert_eq!(unusable.key, "webauthn.metadata_roots_file");
            assert_eq!(unusable.why, "must be one or more certificates in PEM");
        }
    }
}
