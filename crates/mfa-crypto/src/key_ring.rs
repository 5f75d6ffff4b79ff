//! The encryption keys of secrets.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use mfa_domain::ports::{Entropy, EntropyError};
use mfa_domain::{KeyId, Timestamp};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

mod file;
mod text;

pub use file::KeyRingFileError;

/// One or more 256-bit keys, the newest last, optionally followed by one standby key.
///
/// New secrets are sealed with the newest key, and every key opens what it sealed. The order is that of
/// [`KeyRing::add`] and of the text, not that of the times, since clocks can jump.
///
/// If several machines have copies of one ring, a key that seals on one machine before the others have it
/// makes secrets that they cannot open. So a new key is first distributed as a standby key
/// ([`KeyRing::add_standby`]), which opens but does not seal, and is promoted ([`KeyRing::promote`]) once
/// every machine has it.
///
/// The id of a key is its fingerprint, so no ring can hold another key with the same id. That makes
/// [`KeyRing::missing`] a complete check for a wrong ring. A server that finds a key missing must not start:
/// it would seal new secrets with a key that nobody has backed up, while the old ones stay unreadable.
///
/// Besides the keys, the ring holds one secret from which event ids are made. It is created with the ring and
/// never changes, whatever happens to the keys, since existing event ids must stay valid.
///
/// Keys are wiped from memory on drop. `Debug` shows only ids. There is no `Clone` and no `Serialize`.
///
/// ```
/// use mfa_crypto::KeyRing;
/// use mfa_domain::Timestamp;
/// use mfa_domain::ports::SystemEntropy;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000);
/// let mut ring = KeyRing::generate(&SystemEntropy, now)?;
/// let old = ring.newest().clone();
/// let new = ring.add(&SystemEntropy, now)?;
/// assert_eq!(ring.newest(), &new);
/// assert!(ring.contains(&old));
///
/// let read = KeyRing::parse(&ring.to_text())?;
/// assert!(read.missing(&[old, new]).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail
/// # let ring = mfa_crypto::KeyRing::generate(&mfa_crypto::SystemEntropy, Default::default()).unwrap();
/// let second_copy = ring.clone();
/// ```
pub struct KeyRing {
    /// All keys except the newest, oldest first.
    older: Vec<Entry>,
    newest: Entry,
    /// The standby key: it opens but does not seal yet.
    standby: Option<Entry>,
    /// The secret from which event ids are made.
    event_ids: Key,
}

struct Entry {
    id: KeyId,
    created_at: Timestamp,
    key: Key,
}

/// A 256-bit key. It is on the heap, so that moving the ring leaves no copy behind.
pub(crate) struct Key(Box<Zeroizing<[u8; Self::LENGTH]>>);

/// Why a ring could not be read or changed. The error never quotes the text, which may contain a key in the
/// wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The text is not a key ring.
    #[error(
        "line {line} cannot be read; a key ring has event_ids, and [[keys]], each with id, created_at and key only"
    )]
    Syntax {
        /// The line, counted from 1.
        line: usize,
    },
    /// The text has no key.
    #[error("the key ring has no key")]
    Empty,
    /// A key is not 32 bytes in base64.
    #[error("key number {number} is not 32 bytes in base64")]
    Malformed {
        /// The number of the key in the text, counted from 1.
        number: usize,
    },
    /// A time is not RFC 3339 with an offset, or is before 1970.
    #[error("created_at of key number {number} is not a time with an offset")]
    Time {
        /// The number of the key in the text, counted from 1.
        number: usize,
    },
    /// A key does not match its id, so one of the two was changed.
    #[error("key number {number} does not match its id; the id of this key is {id}")]
    WrongId {
        /// The number of the key in the text, counted from 1.
        number: usize,
        /// The id that belongs to the key.
        id: KeyId,
    },
    /// A key appears twice.
    #[error("key {id} is in the key ring twice")]
    Duplicate {
        /// Its id.
        id: KeyId,
    },
    /// The secret for event ids is missing, or is not 32 bytes in base64.
    #[error("event_ids is missing, or is not 32 bytes in base64")]
    EventIds,
    /// The secret for event ids differs from that of the ring to be replaced.
    #[error(
        "event_ids differs from that of the key ring in use; with another one, existing event ids become invalid"
    )]
    OtherEventIds,
    /// No randomness was available for a key.
    #[error("no randomness is available for a key")]
    Entropy,
    /// The ring has no such key.
    #[error("the key ring has no such key")]
    Unknown,
    /// The newest key cannot be removed: new secrets are sealed with it.
    #[error("the newest key cannot be removed; add another first")]
    Newest,
    /// There already is a standby key.
    #[error("key {id} is on standby already; promote or remove it first")]
    StandbyTaken {
        /// Its id.
        id: KeyId,
    },
    /// The key is not on standby, so it cannot be promoted.
    #[error("that key is not on standby")]
    NotStandby,
    /// A standby key of the text is not the last key, or is the only one.
    #[error("only the last key can be on standby, after one that seals")]
    MisplacedStandby,
}

impl KeyRing {
    /// A ring with one new key and a new secret for event ids.
    ///
    /// # Errors
    /// [`EntropyError`] if no randomness is available.
    pub fn generate(entropy: &dyn Entropy, now: Timestamp) -> Result<Self, EntropyError> {
        let (newest, event_ids) = (Entry::generate(entropy, now)?, Key::generate(entropy)?);
        Ok(Self { older: Vec::new(), newest, standby: None, event_ids })
    }

    /// Adds a new key, which becomes the newest.
    ///
    /// # Errors
    /// [`EntropyError`] if no randomness is available. The ring is then unchanged.
    pub fn add(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<KeyId, EntropyError> {
        let entry = Entry::generate(entropy, now)?;
        let id = entry.id.clone();
        self.put_newest(entry);
        Ok(id)
    }

    /// Adds a new standby key, which opens but does not seal yet.
    ///
    /// # Errors
    /// [`KeyRingError::StandbyTaken`] if there already is one; [`KeyRingError::Entropy`] if no randomness is
    /// available. The ring is then unchanged.
    pub fn add_standby(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<KeyId, KeyRingError> {
        if let Some(standby) = &self.standby {
            return Err(KeyRingError::StandbyTaken { id: standby.id.clone() });
        }
        let entry = Entry::generate(entropy, now).map_err(|_| KeyRingError::Entropy)?;
        Ok(self.standby.insert(entry).id.clone())
    }

    /// Makes the standby key the newest. Every machine must have it by then.
    ///
    /// # Errors
    /// [`KeyRingError::NotStandby`] if the key is not on standby, [`KeyRingError::Unknown`] if the ring does
    /// not have it.
    pub fn promote(&mut self, id: &KeyId) -> Result<(), KeyRingError> {
        if !self.contains(id) {
            return Err(KeyRingError::Unknown);
        }
        let entry = self.standby.take_if(|standby| standby.id == *id).ok_or(KeyRingError::NotStandby)?;
        self.put_newest(entry);
        Ok(())
    }

    fn put_newest(&mut self, entry: Entry) {
        self.older.push(std::mem::replace(&mut self.newest, entry));
    }

    /// Removes a key permanently. Secrets sealed with it can never be opened again, so make sure that no
    /// store uses it.
    ///
    /// # Errors
    /// [`KeyRingError::Newest`] if it is the newest, [`KeyRingError::Unknown`] if the ring does not have it.
    pub fn remove(&mut self, id: &KeyId) -> Result<(), KeyRingError> {
        if self.newest.id == *id {
            return Err(KeyRingError::Newest);
        }
        if self.standby.take_if(|standby| standby.id == *id).is_some() {
            return Ok(());
        }
        let place = self.older.iter().position(|entry| entry.id == *id).ok_or(KeyRingError::Unknown)?;
        self.older.remove(place);
        Ok(())
    }

    /// The key that seals new secrets.
    #[must_use]
    pub const fn newest(&self) -> &KeyId {
        &self.newest.id
    }

    /// The standby key.
    #[must_use]
    pub fn standby(&self) -> Option<&KeyId> {
        self.standby.as_ref().map(|standby| &standby.id)
    }

    /// Whether this key is older than the newest, so that its secrets should be resealed.
    #[must_use]
    pub fn is_older(&self, id: &KeyId) -> bool {
        self.older.iter().any(|older| older.id == *id)
    }

    /// Whether the ring has this key.
    #[must_use]
    pub fn contains(&self, id: &KeyId) -> bool {
        self.key(id).is_some()
    }

    /// The keys and their times of creation: oldest first, the standby key last.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, Timestamp)> {
        self.entries().map(|entry| (&entry.id, entry.created_at))
    }

    /// The keys of `in_use` that this ring does not have.
    ///
    /// Pass the result of [`AccountStore::keys_in_use`](mfa_domain::ports::AccountStore::keys_in_use): if any
    /// key is missing, this is the wrong ring for that store.
    #[must_use]
    pub fn missing<'a>(&self, in_use: &'a [KeyId]) -> Vec<&'a KeyId> {
        in_use.iter().filter(|id| !self.contains(id)).collect()
    }

    /// Whether both rings make the same event ids.
    #[must_use]
    pub fn has_event_ids_of(&self, other: &Self) -> bool {
        self.event_ids.expose() == other.event_ids.expose()
    }

    /// The secret from which event ids are made.
    pub(crate) const fn event_ids(&self) -> &Key {
        &self.event_ids
    }

    pub(crate) fn newest_key(&self) -> &Key {
        &self.newest.key
    }

    pub(crate) fn key(&self, id: &KeyId) -> Option<&Key> {
        self.entries().find(|entry| entry.id == *id).map(|entry| &entry.key)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.older.iter().chain([&self.newest]).chain(&self.standby)
    }
}

impl Entry {
    fn generate(entropy: &dyn Entropy, now: Timestamp) -> Result<Self, EntropyError> {
        let key = Key::generate(entropy)?;
        Ok(Self { id: key.id(), created_at: now, key })
    }
}

impl Key {
    pub(crate) const LENGTH: usize = 32;

    /// A key of zeros, to be filled in place.
    fn blank() -> Self {
        Self(Box::new(Zeroizing::new([0; Self::LENGTH])))
    }

    fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self::blank();
        entropy.fill(key.0.as_mut_slice())?;
        Ok(key)
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let mut key = Self::blank();
        key.0.copy_from_slice(bytes);
        key
    }

    pub(crate) fn expose(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The fingerprint: `k` and 24 characters (120 bits) of SHA-256 over a domain label and the key. It
    /// reveals nothing about a random 256-bit key.
    fn id(&self) -> KeyId {
        let digest =
            Sha256::new().chain_update(b"mfa-crypto key id v1").chain_update(self.expose()).finalize();
        KeyId::new(format!("k{}", BASE32_NOPAD.encode(&digest[..15]).to_ascii_lowercase()))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.keys().map(|(id, _)| id.as_str()).collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mfa_domain::ports::SystemEntropy;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_700_000_000 + seconds)
    }

    /// Pinned: stores name keys by it. SHA-256 of the label and the key, calculated independently.
    #[test]
    fn an_id_is_a_fingerprint_of_the_key() {
        let id = |byte| Key::from_bytes(&[byte; Key::LENGTH]).id();
        assert_eq!(id(0).as_str(), "k6cpyt6j3xysye2u5w5a5guyx");
        assert_ne!(id(0), id(1));
    }

    #[test]
    fn a_ring_that_lacks_a_key_in_use_is_noticed() {
        let mut ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let first = ring.newest().clone();
        let second = ring.add(&SystemEntropy, at(1)).unwrap();
        let other = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let foreign = other.newest().clone();

        let in_use = [first.clone(), foreign.clone(), second.clone()];
        assert_eq!(ring.missing(&in_use), [&foreign]);
        assert_eq!(other.missing(&in_use), [&first, &second]);
        assert!(ring.missing(&[]).is_empty());
        assert!(ring.contains(&first) && ring.contains(&second) && !ring.contains(&foreign));
    }

    #[test]
    fn the_key_added_last_is_the_newest_even_if_the_clock_was_set_back() {
        let mut ring = KeyRing::generate(&SystemEntropy, at(100)).unwrap();
        let first = ring.newest().clone();
        let second = ring.add(&SystemEntropy, at(0)).unwrap();
        assert_eq!(ring.newest(), &second);
        let keys: Vec<_> = ring.keys().collect();
        assert_eq!(keys, [(&first, at(100)), (&second, at(0))]);
    }

    #[test]
    fn any_key_but_the_newest_can_be_removed() {
        let mut ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let first = ring.newest().clone();
        assert_eq!(ring.remove(&first), Err(KeyRingError::Newest));
        let second = ring.add(&SystemEntropy, at(1)).unwrap();
        assert_eq!(ring.remove(&second), Err(KeyRingError::Newest));
        assert_eq!(ring.remove(&first), Ok(()));
        assert_eq!(ring.remove(&first), Err(KeyRingError::Unknown));
        assert_eq!(ring.keys().map(|(id, _)| id).collect::<Vec<_>>(), [&second]);
    }

    #[test]
    fn a_key_on_standby_opens_and_seals_only_once_it_is_promoted() {
        let mut ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let first = ring.newest().clone();
        let standby = ring.add_standby(&SystemEntropy, at(1)).unwrap();
        let taken = KeyRingError::StandbyTaken { id: standby.clone() };
        assert_eq!(ring.add_standby(&SystemEntropy, at(2)), Err(taken));
        assert_eq!((ring.newest(), ring.standby()), (&first, Some(&standby)));
        assert!(ring.contains(&standby) && !ring.is_older(&standby) && !ring.is_older(&first));

        assert_eq!(ring.promote(&first), Err(KeyRingError::NotStandby));
        assert_eq!(ring.promote(&KeyId::new("x")), Err(KeyRingError::Unknown));
        assert_eq!(ring.promote(&standby), Ok(()));
        assert_eq!((ring.newest(), ring.standby()), (&standby, None));
        assert!(ring.is_older(&first));

        let other = ring.add_standby(&SystemEntropy, at(3)).unwrap();
        let newest = ring.add(&SystemEntropy, at(4)).unwrap();
        assert_eq!((ring.newest(), ring.standby()), (&newest, Some(&other)));
        assert_eq!(ring.remove(&other), Ok(()));
        assert_eq!(ring.standby(), None);
    }

    #[test]
    fn ids_of_events_outlast_every_key_and_are_those_of_no_other_ring() {
        let mut ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let [copy, other] =
            [KeyRing::parse(&ring.to_text()).unwrap(), KeyRing::generate(&SystemEntropy, at(0)).unwrap()];
        let first = ring.newest().clone();
        ring.add(&SystemEntropy, at(1)).unwrap();
        let standby = ring.add_standby(&SystemEntropy, at(2)).unwrap();
        ring.promote(&standby).unwrap();
        ring.remove(&first).unwrap();
        assert!(
            ring.has_event_ids_of(&copy) && KeyRing::parse(&ring.to_text()).unwrap().has_event_ids_of(&copy)
        );
        assert!(!ring.has_event_ids_of(&other));
    }

    #[test]
    fn without_randomness_there_is_no_key() {
        #[derive(Debug)]
        struct Dry;
        impl Entropy for Dry {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError::new("dry"))
            }
        }
        assert!(KeyRing::generate(&Dry, at(0)).is_err());
        let mut ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        let id = ring.newest().clone();
        assert!(ring.add(&Dry, at(1)).is_err());
        assert_eq!(ring.add_standby(&Dry, at(1)), Err(KeyRingError::Entropy));
        assert_eq!(ring.newest(), &id);
        assert_eq!(ring.keys().count(), 1);
    }

    #[test]
    fn debug_shows_ids_only() {
        let ring = KeyRing::generate(&SystemEntropy, at(0)).unwrap();
        assert_eq!(format!("{ring:?}"), format!("KeyRing([\"{}\"])", ring.newest()));
    }
}
