//! DKIM signatures (RFC 6376) with RSA or Ed25519 (RFC 8463).

use data_encoding::BASE64;
use mfa_domain::Timestamp;
use ring::digest::{SHA256, digest};
use thiserror::Error;
use zeroize::Zeroizing;

mod canonical;
mod key;

pub(crate) use key::Unsigned;
pub use key::{DkimKey, InvalidDkimKey};

/// Settings for DKIM: receiving servers verify that the domain in `From` sent a mail and that nobody altered
/// it.
#[derive(Debug)]
pub struct DkimSettings {
    /// The private key. DNS publishes its public half.
    pub key: DkimKey,
    /// The selector, a DNS name such as `mfa1`. It distinguishes this key from others of the domain.
    pub selector: String,
    /// The domain that signs: the domain of `From` or a parent of it, up to the organisation's, such as
    /// `example.com` or `example.co.uk`; DMARC accepts no other. Public suffixes such as `co.uk` are not
    /// detected. Default: the domain of `From`.
    pub domain: Option<String>,
}

/// A DKIM setting with which receivers could not find the key, or would not count the signature for the
/// sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidDkim {
    /// The selector cannot be part of a DNS name.
    #[error("the DKIM selector is not a DNS name such as mfa1")]
    Selector,
    /// DMARC would not accept the domain (RFC 7489, 3.1.1).
    #[error("the DKIM domain must be the domain of from or a parent of it, such as example.com")]
    Domain,
}

/// The TXT record that publishes the public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimRecord {
    /// `SELECTOR._domainkey.DOMAIN`
    pub name: String,
    /// `v=DKIM1; k=rsa; p=…`. A zone file splits it into strings of at most 255 characters.
    pub value: String,
}

/// Signs mails for one domain.
pub(crate) struct DkimSigner {
    key: DkimKey,
    selector: String,
    domain: String,
}

/// The signed header fields. `h=` names each twice, so that nobody can insert a second field of that name,
/// which mail programs would show instead of the signed one (RFC 6376, 8.15).
const SIGNED: [&str; 7] = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

/// The maximum length of a DNS name, in characters with dots.
const MAX_NAME: usize = 253;

impl DkimSigner {
    /// Creates a signer for mails from an address at `from`, a domain.
    pub(crate) fn new(settings: DkimSettings, from: &str) -> Result<Self, InvalidDkim> {
        let DkimSettings { key, selector, domain } = settings;
        let selector = selector.to_ascii_lowercase();
        let domain = aligned(domain.as_deref().unwrap_or(from), from)?;
        let signer = Self { key, selector, domain };
        if !is_name(&signer.selector) || signer.record().name.len() > MAX_NAME {
            return Err(InvalidDkim::Selector);
        }
        Ok(signer)
    }

    pub(crate) fn record(&self) -> DkimRecord {
        let Self { key, selector, domain } = self;
        DkimRecord {
            name: format!("{selector}._domainkey.{domain}"),
            value: format!("v=DKIM1; k={}; p={}", key.kind(), BASE64.encode(&key.public())),
        }
    }

    /// Prepends the signature to a mail. `message` is the mail as it is transmitted.
    pub(crate) fn sign(&self, message: &[u8], at: Timestamp) -> Result<Zeroizing<Vec<u8>>, Unsigned> {
        let (header, body) = canonical::split(message);
        let Self { key, selector, domain } = self;
        let (kind, seconds) = (key.kind(), at.unix_millis() / 1000);
        let (names, body) = (names(), BASE64.encode(digest(&SHA256, &canonical::body(body)).as_ref()));
        let mut field = format!(
            "DKIM-Signature: v=1; a={kind}-sha256; c=relaxed/relaxed; t={seconds};\r\n d={domain};\r\n \
             s={selector};\r\n h={names};\r\n bh={body};\r\n b="
        );
        let mut signed = canonical::signed(header, &SIGNED);
        let own = canonical::field(field.as_bytes());
        signed.extend_from_slice(own.strip_suffix(b"\r\n").unwrap_or(&own));
        let signature = BASE64.encode(&key.sign(&signed)?);
        fold(&mut field, &signature);

        let mut whole = Zeroizing::new(Vec::with_capacity(field.len() + message.len()));
        whole.extend_from_slice(field.as_bytes());
        whole.extend_from_slice(message);
        Ok(whole)
    }
}

/// Checks a DKIM selector, for programs that validate settings.
///
/// # Errors
/// [`InvalidDkim::Selector`] if it is not a DNS name.
pub fn check_dkim_selector(selector: &str) -> Result<(), InvalidDkim> {
    if is_name(selector) { Ok(()) } else { Err(InvalidDkim::Selector) }
}

/// Returns `domain` in lower case if it may sign mails from an address at the domain `from`.
pub(crate) fn aligned(domain: &str, from: &str) -> Result<String, InvalidDkim> {
    let (domain, from) = (domain.to_ascii_lowercase(), from.to_ascii_lowercase());
    let is_above = from.strip_suffix(&domain).is_some_and(|below| below.is_empty() || below.ends_with('.'));
    // A signing domain has more than one label (RFC 6376, 3.5: `d=`).
    if is_above && is_name(&domain) && domain.contains('.') { Ok(domain) } else { Err(InvalidDkim::Domain) }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_NAME && text.split('.').all(is_label)
}

/// The value of `h=`, folded into lines.
fn names() -> String {
    SIGNED.map(|name| format!("{name}:{name}")).join(":\r\n  ")
}

/// Appends a signature in lines of 72 characters, and ends the field.
fn fold(field: &mut String, signature: &str) {
    for (at, character) in signature.chars().enumerate() {
        if at > 0 && at % 72 == 0 {
            field.push_str("\r\n ");
        }
        field.push(character);
    }
    field.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_signs_for_itself_and_what_lies_below() {
        for (domain, from, signs) in [
            ("example.com", "example.com", Some("example.com")),
            ("Example.COM", "mail.example.com", Some("example.com")),
            ("mail.example.com", "example.com", None),
            ("ample.com", "example.com", None),
            ("example.org", "example.com", None),
            ("com", "example.com", None),
            (".com", "example.com", None),
            (".example.com", "mail.example.com", None),
            ("", "example.com", None),
            ("localhost", "localhost", None),
            ("[192.0.2.1]", "[192.0.2.1]", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        ] {
            assert_eq!(aligned(domain, from).ok().as_deref(), signs, "{domain} for {from}");
        }
    }

    #[test]
    fn a_selector_is_a_dns_name() {
        for good in ["mfa1", "2026-07", "mfa.eu", "a", &"a".repeat(63)] {
            assert_eq!(check_dkim_selector(good), Ok(()), "{good}");
        }
        for bad in
            ["", ".", "a.", "a..b", "-a", "a-", "a_b", "a b", "a;b", "ä", &"a".repeat(64), &"a.".repeat(128)]
        {
            assert_eq!(check_dkim_selector(bad), Err(InvalidDkim::Selector), "{bad}");
        }
    }

    #[test]
    fn a_signature_is_folded_and_ended() {
        let mut field = "b=".to_owned();
        fold(&mut field, &"a".repeat(145));
        let line = "a".repeat(72);
        assert_eq!(field, format!("b={line}\r\n {line}\r\n a\r\n"));
    }
}
