//! Building a URI.

use alloc::string::String;
use core::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{MAX_NAME_BYTES, Name, Token, UriError};
use crate::secret::Secret;

/// Builds a URI from borrowed parts, in the canonical form of
/// [`OtpauthUri::to_uri`](super::OtpauthUri::to_uri).
///
/// White space around the names is dropped. The issuer appears before the label and in its parameter, since
/// apps read one or the other.
///
/// # Errors
///
/// [`UriError::ColonInIssuer`] and [`UriError::ColonInAccount`], since a colon would move the border between
/// the names; [`UriError::EmptyIssuer`], [`UriError::EmptyAccount`], [`UriError::NameTooLong`],
/// [`UriError::ControlCharacter`]; [`UriError::T0`] for a token that the format cannot express.
///
/// ```
/// use otp_core::uri::{Token, UriError, build};
/// use otp_core::{Secret, Totp};
///
/// let secret = Secret::from_bytes(b"12345678901234567890")?;
/// let token = Token::Totp(Totp::default());
/// let uri = build(&token, Some("Big Co"), "alice", &secret)?;
/// assert!(uri.starts_with("otpauth://totp/Big%20Co:alice?secret=GEZDGNBV"));
/// assert_eq!(build(&token, Some("a:b"), "alice", &secret), Err(UriError::ColonInIssuer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn build(
    token: &Token,
    issuer: Option<&str>,
    account: &str,
    secret: &Secret,
) -> Result<Zeroizing<String>, UriError> {
    let names = Names::check(issuer, account)?;
    check_token(token)?;
    Ok(render(token, &names, secret))
}

/// Issuer and account, checked so that a parser returns the same names.
pub(super) struct Names<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) account: &'a str,
}

impl<'a> Names<'a> {
    pub(super) fn check(issuer: Option<&'a str>, account: &'a str) -> Result<Self, UriError> {
        let issuer = issuer.map(str::trim);
        let account = account.trim();
        issuer.map_or(Ok(()), check_issuer)?;
        if account.is_empty() {
            return Err(UriError::EmptyAccount);
        }
        if account.contains(':') {
            return Err(UriError::ColonInAccount);
        }
        check_text(account, Name::Account)?;
        Ok(Self { issuer, account })
    }
}

/// Checks an issuer. White space around it is dropped.
///
/// # Errors
///
/// [`UriError::EmptyIssuer`], [`UriError::ColonInIssuer`], [`UriError::NameTooLong`] or
/// [`UriError::ControlCharacter`].
pub fn check_issuer(issuer: &str) -> Result<(), UriError> {
    let issuer = issuer.trim();
    if issuer.is_empty() {
        return Err(UriError::EmptyIssuer);
    }
    if issuer.contains(':') {
        return Err(UriError::ColonInIssuer);
    }
    check_text(issuer, Name::Issuer)
}

/// Checks that apply to every name, including those of a parsed URI.
pub(super) fn check_text(text: &str, name: Name) -> Result<(), UriError> {
    if text.len() > MAX_NAME_BYTES {
        return Err(UriError::NameTooLong(name));
    }
    if text.chars().any(char::is_control) {
        return Err(UriError::ControlCharacter(name));
    }
    Ok(())
}

pub(super) fn check_token(token: &Token) -> Result<(), UriError> {
    match token {
        Token::Totp(totp) if totp.t0() != 0 => Err(UriError::T0),
        Token::Totp(_) | Token::Hotp { .. } => Ok(()),
    }
}

/// All characters are encoded except the unreserved ones of RFC 3986, section 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn render(token: &Token, names: &Names<'_>, secret: &Secret) -> Zeroizing<String> {
    // Capacity for the worst case, so that growing never leaves a copy of the secret.
    let encoded_names = 3 * (names.account.len() + 2 * names.issuer.map_or(0, str::len));
    let capacity = encoded_names + secret.base32_length() + 128;
    let mut uri = Zeroizing::new(String::with_capacity(capacity));

    uri.push_str(match token {
        Token::Totp(_) => "otpauth://totp/",
        Token::Hotp { .. } => "otpauth://hotp/",
    });
    if let Some(issuer) = names.issuer {
        uri.extend(utf8_percent_encode(issuer, ENCODED));
        uri.push(':');
    } else if names.account.contains(':') {
        // An account parsed without issuer may contain a colon; an empty issuer keeps it in the account.
        uri.push(':');
    }
    uri.extend(utf8_percent_encode(names.account, ENCODED));
    uri.push_str("?secret=");
    secret.append_base32(&mut uri);
    if let Some(issuer) = names.issuer {
        uri.push_str("&issuer=");
        uri.extend(utf8_percent_encode(issuer, ENCODED));
    }
    let (algorithm, digits) = match token {
        Token::Totp(totp) => (totp.algorithm(), totp.digits()),
        Token::Hotp { hotp, .. } => (hotp.algorithm(), hotp.digits()),
    };
    let (name, number) = match token {
        Token::Totp(totp) => ("period", totp.period().seconds()),
        Token::Hotp { counter, .. } => ("counter", *counter),
    };
    append(&mut uri, format_args!("&algorithm={algorithm}"));
    append(&mut uri, format_args!("&digits={}", digits.value()));
    append(&mut uri, format_args!("&{name}={number}"));
    uri
}

#[expect(clippy::expect_used, reason = "writing to a string cannot fail")]
fn append(uri: &mut String, text: core::fmt::Arguments<'_>) {
    uri.write_fmt(text).expect("a string takes everything");
}
