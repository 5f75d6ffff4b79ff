//! Parsing a URI.

use alloc::string::String;
use alloc::vec::Vec;

use percent_encoding::percent_decode_str;
use zeroize::{Zeroize, Zeroizing};

use super::build::check_text;
use super::{MAX_URI_BYTES, Name, OtpauthUri, Parsed, Token, UriError, UriWarning};
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
    let mut warnings = Vec::new();
    let parameters = Parameters::read(parts.query, &mut warnings)?;

    let (issuer, account) = names(parts.label, parameters.issuer, &mut warnings)?;
    let secret = read_secret(parameters.secret, &mut warnings)?;
    let token = token(parts.counter_based, &parameters)?;
    Ok(Parsed { uri: OtpauthUri { token, issuer, account, secret }, warnings })
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

/// The values of the known parameters, still encoded. Other parameters are ignored.
#[derive(Default)]
struct Parameters<'a> {
    secret: Option<&'a str>,
    issuer: Option<&'a str>,
    algorithm: Option<&'a str>,
    digits: Option<&'a str>,
    period: Option<&'a str>,
    counter: Option<&'a str>,
    encoder: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    /// Rejects a parameter that appears twice with different values: apps differ in which one they use, so an
    /// attacker who adds a second could show one thing and make the app compute another.
    fn read(query: &'a str, warnings: &mut Vec<UriWarning>) -> Result<Self, UriError> {
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
                "encoder" => ("encoder", &mut parameters.encoder),
                _ if TWO_STEP.contains(&name.as_str()) => return Err(UriError::NotOtp(name)),
                _ => continue,
            };
            match slot {
                None => *slot = Some(value),
                Some(first) if same(first, value)? => warnings.push(UriWarning::Duplicate(name)),
                Some(_) => return Err(UriError::Duplicate(name)),
            }
        }
        match parameters.encoder.map(decode).transpose()? {
            Some(encoder) if !encoder.is_empty() => Err(UriError::NotOtp(shortened("encoder=", &encoder))),
            _ => Ok(parameters),
        }
    }
}

/// Parameters of privacyIDEA for tokens where the app generates half of the key: the secret in the URI is not
/// the key.
const TWO_STEP: [&str; 3] = ["2step_salt", "2step_output", "2step_difficulty"];

/// Whether two values decode to the same text. One of them may be a secret.
fn same(one: &str, other: &str) -> Result<bool, UriError> {
    Ok(Zeroizing::new(decode(one)?) == Zeroizing::new(decode(other)?))
}

/// The part of a name that an error message quotes.
fn shortened(prefix: &str, name: &str) -> String {
    prefix.chars().chain(name.chars().take(32).filter(|c| !c.is_control())).collect()
}

/// Determines issuer and account from the label and the issuer parameter.
///
/// If the label has several colons, only the issuer parameter can tell which one separates the names. Without
/// it, the first one does.
fn names(
    label: &str,
    parameter: Option<&str>,
    warnings: &mut Vec<UriWarning>,
) -> Result<(Option<String>, String), UriError> {
    let label = decode(label)?;
    let parameter = parameter.map(|text| issuer_parameter(text, &label, warnings)).transpose()?;
    let parameter = parameter.as_deref().map(str::trim).filter(|issuer| !issuer.is_empty());

    let (prefix, account) = match parameter.and_then(|issuer| Some((issuer, account_after(&label, issuer)?)))
    {
        Some((issuer, account)) => (Some(issuer), account),
        None => match label.split_once(':') {
            Some((prefix, account)) => (Some(prefix.trim()).filter(|prefix| !prefix.is_empty()), account),
            None => (None, label.as_str()),
        },
    };
    let account = account.trim();
    if let (Some(in_label), Some(in_parameter)) = (prefix, parameter)
        && in_label != in_parameter
    {
        warnings.push(UriWarning::IssuerMismatch {
            label: String::from(in_label),
            parameter: String::from(in_parameter),
        });
    }
    let issuer = parameter.or(prefix);
    if account.is_empty() {
        return Err(UriError::EmptyAccount);
    }
    if issuer.is_some_and(|issuer| issuer.contains(':')) {
        warnings.push(UriWarning::ColonInIssuer);
    }
    if account.contains(':') {
        warnings.push(UriWarning::ColonInAccount);
    }
    issuer.iter().try_for_each(|issuer| check_text(issuer, Name::Issuer))?;
    check_text(account, Name::Account)?;
    Ok((issuer.map(String::from), String::from(account)))
}

/// Decodes the issuer parameter. A `+` stays a plus sign (RFC 3986), unless the label shows that the URI's
/// author encodes parameters like a form, where it is a space.
fn issuer_parameter(text: &str, label: &str, warnings: &mut Vec<UriWarning>) -> Result<String, UriError> {
    if text.contains('+') {
        let spaced = decode(&text.replace('+', "%20"))?;
        if account_after(label, spaced.trim()).is_some() {
            warnings.push(UriWarning::PlusAsSpace);
            return Ok(spaced);
        }
        warnings.push(UriWarning::PlusInIssuer);
    }
    decode(text)
}

/// The text after `issuer` and a colon in the label.
fn account_after<'a>(label: &'a str, issuer: &str) -> Option<&'a str> {
    label.trim_start().strip_prefix(issuer)?.trim_start().strip_prefix(':')
}

fn read_secret(value: Option<&str>, warnings: &mut Vec<UriWarning>) -> Result<Secret, UriError> {
    let text = Zeroizing::new(decode(value.ok_or(UriError::Missing("secret"))?)?);
    let (secret, tolerated) = Secret::import_base32(&text)?;
    warnings.extend(tolerated.into_iter().chain(secret.check(Strength::Verify)?).map(UriWarning::Secret));
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

/// Parses ASCII digits only; the parser of the standard library accepts `+6`.
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
    // Decoding only shrinks the text, so this capacity avoids a copy of a half-decoded secret.
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend(percent_decode_str(text));
    String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        UriError::Encoding
    })
}
