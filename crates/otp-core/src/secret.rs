//! Shared secrets.

mod strength;
mod text;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::algorithm::Algorithm;

pub use self::strength::{SecretWarning, Strength};

/// The key that token and server share (RFC 4226, section 4, requirement R6): 1 to 128 bytes.
///
/// It wipes its memory on drop, prints only its name, cannot be cloned or serialised, and is compared in
/// constant time by [`Secret::matches`]. Its required length depends on policy: [`Secret::check`].
///
/// ```
/// use otp_core::{Secret, Strength};
///
/// let secret = Secret::from_base32("gezd gnbv gy3t qojq gezd gnbv gy3t qojq")?;
/// assert_eq!(secret.expose(), b"12345678901234567890");
/// assert_eq!(*secret.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
/// assert_eq!(secret.check(Strength::Enrol), Ok(None));
/// assert_eq!(format!("{secret:?}"), "Secret");
/// # Ok::<(), otp_core::SecretError>(())
/// ```
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// The minimum length of a new secret: 128 bits (RFC 4226, section 4, R6).
    pub const MIN_BYTES: usize = 16;
    /// The length that RFC 4226 recommends, and the default for SHA-1: 160 bits.
    pub const DEFAULT_BYTES: usize = 20;
    /// The maximum length: the block size of SHA-512. HMAC hashes longer keys first (RFC 2104, section 3).
    pub const MAX_BYTES: usize = 128;

    /// Generates a secret as long as the tag of the algorithm (RFC 6238, section 5.1;
    /// [`Secret::length_for`]).
    ///
    /// # Errors
    ///
    /// The error of the generator.
    ///
    /// # Panics
    ///
    /// If the secret has another length, which would be a defect of this crate. A weaker secret is never
    /// returned.
    pub fn generate<R: TryCryptoRng + ?Sized>(rng: &mut R, algorithm: Algorithm) -> Result<Self, R::Error> {
        let mut key = Zeroizing::new(alloc::vec![0; Self::length_for(algorithm)].into_boxed_slice());
        rng.try_fill_bytes(&mut key)?;
        let secret = Self(key);
        assert!(
            secret.expose().len() == Self::length_for(algorithm)
                && secret.expose().len() >= Self::DEFAULT_BYTES,
            "a generated secret has the length of the tag"
        );
        Ok(secret)
    }

    /// The length of a generated secret in bytes: 20 for SHA-1, 32 for SHA-256, 64 for SHA-512.
    #[must_use]
    pub const fn length_for(algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// Copies 1 to 128 raw bytes. The caller wipes the original.
    ///
    /// # Errors
    ///
    /// [`SecretError::Empty`] and [`SecretError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        match bytes.len() {
            0 => Err(SecretError::Empty),
            1..=Self::MAX_BYTES => Ok(Self(Zeroizing::new(Box::from(bytes)))),
            _ => Err(SecretError::TooLong),
        }
    }

    /// Parses base32 (RFC 4648, section 6) as people type it: in either case, grouped by spaces or hyphens,
    /// with correct padding or none.
    ///
    /// Nothing is guessed: `0`, `1`, `8` and `9` are not read as letters that look like them, and spare bits
    /// of the last character must be zero, because a mistyped last character often sets them.
    ///
    /// # Errors
    ///
    /// [`SecretError::Character`] with the position of the first character outside the alphabet; otherwise
    /// [`SecretError::Empty`], [`TooLong`](SecretError::TooLong), [`Length`](SecretError::Length),
    /// [`Padding`](SecretError::Padding) or [`TrailingBits`](SecretError::TrailingBits).
    pub fn from_base32(text: &str) -> Result<Self, SecretError> {
        text::decode_base32(text).and_then(Self::from_decoded)
    }

    /// Parses base32 from another system whose users have their tokens already. Like [`Secret::from_base32`],
    /// but drops spare bits of the last character and accepts any number of `=` at the end. Also returns what
    /// it tolerated.
    ///
    /// Many encoders fill the last character arbitrarily, and authenticator apps ignore that. Such a token
    /// gives correct codes, so rejecting it would lose it.
    ///
    /// # Errors
    ///
    /// As [`Secret::from_base32`], without the trailing bits; [`Padding`](SecretError::Padding) for a `=`
    /// that is not at the end.
    ///
    /// ```
    /// use otp_core::{Secret, SecretError, SecretWarning};
    ///
    /// let text = "J3WWIV3PTGJPQV5QAICM";
    /// assert_eq!(Secret::from_base32(text).map(drop), Err(SecretError::TrailingBits));
    /// let (secret, tolerated) = Secret::import_base32(text)?;
    /// assert_eq!(*secret.to_base32(), "J3WWIV3PTGJPQV5QAICA");
    /// assert_eq!(tolerated, [SecretWarning::SpareBits]);
    /// # Ok::<(), SecretError>(())
    /// ```
    pub fn import_base32(text: &str) -> Result<(Self, Vec<SecretWarning>), SecretError> {
        let (bytes, tolerated) = text::import_base32(text)?;
        Ok((Self::from_decoded(bytes)?, tolerated))
    }

    /// Parses hexadecimal: two characters per byte, in either case, without separators.
    ///
    /// Hexadecimal is never detected, since much of it is also valid base32: the caller states the encoding.
    ///
    /// # Errors
    ///
    /// As [`Secret::from_base32`], without the padding and the trailing bits.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        text::decode_hex(text).and_then(Self::from_decoded)
    }

    /// Encodes in canonical base32: upper case, no padding, no spaces.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.base32_length()));
        self.append_base32(&mut text);
        text
    }

    /// The raw key, to seal it in a vault.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same key. The time depends only on the lengths.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }

    /// Takes ownership of the decoded bytes without leaving a copy.
    fn from_decoded(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        // The decoders allocate exactly what they fill, so conversion to a boxed slice does not move the
        // bytes.
        let bytes = core::mem::take(&mut *bytes).into_boxed_slice();
        match bytes.len() {
            0 => Err(SecretError::Empty),
            1..=Self::MAX_BYTES => Ok(Self(Zeroizing::new(bytes))),
            _ => {
                drop(Zeroizing::new(bytes));
                Err(SecretError::TooLong)
            }
        }
    }
}

/// Prints the name only.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl ZeroizeOnDrop for Secret {}

/// A text or bytes that are not an acceptable secret. The messages never contain any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret is empty.
    #[error("the secret is empty")]
    Empty,
    /// The secret has more than 128 bytes.
    #[error("the secret is longer than {max} bytes", max = Secret::MAX_BYTES)]
    TooLong,
    /// The text has a character outside the alphabet.
    #[error("character {position} of the secret is not in the alphabet{hint}", hint = if *.look_alike {
        " (base32 has no 0, 1, 8 or 9)"
    } else {
        ""
    })]
    Character {
        /// The position of that character, from 1, spaces included.
        position: usize,
        /// Whether it is a digit that base32 leaves out because it looks like a letter.
        look_alike: bool,
    },
    /// No number of bytes has an encoding of this length: the text has too few or too many characters.
    #[error("the secret has an impossible length: it has too few or too many characters")]
    Length,
    /// The number of `=` at the end is wrong, or a `=` is elsewhere.
    #[error("the padding of the secret is wrong: leave out every =")]
    Padding,
    /// The last character has spare bits set, which belong to no byte.
    #[error("the last character of the secret is wrong: it has bits that belong to no byte")]
    TrailingBits,
    /// The secret is too short for the policy.
    #[error("the secret has {bits} bits, at least {minimum} are needed")]
    TooWeak {
        /// The length of the secret, in bits.
        bits: usize,
        /// The minimum of the policy, in bits.
        minimum: usize,
    },
}
