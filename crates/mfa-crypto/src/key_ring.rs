//! The keys that secrets are sealed with.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use mfa_domain::ports::{Entropy, EntropyError};
use mfa_domain::{KeyId, Timestamp};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

mod text;

/// One or more 256-bit keys, the newest last, and at most one on standby after it.
///
/// New secrets are sealed with the newest, and every key opens what it sealed. The order is that of
/// [`KeyRing::add`] and of the text, not that of the times, since clocks jump.
///
/// Where several machines have copies of one ring, a key that seals on one before the others have it
/// makes secrets that these cannot open. So it goes round on standby first
/// ([`KeyRing::add_standby`]), when it opens and does not seal, and is promoted
/// ([`KeyRing::promote`]) once every machine has it.
///
/// The id of a key is a fingerprint of it, so no ring can hold another key by the same id. That
/// makes [`KeyRing::missing`] a full check for a wrong ring: a server that finds a key missing must
/// not start, or it would seal new secrets with a key that nobody backed up while the old ones stay
/// shut.
///
/// Beside the keys there is one secret more, from which the ids of events are made. It is made with the
/// ring and stays, whatever becomes of the keys, since ids that were given out must.
///
/// Keys are wiped from memory on drop; `Debug` shows ids only; there is no `Clone` and no
/// `Serialize`.
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
    /// All but the newest, oldest first.
    older: Vec<Entry>,
    newest: Entry,
    /// Opens, but does not seal yet.
    standby: Option<Entry>,
    /// What the ids of events are made from.
    event_ids: Key,
}

struct Entry {
    id: KeyId,
    created_at: Timestamp,
    key: Key,
}

/// A 256-bit key. It lies on the heap, so that moving the ring leaves no copy behind.
pub(crate) struct Key(Box<Zeroizing<[u8; Self::LENGTH]>>);

/// Why a ring could not be read or changed. It never quotes what was read, which may be a key in
/// the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The text is not that of a key ring.
    #[error(
        "line {line} cannot be read; a key ring has event_ids, and [[keys]], each with id, created_at and key only"
    )]
    Syntax {
        /// The line, counted from 1.
        line: usize,
    },
    /// The text has no key.
    #[error("there is no key in the key ring")]
    Empty,
    /// A key is not 32 bytes in base64.
    #[error("key number {number} is not 32 bytes in base64")]
    Malformed {
        /// Which key of the text, counted from 1.
        number: usize,
    },
    /// A time is not RFC 3339 with an offset, or is before 1970.
    #[error("created_at of key number {number} is not a time with an offset")]
    Time {
        /// Which key of the text, counted from 1.
        number: usize,
    },
    /// A key is not the one that its id names, so one of the two was changed.
    #[error("key number {number} is not the one that its id names; its own id is {id}")]
    WrongId {
        /// Which key of the text, counted from 1.
        number: usize,
        /// The id of the key that is there.
        id: KeyId,
    },
    /// A key is there twice.
    #[error("key {id} is in the key ring twice")]
    Duplicate {
        /// Its id.
        id: KeyId,
    },
    /// The secret that ids of events are made from is not there, or not 32 bytes in base64.
    #[error("event_ids is missing, or is not 32 bytes in base64")]
    EventIds,
    /// The ring makes other ids of events than the one whose place it was to take.
    #[error(
        "event_ids is not that of the key ring in use; by another, the ids that were given out name nothing"
    )]
    OtherEventIds,
    /// There was no randomness for a key.
    #[error("there is no randomness for a key")]
    Entropy,
    /// There is no such key.
    #[error("there is no such key in the key ring")]
    Unknown,
    /// The newest key stays: new secrets are sealed with it.
    #[error("the newest key cannot be removed; add another first")]
    Newest,
    /// There is a key on standby already.
    #[error("key {id} is on standby already; promote or remove it first")]
    StandbyTaken {
        /// Its id.
        id: KeyId,
    },
    /// That key is not on standby, so it cannot be promoted.
    #[error("that key is not on standby")]
    NotStandby,
    /// A key of the text is on standby, but not the last, or the only one.
    #[error("only the last key can be on standby, after one that seals")]
    MisplacedStandby,
}

impl KeyRing {
    /// A ring with one fresh key, and a fresh secret for ids of events.
    ///
    /// # Errors
    /// [`EntropyError`] if there is no randomness.
    pub fn generate(entropy: &dyn Entropy, now: Timestamp) -> Result<Self, EntropyError> {
        let (newest, event_ids) = (Entry::generate(entropy, now)?, Key::generate(entropy)?);
        Ok(Self { older: Vec::new(), newest, standby: None, event_ids })
    }

    /// Adds a fresh key, which is the newest from then on.
    ///
    /// # Errors
    /// [`EntropyError`] if there is no randomness; the ring is then as it was.
    pub fn add(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<KeyId, EntropyError> {
        let entry = Entry::generate(entropy, now)?;
        let id = entry.id.clone();
        self.put_newest(entry);
        Ok(id)
    }

    /// Adds a fresh key that opens and does not seal yet.
    ///
    /// # Errors
    /// [`KeyRingError::StandbyTaken`] if there is one already; [`KeyRingError::Entropy`] if there is no
    /// randomness. The ring is then as it was.
    pub fn add_standby(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<KeyId, KeyRingError> {
        if let Some(standby) = &self.standby {
            return Err(KeyRingError::StandbyTaken { id: standby.id.clone() });
        }
        let entry = Entry::generate(entropy, now).map_err(|_| KeyRingError::Entropy)?;
        Ok(self.standby.insert(entry).id.clone())
    }

    /// Makes the key on standby the newest. Every machine must have it by then.
    ///
    /// # Errors
    /// [`KeyRingError::NotStandby`] if it is not on standby, [`KeyRingError::Unknown`] if it is not
    /// there at all.
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

    /// Removes a key for good: whatever is still sealed with it can never be opened again, so make
    /// sure that no store has it in use.
    ///
    /// # Errors
    /// [`KeyRingError::Newest`] if it is the newest, [`KeyRingError::Unknown`] if it is not there.
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

    /// The key that new secrets are sealed with.
    #[must_use]
    pub const fn newest(&self) -> &KeyId {
        &self.newest.id
    }

    /// The key that opens and does not seal yet.
    #[must_use]
    pub fn standby(&self) -> Option<&KeyId> {
        self.standby.as_ref().map(|standby| &standby.id)
    }

    /// Whether that key sealed before the newest did, so that its secrets are to be sealed anew.
    #[must_use]
    pub fn is_older(&self, id: &KeyId) -> bool {
        self.older.iter().any(|older| older.id == *id)
    }

    /// Whether that key is there.
    #[must_use]
    pub fn contains(&self, id: &KeyId) -> bool {
        self.key(id).is_some()
    }

    /// The keys and when they were made, the newest last but for one on standby.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, Timestamp)> {
        self.entries().map(|entry| (&entry.id, entry.created_at))
    }

    /// Those of `in_use` that are not in this ring.
    ///
    /// With what [`AccountStore::keys_in_use`](mfa_domain::ports::AccountStore::keys_in_use) gives,
    /// anything but an empty answer means that this is the wrong ring for that store.
    #[must_use]
    pub fn missing<'a>(&self, in_use: &'a [KeyId]) -> Vec<&'a KeyId> {
        in_use.iter().filter(|id| !self.contains(id)).collect()
    }

    /// Whether ids of events are the same by both.
    #[must_use]
    pub fn has_event_ids_of(&self, other: &Self) -> bool {
        self.event_ids.expose() == other.event_ids.expose()
    }

    /// What the ids of events are made from.
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

    /// All zeros, to be filled in place.
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

    /// The fingerprint: `k` and 24 characters (120 bits) of SHA-256 over a domain label and the key.
    /// Of a random 256-bit key it says nothing.
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

    /// Pinned: stores name keys by it. SHA-256 of the label and the key, worked out elsewhere.
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
