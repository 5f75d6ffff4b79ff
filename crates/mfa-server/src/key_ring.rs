//! The key ring: where it comes from, how it is created once, and when it is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use mfa_crypto::{AesGcmVault, KeyRing};
use mfa_domain::KeyId;
use mfa_domain::ports::{AccountStore, Clock, SystemClock, SystemEntropy};
use tracing::{info, warn};

use crate::config::{Config, StoreUrl};
use crate::data_dir;
use crate::failure::{Refusal, describe};
use crate::secret::SecretText;

/// The source of the key ring.
#[derive(Debug)]
pub(crate) enum RingSource<'a> {
    /// The content of `MFA_KEY_RING`.
    Content(&'a SecretText),
    File(PathBuf),
}

impl<'a> RingSource<'a> {
    pub(crate) fn of(config: &'a Config) -> Result<Self> {
        let Config { settings, key_ring, .. } = config;
        match key_ring {
            Some(content) => Ok(Self::Content(content)),
            None => data_dir::inside(&settings.data_dir, &settings.key_ring_file).map(Self::File),
        }
    }

    /// The stamp of its file; `None` if the file does not exist or there is none.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Content(_) => None,
            Self::File(path) => Stamp::of(path),
        }
    }

    /// Reads the ring; `None` if the file does not exist.
    pub(crate) fn read(&self) -> Result<Option<KeyRing>> {
        match self {
            Self::Content(content) => parse(content.expose(), "MFA_KEY_RING").map(Some),
            Self::File(path) => read_file(path),
        }
    }
}

/// The ring for a store whose secrets need the keys `in_use`.
///
/// Creates a missing ring, unless secrets exist already: they could not be decrypted, and new secrets would be
/// encrypted with a key that is in no backup. Also creates none if the database is `shared` with other servers,
/// which have the ring.
pub(crate) fn for_store(
    source: &RingSource<'_>,
    in_use: &[KeyId],
    store: &StoreUrl,
    shared: bool,
) -> Result<KeyRing> {
    match source.read()? {
        Some(ring) => right(ring, in_use),
        None if in_use.is_empty() && shared => {
            let what = "other servers use this database, and this server has no key ring";
            let advice = "copy the key ring of the other servers to this one; all need the same";
            Err(Refusal::new(what, advice).into())
        }
        None if in_use.is_empty() => {
            let ring = KeyRing::generate(&SystemEntropy, SystemClock.now())?;
            match source {
                RingSource::File(path) if *store != StoreUrl::Memory => write(path, &ring)?,
                _ => {}
            }
            Ok(ring)
        }
        None => {
            let what = format!("the key ring is missing, and the database needs {}", names(in_use));
            let advice = "restore it from its backup; a new key ring could not decrypt the stored secrets";
            Err(Refusal::new(what, advice).into())
        }
    }
}

/// The existing ring for a store whose secrets need the keys `in_use`. Creates none.
pub(crate) fn existing(source: &RingSource<'_>, in_use: &[KeyId]) -> Result<KeyRing> {
    let ring = source.read()?.ok_or_else(|| {
        let what = "this machine has no key ring";
        Refusal::new(what, "copy the key ring of the servers to this machine, or restore it from its backup")
    })?;
    right(ring, in_use)
}

/// Refuses a ring that lacks a key.
fn right(ring: KeyRing, in_use: &[KeyId]) -> Result<KeyRing> {
    let Some(missing) = names_of_missing(&ring, in_use) else { return Ok(ring) };
    let what = format!("the key ring does not belong to this database: it lacks {missing}");
    let advice = "use the right key ring, or restore it from its backup; nothing was changed";
    Err(Refusal::new(what, advice).into())
}

/// Reads a ring from a file; `None` if the file does not exist.
pub(crate) fn read_file(path: &Path) -> Result<Option<KeyRing>> {
    let Some(text) = data_dir::read_key_file(path, "key ring")? else { return Ok(None) };
    parse(&text, &path.display().to_string()).map(Some)
}

/// Writes a ring atomically.
pub(crate) fn write(path: &Path, ring: &KeyRing) -> Result<()> {
    data_dir::replace(path, ring.to_text().as_bytes())
}

/// How often the file is checked for changes.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// Time of modification and length of a file, which show that it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Option<SystemTime>, u64);

impl Stamp {
    /// The stamp of a file; `None` if it does not exist.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self(metadata.modified().ok(), metadata.len()))
    }
}

/// Loads the ring whenever the stamp of its file differs from the `known` one, until the task is dropped. Ignores a
/// ring that lacks a key in use, since secrets of that key could not be decrypted any more, and a ring that would
/// change the ids of events.
pub(crate) async fn follow(
    path: PathBuf,
    mut known: Option<Stamp>,
    vault: Arc<AesGcmVault>,
    accounts: Arc<dyn AccountStore>,
) {
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let current = Stamp::of(&path);
        if current == known {
            continue;
        }
        let Ok(in_use) = accounts.keys_in_use().await else { continue };
        known = current;
        match read_file(&path) {
            Ok(Some(ring)) => match names_of_missing(&ring, &in_use) {
                None => {
                    let newest = ring.newest().clone();
                    match vault.replace_ring(ring) {
                        Ok(()) => info!(%newest, "the key ring was reloaded"),
                        Err(error) => warn!("the changed key ring was not loaded: {error}"),
                    }
                }
                Some(missing) => {
                    warn!(
                        "the key ring lacks {missing} and was not loaded; restore what is missing, as secrets need it"
                    );
                }
            },
            Ok(None) => warn!("the key ring is missing; restore it, or the next start is refused"),
            Err(error) => warn!("{}", describe(&error)),
        }
    }
}

fn parse(text: &str, place: &str) -> Result<KeyRing> {
    KeyRing::parse(text).map_err(|error| {
        let what = format!("the key ring {place} is damaged: {error}");
        Refusal::new(what, "restore it from its backup").into()
    })
}

fn names_of_missing(ring: &KeyRing, in_use: &[KeyId]) -> Option<String> {
    let missing = ring.missing(in_use);
    (!missing.is_empty()).then(|| names(missing))
}

fn names<'a>(ids: impl IntoIterator<Item = &'a KeyId>) -> String {
    let ids: Vec<_> = ids.into_iter().map(KeyId::as_str).collect();
    format!("{} {}", if ids.len() == 1 { "key" } else { "keys" }, ids.join(", "))
}
