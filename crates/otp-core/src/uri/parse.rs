//! From the text to the parts.

use alloc::string::String;
use alloc::vec::Vec;

use percent_encoding::percent_decode_str;
use zeroize::{Zeroize, Zeroizing};

use super::{MAX_URI_BYTES, OtpauthUri, Parsed, Token, UriError, UriWarning};
use crate::algorithm::Algorithm;
use crate::hotp::Hotp;
use crate::parameters::{Digits, Period};
use crate::secret::{Secret, Strength};
use crate::totp::Totp;

pub(super) fn parse(text: &str) -> Result<Parsed, UriError> {
    if text.len() > MAX_URI_BYTES {
        return Err(UriError::TooLong);
    }
    let parts = Parts::split(text.trim())?;
    let parameters = Parameters::read(parts.query)?;
    let mut warnings = Vec::new();

    let (issuer, account) = names(parts.label, parameters.issuer, &mut warnings)?;
    let secret = read_secret(parameters.secret, &mut warnings)?;
    let token = token(parts.counter_based, &parameters)?;
    let uri = OtpauthUri::new(token, issuer.as_deref(), &account, secret)?;
    Ok(Parsed { uri, warnings })
}

/// `otpauth://` type `/` label `?` query, still encoded.
struct Parts<'a> {
    counter_based: bool,
    label: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, UriError> {
        const SCHEME: &str = "otpauth://";
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UriError::Scheme);
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, label) = match path.split_once('/') {
            Some((kind, label)) => (kind, Some(label)),
            None => (path, None),
        };
        let counter_based = if kind.eq_ignore_ascii_case("totp") {
            false
        } else if kind.eq_ignore_ascii_case("hotp") {
            true
        } else {
            return Err(UriError::Type);
        };
        Ok(Self { counter_based, label: label.ok_or(UriError::NoLabel)?, query })
    }
}

/// The values of the known parameters, still encoded; the others are ignored.
#[derive(Default)]
struct Parameters<'a> {
    secret: Option<&'a str>,
    issuer: Option<&'a str>,
    algorithm: Option<&'a str>,
    digits: Option<&'a str>,
    period: Option<&'a str>,
    counter: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    /// A parameter that stands there twice is refused: apps differ in which one they take, so that whoever added the
    /// second could show one thing and make the app compute another.
    fn read(query: &'a str) -> Result<Self, UriError> {
        let mut parameters = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?.to_ascii_lowercase();
            let (name, slot) = match name.as_str() {
                "secret" => ("secret", &mut parameters.secret),
                "issuer" => ("issuer", &mut parameters.issuer),
                "algorithm" => ("algorithm", &mut parameters.algorithm),
                "digits" => ("digits", &mut parameters.digits),
                "period" => ("period", &mut parameters.period),
                "counter" => ("counter", &mut parameters.counter),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(UriError::Duplicate(name));
            }
        }
        Ok(parameters)
    }
}

/// Issuer and account, from the label and the issuer parameter.
fn names(
    label: &str,
    parameter: Option<&str>,
    warnings: &mut Vec<UriWarning>,
) -> Result<(Option<String>, String), UriError> {
    let label = decode(label)?;
    let (prefix, account) = match label.split_once(':') {
        Some((prefix, account)) => (Some(prefix.trim()), account.trim()),
        None => (None, label.trim()),
    };
    if parameter.is_some_and(|issuer| issuer.contains('+')) {
        warnings.push(UriWarning::PlusInIssuer);
    }
    let parameter = parameter.map(decode).transpose()?;

    let from_label = prefix.filter(|issuer| !issuer.is_empty());
    let from_parameter = parameter.as_deref().map(str::trim).filter(|issuer| !issuer.is_empty());
    if let (Some(in_label), Some(in_parameter)) = (from_label, from_parameter)
        && in_label != in_parameter
    {
        warnings.push(UriWarning::IssuerMismatch {
            label: String::from(in_label),
            parameter: String::from(in_parameter),
        });
    }
    let issuer = from_parameter.or(from_label).map(String::from);
    Ok((issuer, String::from(account)))
}

fn read_secret(value: Option<&str>, warnings: &mut Vec<UriWarning>) -> Result<Secret, UriError> {
    let text = Zeroizing::new(decode(value.ok_or(UriError::Missing("secret"))?)?);
    let secret = Secret::from_base32(&text)?;
    if let Some(warning) = secret.check(Strength::Verify)? {
        warnings.push(UriWarning::Secret(warning));
    }
    Ok(secret)
}

fn token(counter_based: bool, parameters: &Parameters<'_>) -> Result<Token, UriError> {
    let algorithm = match parameters.algorithm {
        Some(name) => decode(name)?.parse().map_err(|_| UriError::Algorithm)?,
        None => Algorithm::default(),
    };
    let digits = match number("digits", parameters.digits)? {
        Some(count) => Digits::new(u8::try_from(count).unwrap_or(u8::MAX))?,
        None => Digits::default(),
    };
    if counter_based {
        let counter = number("counter", parameters.counter)?.ok_or(UriError::Missing("counter"))?;
        let hotp = Hotp::new(algorithm, digits);
        return Ok(Token::Hotp { hotp, counter });
    }
    let period = match number("period", parameters.period)? {
        Some(seconds) => Period::new(seconds)?,
        None => Period::default(),
    };
    Ok(Token::Totp(Totp::new(algorithm, digits, period)))
}

/// ASCII digits only: the parser of the standard library would take `+6`.
fn number(name: &'static str, value: Option<&str>) -> Result<Option<u64>, UriError> {
    let Some(value) = value else {
        return Ok(None);
    };
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UriError::Number(name));
    }
    value.parse().map(Some).map_err(|_| UriError::Number(name))
}

/// Percent-decodes to UTF-8 text. A `+` stays a plus sign: these are URIs, not forms.
fn decode(text: &str) -> Result<String, UriError> {
    let whole = text.split('%').skip(1).all(|rest| {
        rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !whole {
        return Err(UriError::Encoding);
    }
    // Decoding only shrinks, so that with this capacity no half-decoded secret is left behind.
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend(percent_decode_str(text));
    String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        UriError::Encoding
    })
}
