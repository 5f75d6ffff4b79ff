//! The ids by which tenants know events.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;

use crate::identity::InvalidId;

/// The opaque id of one event of a tenant: `evt_` and 26 characters of `a-z 2-7`.
///
/// A [`Vault`](crate::ports::Vault) makes it from the [`EventPosition`](crate::ports::EventPosition) of the event,
/// and turns it back. Two ids reveal neither which event came first nor how many are between them; lists of events
/// are in order.
///
/// ```
/// use mfa_domain::EventId;
///
/// let id = EventId::from_block([7; 16]);
/// assert_eq!(id.to_string(), "evt_a4dqobyha4dqobyha4dqobyha4");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!("4711".parse::<EventId>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId([u8; 16]);

/// The prefix of every id.
const PREFIX: &str = "evt_";

impl EventId {
    /// Makes an id from a block of the vault.
    #[must_use]
    pub const fn from_block(block: [u8; 16]) -> Self {
        Self(block)
    }

    /// The block of the vault.
    #[must_use]
    pub const fn block(self) -> [u8; 16] {
        self.0
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    /// Parses the form of `Display`, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let decode = |text: &str| BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?.try_into().ok();
        let id = text.strip_prefix(PREFIX).and_then(decode).map(Self);
        id.filter(|id| id.to_string() == text)
            .ok_or(InvalidId { what: "event", rule: "evt_ and 26 characters of a-z 2-7" })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32_NOPAD_NOCASE.encode(&self.0).to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_form_that_is_given_out_is_read() {
        let text = EventId([0xff; 16]).to_string();
        assert_eq!(text, "evt_77777777777777777777777774");
        for other in [
            String::new(),
            "17".to_owned(),
            text.to_uppercase(),
            text.replace("evt_", "EVT_"),
            text.replace("evt_", ""),
            text.replacen('7', "", 1),
            format!("{text}7"),
            format!("{text} "),
            // Bits that belong to no byte.
            text.replace('4', "5"),
            text.replacen('7', "1", 1),
        ] {
            assert!(other.parse::<EventId>().is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_id_is_read_back(block: [u8; 16]) {
            let id = EventId(block);
            let text = id.to_string();
            prop_assert_eq!((text.len(), text.parse()), (30, Ok(id)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(evt_)?\\PC{0,30}") {
            let _ = text.parse::<EventId>();
        }
    }
}
