//! Recipient addresses in the form that mail servers accept.

use mfa_domain::Address;
use thiserror::Error;

/// An address in ASCII, with an international domain in its encoded form (RFC 5891).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recipient(lettre::Address);

/// An address that cannot receive mail. The message shows nothing of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRecipient {
    /// It is not of the form `name@domain`.
    #[error("not an e-mail address, such as name@example.com")]
    Form,
    /// The name has characters beyond ASCII, which many mail servers do not accept (RFC 6531).
    #[error("letters before the @ must be ASCII, since many mail servers accept no others")]
    Name,
    /// The part after the `@` is not a domain.
    #[error("the part after the @ is not a domain")]
    Domain,
}

impl Recipient {
    pub(crate) fn of(address: &Address) -> Result<Self, InvalidRecipient> {
        let (name, domain) = address.expose().rsplit_once('@').ok_or(InvalidRecipient::Form)?;
        if !name.is_ascii() {
            return Err(InvalidRecipient::Name);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidRecipient::Domain)?;
        if domain.is_empty() {
            return Err(InvalidRecipient::Domain);
        }
        lettre::Address::new(name, &domain).map(Self).map_err(|_| InvalidRecipient::Form)
    }

    pub(crate) fn address(&self) -> &lettre::Address {
        &self.0
    }
}

/// Checks whether an address can receive mail, for programs that accept addresses.
///
/// ```
/// use mfa_domain::Address;
/// use mfa_email::{InvalidRecipient, check_address};
/// assert_eq!(check_address(&Address::new("eve@bücher.example")?), Ok(()));
/// assert_eq!(check_address(&Address::new("zoë@example.com")?), Err(InvalidRecipient::Name));
/// # Ok::<(), mfa_domain::address::InvalidAddress>(())
/// ```
///
/// # Errors
/// [`InvalidRecipient`] if it cannot.
pub fn check_address(address: &Address) -> Result<(), InvalidRecipient> {
    Recipient::of(address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_encoded_and_names_are_kept() {
        for (address, taken) in [
            ("eve@example.com", "eve@example.com"),
            ("Eve.O'Brien+codes@Example.COM", "Eve.O'Brien+codes@example.com"),
            ("eve@bücher.example", "eve@xn--bcher-kva.example"),
            ("eve@BÜCHER.example", "eve@xn--bcher-kva.example"),
            ("eve@mail", "eve@mail"),
        ] {
            let recipient = Recipient::of(&Address::new(address).unwrap()).unwrap();
            assert_eq!(recipient.address().to_string(), taken);
        }
    }

    #[test]
    fn what_no_mail_can_go_to_is_refused() {
        for (address, error) in [
            ("eve", InvalidRecipient::Form),
            ("@example.com", InvalidRecipient::Form),
            ("eve@", InvalidRecipient::Domain),
            ("eve@-example.com", InvalidRecipient::Domain),
            ("eve@exam_ple.com", InvalidRecipient::Domain),
            ("eve@a..b", InvalidRecipient::Domain),
            ("zoë@example.com", InvalidRecipient::Name),
            ("eve,bob@example.com", InvalidRecipient::Form),
            ("<eve@example.com>", InvalidRecipient::Domain),
        ] {
            assert_eq!(check_address(&Address::new(address).unwrap()), Err(error), "{address}");
        }
    }
}
