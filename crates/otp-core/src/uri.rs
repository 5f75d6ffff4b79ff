//! `otpauth://` URIs, which authenticator apps read from QR codes.
//!
//! The format is the *Key URI Format* of Google Authenticator; names and values are percent-encoded
//! (RFC 3986). Building is strict and canonical: the issuer appears in label and parameter, every parameter
//! is explicit, and a space is `%20`, never `+`. [`OtpauthUri::parse`] tolerates deviations of other services
//! and lists them in [`Parsed::warnings`].

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

/// The maximum length of issuer and account, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The maximum length of a URI to parse, in bytes. A URI built here is always shorter.
pub const MAX_URI_BYTES: usize = 4096;

/// The parameters of the codes that the app computes.
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

/// A parsed `otpauth://` URI: a token, its secret, and the names that the app shows.
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
    /// Creates a URI for any token. White space around the names is dropped.
    ///
    /// # Errors
    ///
    /// As [`build`], so that [`OtpauthUri::to_uri`] cannot fail.
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

    /// Creates a URI for time-based codes.
    ///
    /// # Errors
    ///
    /// As [`OtpauthUri::new`].
    pub fn totp(issuer: Option<&str>, account: &str, secret: Secret, totp: Totp) -> Result<Self, UriError> {
        Self::new(Token::Totp(totp), issuer, account, secret)
    }

    /// Creates a URI for counter-based codes, the first at `counter`.
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

    /// Parses a URI tolerantly: names of the scheme, the type and the parameters in any case, the colon of
    /// the label encoded or not, an issuer in label, parameter or both. Unknown parameters are ignored.
    ///
    /// If label and parameter name different issuers, the parameter wins. An invalid parameter is an error
    /// and never replaced by a default, with which codes would fail without an explanation. For the same
    /// reason, parameters that request codes of another kind (`encoder=steam`) are rejected.
    /// [`Secret::import_base32`] parses the secret.
    ///
    /// Names with a colon are accepted, although [`OtpauthUri::new`] and [`build`] reject them.
    ///
    /// # Errors
    ///
    /// [`UriError`] with what is missing, duplicated, or out of range. The secret must have the 80 bits of
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

    /// The parameters of the codes.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// The issuer, as the app shows it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The account name, as the app shows it.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The shared key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Consumes the URI and returns the shared key.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.secret
    }
}

/// A parsed URI and its warnings.
#[derive(Debug)]
pub struct Parsed {
    /// The URI.
    pub uri: OtpauthUri,
    /// Deviations that a person who imports the URI should know, in the order found.
    pub warnings: Vec<UriWarning>,
}

/// A tolerated deviation in a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriWarning {
    /// Label and parameter name different issuers; the parameter was used.
    IssuerMismatch {
        /// The issuer in the label.
        label: String,
        /// The issuer in the parameter.
        parameter: String,
    },
    /// The issuer parameter has a bare `+`. It was kept as a plus sign (RFC 3986), but its author may have
    /// meant a space.
    PlusInIssuer,
    /// The issuer parameter has a bare `+`. It was read as a space, since the label has a space there.
    PlusAsSpace,
    /// The issuer has a colon. It was kept, but apps may take what is after it for the account.
    ColonInIssuer,
    /// The account has a colon. It was kept, but apps may take what is before it for the issuer.
    ColonInAccount,
    /// A parameter appears twice with the same value.
    Duplicate(&'static str),
    /// The secret is shorter than recommended, or not canonically encoded.
    Secret(SecretWarning),
}

impl UriWarning {
    /// A stable identifier for programs.
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
                write!(f, "The parameter {name} appears twice with the same value.")
            }
            Self::Secret(warning) => warning.fmt(f),
        }
    }
}

/// A name in a URI: issuer or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The service that issued the token.
    Issuer,
    /// The user's account at that service.
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

/// An error in building or parsing a URI. The messages never contain the secret.
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
    /// A name exceeds [`MAX_NAME_BYTES`].
    #[error("the {0} is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong(Name),
    /// A name contains a control character, such as a line break.
    #[error("the {0} contains a control character")]
    ControlCharacter(Name),
    /// The token has a T0 other than 0, which the format cannot express.
    #[error("an otpauth URI cannot express a T0 other than 0")]
    T0,
    /// The text exceeds [`MAX_URI_BYTES`].
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
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8.
    #[error("the URI has a percent-encoding that is not UTF-8 text")]
    Encoding,
    /// A known parameter appears twice with different values.
    #[error("the parameter {0} appears twice with different values")]
    Duplicate(&'static str),
    /// A parameter requests codes that are neither HOTP nor TOTP, such as `encoder=steam`. Contains the
    /// parameter, cut to 32 characters.
    #[error("the parameter {0} asks for codes that are not HOTP or TOTP")]
    NotOtp(String),
    /// A required parameter is missing: `secret`, or `counter` for HOTP.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A numeric parameter is not a number, has a sign, or exceeds 64 bits.
    #[error("the parameter {0} is not a number in range")]
    Number(&'static str),
    /// The algorithm is unknown.
    #[error("the algorithm is not SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Digits or period are out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The secret is invalid or too weak.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl UriError {
    /// The name that is invalid, if the error concerns one.
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
