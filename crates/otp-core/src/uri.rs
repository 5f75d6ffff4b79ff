//! `otpauth://` URIs: what an authenticator app reads from a QR code.
//!
//! The format is the *Key URI Format* of Google Authenticator; names and values are percent-encoded by RFC 3986. Building
//! is strict and canonical: the issuer stands in both places, every parameter is spelled out, a space is `%20` and never
//! `+`. [`OtpauthUri::parse`] is tolerant about what other services emit, and says in [`Parsed::warnings`] what it
//! tolerated.

mod build;
mod compatibility;
mod parse;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::hotp::Hotp;
use crate::parameters::ParameterError;
use crate::secret::{Secret, SecretError, SecretWarning};
use crate::totp::Totp;

pub use self::build::{build, check_issuer};
pub use self::compatibility::{CompatibilityWarning, compatibility};

/// The longest issuer or account, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The longest URI that is parsed, in bytes. Whatever is built is shorter.
pub const MAX_URI_BYTES: usize = 4096;

/// What a URI makes the app compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// Time-based codes.
    Totp(Totp),
    /// Counter-based codes.
    Hotp {
        /// The parameters.
        hotp: Hotp,
        /// The counter of the first code.
        counter: u64,
    },
}

/// An `otpauth://` URI, taken apart: a token, its secret, and the names that the app shows.
///
/// ```
/// use otp_core::{OtpauthUri, Secret, Totp};
///
/// let secret = Secret::from_bytes(b"12345678901234567890")?;
/// let uri = OtpauthUri::totp(Some("Big Co"), "alice@example.com", secret, Totp::default())?;
/// assert_eq!(
///     *uri.to_uri(),
///     "otpauth://totp/Big%20Co:alice%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
///      &issuer=Big%20Co&algorithm=SHA1&digits=6&period=30"
/// );
///
/// let parsed = OtpauthUri::parse(&uri.to_uri())?;
/// assert_eq!(parsed.uri.issuer(), Some("Big Co"));
/// assert!(parsed.warnings.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OtpauthUri {
    token: Token,
    issuer: Option<String>,
    account: String,
    secret: Secret,
}

impl OtpauthUri {
    /// A URI for any token. White space around the names is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`build`], so that [`OtpauthUri::to_uri`] cannot fail.
    pub fn new(token: Token, issuer: Option<&str>, account: &str, secret: Secret) -> Result<Self, UriError> {
        let names = build::Names::check(issuer, account)?;
        build::check_token(&token)?;
        Ok(Self {
            token,
            issuer: names.issuer.map(String::from),
            account: String::from(names.account),
            secret,
        })
    }

    /// A URI for time-based codes.
    ///
    /// # Errors
    ///
    /// As [`OtpauthUri::new`].
    pub fn totp(issuer: Option<&str>, account: &str, secret: Secret, totp: Totp) -> Result<Self, UriError> {
        Self::new(Token::Totp(totp), issuer, account, secret)
    }

    /// A URI for counter-based codes, the first at `counter`.
    ///
    /// # Errors
    ///
    /// As [`OtpauthUri::new`].
    pub fn hotp(
        issuer: Option<&str>,
        account: &str,
        secret: Secret,
        hotp: Hotp,
        counter: u64,
    ) -> Result<Self, UriError> {
        Self::new(Token::Hotp { hotp, counter }, issuer, account, secret)
    }

    /// Reads a URI, tolerantly: names of the scheme, the type and the parameters in any case, the colon of the label
    /// encoded or not, an issuer in either place or in both, unknown parameters ignored.
    ///
    /// Where label and parameter disagree about the issuer, the parameter wins. A parameter that is there but wrong is an
    /// error and never replaced by a default: codes would not match, and nobody would know why. For the same reason what
    /// asks for codes of another sort (`encoder=steam`) is refused. The secret is read by [`Secret::import_base32`].
    ///
    /// Names with a colon are read, although [`OtpauthUri::new`] and [`build`] refuse them.
    ///
    /// # Errors
    ///
    /// [`UriError`] says what is missing, doubled, or out of range. The secret must have the 80 bits of
    /// [`Strength::Verify`](crate::Strength::Verify).
    pub fn parse(text: &str) -> Result<Parsed, UriError> {
        parse::parse(text)
    }

    /// The URI in its canonical form.
    #[must_use]
    pub fn to_uri(&self) -> Zeroizing<String> {
        build::render(
            &self.token,
            &build::Names { issuer: self.issuer.as_deref(), account: &self.account },
            &self.secret,
        )
    }

    /// What the app computes.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Who issued the token, as the app shows it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whose account it is, as the app shows it.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The shared key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Gives up everything but the shared key.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.secret
    }
}

/// A URI, and what was tolerated to read it.
#[derive(Debug)]
pub struct Parsed {
    /// The URI.
    pub uri: OtpauthUri,
    /// What a person who imports it should know, in the order found.
    pub warnings: Vec<UriWarning>,
}

/// Something in a URI that was tolerated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriWarning {
    /// Label and parameter name different issuers; the parameter was taken.
    IssuerMismatch {
        /// What the label says.
        label: String,
        /// What the parameter says.
        parameter: String,
    },
    /// The issuer parameter has a bare `+`. It was kept as a plus sign (RFC 3986), but its author may have meant a space.
    PlusInIssuer,
    /// The issuer parameter has a bare `+`. It was read as a space, since the label has a space there.
    PlusAsSpace,
    /// The issuer has a colon. It was kept, but apps may take what is after it for the account.
    ColonInIssuer,
    /// The account has a colon. It was kept, but apps may take what is before it for the issuer.
    ColonInAccount,
    /// A parameter stands there twice, with the same value.
    Duplicate(&'static str),
    /// The secret is shorter than it should be, or not written as it should be.
    Secret(SecretWarning),
}

impl UriWarning {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IssuerMismatch { .. } => "issuer-mismatch",
            Self::PlusInIssuer => "issuer-plus",
            Self::PlusAsSpace => "issuer-plus-as-space",
            Self::ColonInIssuer => "issuer-colon",
            Self::ColonInAccount => "account-colon",
            Self::Duplicate(_) => "duplicate-parameter",
            Self::Secret(warning) => warning.code(),
        }
    }
}

impl fmt::Display for UriWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerMismatch { label, parameter } => write!(
                f,
                "The label names the issuer {label:?}, the issuer parameter {parameter:?}; the parameter was taken."
            ),
            Self::PlusInIssuer => f.write_str(
                "The issuer has a plus sign that may have been meant as a space; it was kept as it is.",
            ),
            Self::PlusAsSpace => {
                f.write_str("The issuer has a plus sign that was read as a space, as in the label.")
            }
            Self::ColonInIssuer => {
                f.write_str("The issuer has a colon; apps may take what is after it for the account.")
            }
            Self::ColonInAccount => {
                f.write_str("The account has a colon; apps may take what is before it for the issuer.")
            }
            Self::Duplicate(name) => {
                write!(f, "The parameter {name} stands there twice, with the same value.")
            }
            Self::Secret(warning) => warning.fmt(f),
        }
    }
}

/// One of the two names in a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Who the code is for.
    Issuer,
    /// Whose code it is.
    Account,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issuer => "issuer",
            Self::Account => "account",
        })
    }
}

/// A URI cannot be built, or cannot be read. The messages never repeat the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// The issuer has a colon, which separates issuer and account.
    #[error("the issuer contains a colon, which separates it from the account: remove or replace the colon")]
    ColonInIssuer,
    /// The account has a colon, which separates issuer and account.
    #[error("the account contains a colon, which separates the issuer from it: remove or replace the colon")]
    ColonInAccount,
    /// The issuer is empty.
    #[error("the issuer is empty: leave it out instead")]
    EmptyIssuer,
    /// The account is empty.
    #[error("the account is empty")]
    EmptyAccount,
    /// A name is longer than [`MAX_NAME_BYTES`].
    #[error("the {0} is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong(Name),
    /// A name has a control character, such as a line break.
    #[error("the {0} contains a control character")]
    ControlCharacter(Name),
    /// The token has a T0 other than 0, which the format cannot say.
    #[error("an otpauth URI cannot express a T0 other than 0")]
    T0,
    /// The text is longer than [`MAX_URI_BYTES`].
    #[error("the URI is longer than {MAX_URI_BYTES} bytes")]
    TooLong,
    /// The text does not start with `otpauth://`.
    #[error("the URI does not start with otpauth://")]
    Scheme,
    /// The type is neither `totp` nor `hotp`.
    #[error("the type of the URI is neither totp nor hotp")]
    Type,
    /// There is no `/` and label after the type.
    #[error("the URI has no label after its type")]
    NoLabel,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the URI has a percent-encoding that is not UTF-8 text")]
    Encoding,
    /// A known parameter stands there twice, with different values.
    #[error("the parameter {0} stands there twice, with different values")]
    Duplicate(&'static str),
    /// A parameter asks for codes that neither HOTP nor TOTP computes, such as `encoder=steam`: what it says, cut to 32
    /// characters.
    #[error("the parameter {0} asks for codes that are not HOTP or TOTP")]
    NotOtp(String),
    /// A parameter without which there is no token: `secret`, or `counter` for HOTP.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter that should be a number is not, or is beyond 64 bits. A sign is not part of a number.
    #[error("the parameter {0} is not a number in range")]
    Number(&'static str),
    /// The algorithm is unknown.
    #[error("the algorithm is not SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Digits or period are out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The secret cannot be read or is too weak.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl UriError {
    /// The name that is wrong, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<Name> {
        match self {
            Self::ColonInIssuer | Self::EmptyIssuer => Some(Name::Issuer),
            Self::ColonInAccount | Self::EmptyAccount => Some(Name::Account),
            Self::NameTooLong(name) | Self::ControlCharacter(name) => Some(*name),
            _ => None,
        }
    }
}
