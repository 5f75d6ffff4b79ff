//! The key ring: where it is, how it is made once, and when it is the wrong one.

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

/// Where the ring comes from.
#[derive(Debug)]
pub(crate) enum RingSource<'a> {
    /// The environment holds it.
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

    /// The stamp of its file, if it comes from one that is there.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Content(_) => None,
            Self::File(path) => Stamp::of(path),
        }
    }

    /// Reads the ring; none if there is no such file.
    pub(crate) fn read(&self) -> Result<Option<KeyRing>> {
        match self {
            Self::Content(content) => parse(content.expose(), "MFA_KEY_RING").map(Some),
            Self::File(path) => read_file(path),
        }
    }
}

/// The ring for a store whose secrets need the keys `in_use`.
///
/// It is made if it is not there, but never where secrets are sealed already: they would stay shut,
/// and new ones would be sealed with a key that is in no backup.
/// Nor where other replicas are `shared` the database with: they have the ring.
pub(crate) fn for_store(
    source: &RingSource<'_>,
    in_use: &[KeyId],
    store: &StoreUrl,
    shared: bool,
) -> Result<KeyRing> {
    match source.read()? {
        Some(ring) => right(ring, in_use),
        None if in_use.is_empty() && shared => {
            let what = "the database is in use, and there is no key ring here";
            let advice = "put a copy of the key ring of the other servers in place; all need the same one";
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
            let what = format!("the key ring is gone, and the database needs {}", names(in_use));
            let advice = "restore it from its backup; a new one could not open what the old one sealed";
            Err(Refusal::new(what, advice).into())
        }
    }
}

/// The ring that is there, for a store whose secrets need the keys `in_use`, where none is to be made.
pub(crate) fn existing(source: &RingSource<'_>, in_use: &[KeyId]) -> Result<KeyRing> {
    let ring = source.read()?.ok_or_else(|| {
        let what = "there is no key ring here";
        Refusal::new(what, "put a copy of the servers' key ring in place, or restore it from its backup")
    })?;
    right(ring, in_use)
}

/// Refuses a ring that lacks a key.
fn right(ring: KeyRing, in_use: &[KeyId]) -> Result<KeyRing> {
    let Some(missing) = names_of_missing(&ring, in_use) else { return Ok(ring) };
    let what = format!("the key ring is not that of this database: it lacks {missing}");
    let advice = "put the right key ring in place, or restore it from its backup; nothing was changed";
    Err(Refusal::new(what, advice).into())
}

/// Reads a ring from a file; none if it is not there.
pub(crate) fn read_file(path: &Path) -> Result<Option<KeyRing>> {
    let Some(text) = data_dir::read_key_file(path, "key ring")? else { return Ok(None) };
    parse(&text, &path.display().to_string()).map(Some)
}

/// Writes a ring whole or not at all.
pub(crate) fn write(path: &Path, ring: &KeyRing) -> Result<()> {
    data_dir::replace(path, ring.to_text().as_bytes())
}

/// How often the file is looked at.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// By what it is seen that a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Option<SystemTime>, u64);

impl Stamp {
    /// That of a file, if it is there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self(metadata.modified().ok(), metadata.len()))
    }
}

/// Takes up what changes in the file after it was as `known`, until the task is dropped. A ring that lacks
/// a key that is in use is left alone, since what that key sealed would not open any more; so is one that makes
/// other ids of events.
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
                        Ok(()) => info!(%newest, "the key ring was read anew"),
                        Err(error) => warn!("the key ring is that of another installation: {error}"),
                    }
                }
                Some(missing) => warn!("the key ring lacks {missing}; put them back, since they are in use"),
            },
            Ok(None) => warn!("the key ring is gone; put it back, or the next start is refused"),
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
