//! The metadata blob of authenticators: that of the configured file, or the last good one.
//!
//! The operator replaces the file about monthly, and it may be damaged or late. Sign-ins need no metadata, so this
//! stops no server: the last good blob is used while it is valid. The data directory keeps a copy for the next start.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The metadata in use.
#[derive(Debug)]
pub(super) struct Current {
    source: Source,
    /// The file of the copy; none if nothing is kept.
    copy: Option<PathBuf>,
    /// The last good blob.
    used: Option<Arc<Metadata>>,
    /// The latest finding, which is in the log.
    found: Option<Finding>,
}

/// What a look at the file found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The number of the blob that is used, if one is, and the day for which the next one is announced.
    used: Option<(u64, Timestamp)>,
    /// Why the file is not used.
    refused: Option<String>,
}

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

impl Current {
    /// Begins with the copy.
    pub(super) fn new(source: Source, copy: Option<PathBuf>, now: Timestamp) -> Self {
        let kept = copy.as_deref().and_then(|copy| source.kept(copy, now));
        Self { source, copy, used: kept.map(|blob| Arc::new(blob.metadata)), found: None }
    }

    /// The metadata that the latest look left in use.
    pub(super) fn used(&self) -> Option<Arc<Metadata>> {
        self.used.clone()
    }

    /// Reads the file. Its blob is used from now on, and replaces the copy. If it is not valid, or older than the last
    /// good one, that one is used while it is valid. Logs what was found, unless it is the same as before. Returns
    /// whether the metadata in use are others than before.
    pub(super) fn look(&mut self, now: Timestamp) -> bool {
        let last_good = self.used.clone().filter(|metadata| metadata.is_current(now));
        let given = self.source.given(now).and_then(|given| given.at_least(last_good.as_deref()));
        let (used, refused) = match given {
            Ok(given) => {
                self.keep(&given.text);
                let same = last_good.filter(|last_good| last_good.number() == given.metadata.number());
                (Some(same.unwrap_or_else(|| Arc::new(given.metadata))), None)
            }
            Err(why) => (last_good, Some(why.to_string())),
        };
        let numbers = used.as_ref().map(|metadata| (metadata.number(), metadata.next_update()));
        let found = Finding { used: numbers, refused };
        if self.found.as_ref() != Some(&found) {
            found.tell(&self.source.file);
        }
        self.found = Some(found);
        let is_same = match (&self.used, &used) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (before, after) => before.is_none() && after.is_none(),
        };
        self.used = used;
        !is_same
    }

    /// Replaces the copy by another blob. Without it, the blob is as good.
    fn keep(&self, text: &str) {
        let Some(copy) = &self.copy else { return };
        if fs::read_to_string(copy).is_ok_and(|kept| kept == text) {
            return;
        }
        if let Err(error) = data_dir::replace(copy, text.as_bytes()) {
            warn!("the metadata blob was not kept for a start with a damaged file: {}", describe(&error));
        }
    }
}

impl Finding {
    fn tell(&self, file: &Path) {
        let file = file.display();
        match (&self.refused, self.used) {
            (None, _) => {}
            (Some(why), Some(_)) => warn!(
                %file,
                "webauthn.metadata_file is not used: {why}. The last good blob is used instead; download the current \
                 one"
            ),
            (Some(why), None) => error!(
                %file,
                "no new passkey is accepted, since webauthn.metadata_file is not valid: {why}. Download the current \
                 one from https://mds3.fidoalliance.org/; existing passkeys work"
            ),
        }
        if let Some((number, next_update)) = self.used {
            let used = if self.refused.is_none() { "file" } else { "last good" };
            info!(used, number, %next_update, "the metadata of authenticators was read");
        }
    }
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
    fn at_least(self, last_good: Option<&Metadata>) -> Result<Self, Refused> {
        let number = self.metadata.number();
        match last_good.map(Metadata::number) {
            Some(last_good) if number < last_good => Err(Refused::Older { number, last_good }),
            _ => Ok(self),
        }
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

    impl Current {
        /// Whether other metadata are used then, and their number.
        fn look_at(&mut self, now: &str) -> (bool, Option<u64>) {
            (self.look(now.parse().unwrap()), self.used().map(|metadata| metadata.number()))
        }
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
            self.begin(Some(COPY), now).look_at(now).1
        }

        fn begin(&self, copy: Option<&str>, now: &str) -> Current {
            Current::new(self.source(), copy.map(|name| self.path(name)), now.parse().unwrap())
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
        assert_eq!(older.at_least(Some(&last_good.metadata)).unwrap_err().to_string(), why);
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
    fn without_a_place_for_the_copy_a_start_has_the_file_alone() {
        let world = World::new();
        fs::write(world.path("blob.jwt"), SEVEN).unwrap();
        for copy in [None, Some("missing/copy")] {
            assert_eq!(world.begin(copy, NOW).look_at(NOW), (true, Some(7)), "{copy:?}");
        }
    }

    #[test]
    fn a_running_server_takes_over_a_newer_blob_and_uses_none_longer_than_it_is_valid() {
        let much_later = "2110-02-02T00:00:00Z";
        for copy in [Some(COPY), None] {
            let world = World::new();
            let put = |blob: &str| fs::write(world.path("blob.jwt"), blob).unwrap();
            put(SEVEN);
            let mut current = world.begin(copy, NOW);
            assert_eq!(current.look_at(NOW), (true, Some(7)));
            assert_eq!(current.look_at(NOW), (false, Some(7)));
            put(EIGHT);
            assert_eq!(current.look_at(NOW), (true, Some(8)));
            for other in ["damaged", SEVEN] {
                put(other);
                assert_eq!(current.look_at(LATER), (false, Some(8)), "{other}");
            }
            assert_eq!(current.look_at(much_later), (true, None));
            assert_eq!(current.look_at(much_later), (false, None));
            put(EIGHT);
            assert_eq!(current.look_at(LATER), (true, Some(8)));
            assert_eq!(world.copy().is_some_and(|kept| kept == EIGHT), copy.is_some());
        }
    }

    /// The log is told of another finding only.
    #[test]
    fn the_same_fault_is_one_finding_at_each_look_and_another_one_is_not() {
        let world = World::new();
        fs::write(world.path("blob.jwt"), SEVEN).unwrap();
        let mut current = world.begin(None, NOW);
        let mut found = |blob: &str, now: &str| {
            fs::write(world.path("blob.jwt"), blob).unwrap();
            current.look(now.parse().unwrap());
            let Finding { used, refused } = current.found.as_ref().unwrap();
            (used.map(|(number, _)| number), refused.clone())
        };
        let good = found(SEVEN, NOW);
        assert_eq!(good, (Some(7), None));
        assert_eq!(found(SEVEN, NOW), good);
        let damaged = found("damaged", NOW);
        assert_eq!(damaged.0, Some(7));
        assert_eq!(found("damaged", NOW), damaged);
        let suspended = found("damaged", LATER);
        assert_eq!(suspended.0, None);
        let outdated = found(SEVEN, LATER);
        assert_eq!(outdated.0, None);
        assert_ne!(outdated, suspended);
        assert_eq!(found(SEVEN, "2110-01-03T00:00:00Z"), outdated);
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
