//! Addresses that codes are sent to.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::text::visible;

/// An address that codes are sent to, such as an e-mail address. `Debug` shows nothing of it.
///
/// 1 to 254 bytes without white space or invisible characters. The [`Sender`](crate::ports::Sender) checks whether it
/// is valid for its kind.
///
/// ```
/// use mfa_domain::Address;
/// let address = Address::new("eve@example.com")?;
/// assert_eq!(address.masked(), "e•••@example.com");
/// assert!(Address::new("eve @example.com").is_err());
/// # Ok::<(), mfa_domain::address::InvalidAddress>(())
/// ```
pub struct Address(Zeroizing<String>);

/// The text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an address must have 1 to 254 bytes and no white space or invisible characters")]
pub struct InvalidAddress;

impl Address {
    /// The longest address, in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
    pub const MAX_LENGTH: usize = 254;

    /// Parses an address.
    ///
    /// # Errors
    /// [`InvalidAddress`] if its length or a character is not allowed.
    pub fn new(text: &str) -> Result<Self, InvalidAddress> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.chars().all(|c| visible(c) && !c.is_whitespace()) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(InvalidAddress)
        }
    }

    /// The whole address, to send to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The masked address, which its owner recognises: the domain, and the first character before it if there are
    /// more than two; without a domain, the last two characters if there are more than four.
    #[must_use]
    pub fn masked(&self) -> String {
        const HIDDEN: &str = "•••";
        if let Some((local, domain)) = self.0.rsplit_once('@') {
            let first = local.chars().next().filter(|_| local.chars().count() > 2);
            return format!("{}{HIDDEN}@{domain}", first.map_or_else(String::new, String::from));
        }
        let tail = self.0.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        let shown = if self.0.chars().count() > 4 { &self.0[tail..] } else { "" };
        format!("{HIDDEN}{shown}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bounded_visible_and_shown_masked_only() {
        for bad in ["", "a b", "a\n", "a\u{200b}b", "a\u{a0}b", &"a".repeat(255)] {
            assert_eq!(Address::new(bad).err(), Some(InvalidAddress), "{bad:?}");
        }
        for (address, masked) in [
            ("eve@example.com", "e•••@example.com"),
            ("e@example.com", "•••@example.com"),
            ("ev@example.com", "•••@example.com"),
            ("@x@y@example.com", "@•••@example.com"),
            ("+4915112345678", "•••78"),
            ("1234", "•••"),
            ("äöüßé", "•••ßé"),
        ] {
            assert_eq!(Address::new(address).unwrap().masked(), masked);
        }
        let shown = format!("{:?}", Address::new("eve@example.com").unwrap());
        assert!(!shown.contains("eve"), "{shown}");
    }
}
