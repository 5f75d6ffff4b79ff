//! The text form of a key ring, for a file.

use std::fmt::Write;

use data_encoding::BASE64;
use mfa_domain::{KeyId, Timestamp};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::value::Datetime;
use zeroize::Zeroizing;

use super::{Entry, Key, KeyRing, KeyRingError};

const HEADER: &str = "\
# The key ring of mfa-kit: the keys that the secrets in the database are encrypted with.
#
# Back it up, and keep the copy apart from the database's: without these keys every user has to
# enrol anew, and with both in one place encryption protects nothing.
#
# The last key seals new secrets; the others still open older ones. A key with standby = true after
# it opens secrets, but does not seal yet. An id is a fingerprint of its key, so changing either by
# hand makes the ring unreadable.
#
# Event ids are made from event_ids, which never changes, even when keys change.
";

/// Borrowed from the text, so that parsing copies no key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingText<'a> {
    event_ids: Option<&'a str>,
    #[serde(borrow, default)]
    keys: Vec<EntryText<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText<'a> {
    id: &'a str,
    created_at: Datetime,
    key: &'a str,
    #[serde(default)]
    standby: bool,
}

impl KeyRing {
    /// Reads the output of [`KeyRing::to_text`]: TOML with `event_ids` and a table `[[keys]]` for each key,
    /// the newest last.
    ///
    /// Every key is checked against its id, so a damaged or exchanged key is noticed here, not when the first
    /// secret fails to open. The caller must wipe the text afterwards.
    ///
    /// # Errors
    /// [`KeyRingError`], which never quotes the text.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let parsed: RingText<'_> = toml::from_str(text).map_err(|error| {
            // The error's own message would quote the line, and with it the key.
            let before = error.span().map_or(0, |span| span.start);
            let breaks = text.bytes().take(before).filter(|byte| *byte == b'\n').count();
            KeyRingError::Syntax { line: breaks + 1 }
        })?;
        let on_standby = parsed.keys.iter().position(|entry| entry.standby);
        if on_standby.is_some_and(|place| place == 0 || place + 1 != parsed.keys.len()) {
            return Err(KeyRingError::MisplacedStandby);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(parsed.keys.len());
        for (number, entry) in (1..).zip(parsed.keys) {
            let entry = Entry::read(&entry, number)?;
            if entries.iter().any(|other| other.id == entry.id) {
                return Err(KeyRingError::Duplicate { id: entry.id });
            }
            entries.push(entry);
        }
        let standby = on_standby.and_then(|_| entries.pop());
        let newest = entries.pop().ok_or(KeyRingError::Empty)?;
        let event_ids = parsed.event_ids.and_then(Key::read).ok_or(KeyRingError::EventIds)?;
        Ok(Self { older: entries, newest, standby, event_ids })
    }

    /// The ring as text for [`KeyRing::parse`]. It contains the keys: write it to a file that only its owner
    /// can read.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        const ENTRY_LENGTH: usize = 192;
        // Allocated once: growing would leave copies behind.
        let capacity = HEADER.len() + ENTRY_LENGTH * (1 + self.entries().count());
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        text.push_str(HEADER);
        text.push_str("event_ids = \"");
        BASE64.encode_append(self.event_ids.expose(), &mut text);
        text.push_str("\"\n");
        for Entry { id, created_at, key } in self.entries() {
            let _ = write!(text, "\n[[keys]]\nid = \"{id}\"\ncreated_at = {created_at}\nkey = \"");
            BASE64.encode_append(key.expose(), &mut text);
            text.push_str("\"\n");
        }
        if self.standby.is_some() {
            text.push_str("standby = true\n");
        }
        debug_assert!(text.len() <= capacity);
        text
    }
}

impl Entry {
    fn read(text: &EntryText<'_>, number: usize) -> Result<Self, KeyRingError> {
        let key = Key::read(text.key).ok_or(KeyRingError::Malformed { number })?;
        let created_at = timestamp(&text.created_at).ok_or(KeyRingError::Time { number })?;
        let id = key.id();
        if KeyId::new(text.id) != id {
            return Err(KeyRingError::WrongId { number, id });
        }
        Ok(Self { id, created_at, key })
    }
}

impl Key {
    fn read(text: &str) -> Option<Self> {
        // The decoder needs room for whole groups: one byte more than the key.
        let mut decoded = Zeroizing::new([0; Self::LENGTH + 1]);
        if BASE64.decode_len(text.len()) != Ok(decoded.len()) {
            return None;
        }
        let length = BASE64.decode_mut(text.as_bytes(), decoded.as_mut_slice()).ok()?;
        if length != Self::LENGTH {
            return None;
        }
        let mut key = Self::blank();
        key.0.copy_from_slice(&decoded[..Self::LENGTH]);
        Some(key)
    }
}

fn timestamp(text: &Datetime) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(&text.to_string(), &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::from_unix_millis)
}

#[cfg(test)]
mod tests {
    use mfa_domain::ports::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    fn ring(keys: u64) -> KeyRing {
        let time = |n| Timestamp::from_unix_millis(1_700_000_000_123 + n);
        let mut ring = KeyRing::generate(&SystemEntropy, time(0)).unwrap();
        for n in 1..keys {
            ring.add(&SystemEntropy, time(n)).unwrap();
        }
        ring
    }

    fn entry(ring: &KeyRing, number: usize) -> (String, String) {
        let entry = ring.entries().nth(number).unwrap();
        (entry.id.to_string(), BASE64.encode(entry.key.expose()))
    }

    #[test]
    fn a_ring_is_read_back_as_it_was_written() {
        for (keys, standby) in [(1, false), (2, true), (5, false), (1, true)] {
            let mut ring = ring(keys);
            if standby {
                ring.add_standby(&SystemEntropy, Timestamp::default()).unwrap();
            }
            let text = ring.to_text();
            assert!(text.starts_with("# ") && text.contains("Back it up"));
            let read = KeyRing::parse(&text).unwrap();
            assert!(read.keys().eq(ring.keys()));
            assert_eq!((read.newest(), read.standby()), (ring.newest(), ring.standby()));
            assert!(read.entries().zip(ring.entries()).all(|(a, b)| a.key.expose() == b.key.expose()));
            assert!(read.has_event_ids_of(&ring));
            assert_eq!(*read.to_text(), *text);
        }
    }

    #[test]
    fn what_is_not_a_key_ring_is_refused_and_the_error_says_where() {
        let ring = ring(2);
        let text = ring.to_text().to_string();
        let ((first, first_key), (second, second_key)) = (entry(&ring, 0), entry(&ring, 1));
        let own = |id: &str| KeyId::new(id);
        let event_ids = BASE64.encode(ring.event_ids.expose());
        let whole = format!("event_ids = \"{event_ids}\"\n");
        let line_of = |needle: &str| 1 + text[..text.find(needle).unwrap()].matches('\n').count();
        let without_last_byte = BASE64.encode(&ring.entries().next().unwrap().key.expose()[..31]);
        let with_another_byte = BASE64.encode(&[ring.newest_key().expose().as_slice(), &[0]].concat());

        for (changed, expected) in [
            (String::new(), KeyRingError::Empty),
            (whole.clone(), KeyRingError::Empty),
            (text.lines().take(8).collect::<Vec<_>>().join("\n"), KeyRingError::Empty),
            (text.replace(&first_key, &without_last_byte), KeyRingError::Malformed { number: 1 }),
            (text.replace(&second_key, &with_another_byte), KeyRingError::Malformed { number: 2 }),
            (text.replace(&second_key, ""), KeyRingError::Malformed { number: 2 }),
            (text.replace(&first_key, &first_key.replace('=', "")), KeyRingError::Malformed { number: 1 }),
            (text.replace(".123Z", ".123"), KeyRingError::Time { number: 1 }),
            (text.replace("2023-", "1923-"), KeyRingError::Time { number: 1 }),
            (text.replace(&second, &first), KeyRingError::WrongId { number: 2, id: own(&second) }),
            (text.replace(&first_key, &second_key), KeyRingError::WrongId { number: 1, id: own(&second) }),
            (
                text.replace(&second_key, &first_key).replace(&second, &first),
                KeyRingError::Duplicate { id: own(&first) },
            ),
            (text.replacen("\nkey", "\nstandby = true\nkey", 1), KeyRingError::MisplacedStandby),
            (text.replace(&whole, ""), KeyRingError::EventIds),
            (text.replace(&event_ids, ""), KeyRingError::EventIds),
            (text.replace(&event_ids, &event_ids[4..]), KeyRingError::EventIds),
            (text.replace(&event_ids, &format!("{event_ids}=")), KeyRingError::EventIds),
            (text.replace("event_ids", "event_id"), KeyRingError::Syntax { line: line_of("event_ids =") }),
            (format!("{text}{whole}"), KeyRingError::Syntax { line: text.matches('\n').count() + 1 }),
            (text.replace("\nkey = ", "\nKey = "), KeyRingError::Syntax { line: line_of(&first_key) }),
            (
                text.replace(&format!("\"{first_key}"), &first_key),
                KeyRingError::Syntax { line: line_of(&first_key) },
            ),
        ] {
            assert_eq!(KeyRing::parse(&changed).unwrap_err(), expected, "{changed}");
        }
    }

    proptest! {
        /// No error repeats eight characters of a key, whatever single change is made to the text.
        #[test]
        fn no_error_quotes_a_key(at in 0_usize..2000, put in prop::option::of("[ -~\n\"=é]")) {
            let ring = ring(2);
            let mut text = ring.to_text().to_string();
            let at = at % text.len();
            text.replace_range(at..=at, put.as_deref().unwrap_or_default());
            if let Err(error) = KeyRing::parse(&text) {
                let shown = format!("{error} {error:?}");
                let keys = (0..2).map(|number| entry(&ring, number).1);
                for key in keys.chain([BASE64.encode(ring.event_ids.expose())]) {
                    let quoted = (0..=key.len() - 8).find(|from| shown.contains(&key[*from..*from + 8]));
                    prop_assert_eq!(quoted, None, "{}", shown);
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z\\[\\]=\" \n0-9:.-]{0,200}") {
            let _ = KeyRing::parse(&text);
        }
    }
}
