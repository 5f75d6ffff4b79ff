//! The shared key.

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
/// It wipes its memory on drop, prints only its name, cannot be cloned or serialised, and is compared in constant time by
/// [`Secret::matches`]. Whether it is long enough is a question of policy: [`Secret::check`].
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
    /// The least that a new secret has: 128 bits (RFC 4226, section 4, R6).
    pub const MIN_BYTES: usize = 16;
    /// What RFC 4226 recommends and SHA-1 uses: 160 bits.
    pub const DEFAULT_BYTES: usize = 20;
    /// The most that any secret has: the block of SHA-512, above which HMAC hashes its key first (RFC 2104, section 3).
    pub const MAX_BYTES: usize = 128;

    /// Draws a new secret, as long as the tag of the algorithm (RFC 6238, section 5.1; [`Secret::length_for`]).
    ///
    /// # Errors
    ///
    /// The error of the generator.
    ///
    /// # Panics
    ///
    /// If the secret came out with another length, which would be a defect of this crate: no weaker secret leaves here.
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

    /// How many bytes a generated secret has: 20 for SHA-1, 32 for SHA-256, 64 for SHA-512.
    #[must_use]
    pub const fn length_for(algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// Copies 1 to 128 raw bytes. Wiping the original is the caller's part.
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

    /// Reads base32 (RFC 4648, section 6) as people type it: in either case, grouped by spaces or hyphens, with the right
    /// padding or none.
    ///
    /// Nothing is guessed: `0`, `1`, `8` and `9` are not taken for letters that look like them, and bits that the last
    /// character has too many must be zero, because a mistyped last character looks just so.
    ///
    /// # Errors
    ///
    /// [`SecretError::Character`] with the position of the first character outside the alphabet, and else
    /// [`SecretError::Empty`], [`TooLong`](SecretError::TooLong), [`Length`](SecretError::Length),
    /// [`Padding`](SecretError::Padding) or [`TrailingBits`](SecretError::TrailingBits).
    pub fn from_base32(text: &str) -> Result<Self, SecretError> {
        text::decode_base32(text).and_then(Self::from_decoded)
    }

    /// Reads base32 that another system wrote and users already carry: as [`Secret::from_base32`], but bits that the last
    /// character has too many are dropped, and any number of `=` may end it. Gives what was tolerated, too.
    ///
    /// Encoders that fill the last character with anything, and authenticator apps that ignore it, are common: such a token
    /// gives right codes, and would be lost by a refusal.
    ///
    /// # Errors
    ///
    /// As [`Secret::from_base32`], without the trailing bits; [`Padding`](SecretError::Padding) for a `=` that is not at
    /// the end.
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

    /// Reads hexadecimal, two characters for each byte, in either case and without separators.
    ///
    /// Hexadecimal is never recognised by its looks, since much of it is base32 too: a caller says what it has.
    ///
    /// # Errors
    ///
    /// As [`Secret::from_base32`], without the padding and the trailing bits.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        text::decode_hex(text).and_then(Self::from_decoded)
    }

    /// The canonical base32: upper case, no padding, no spaces.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.base32_length()));
        self.append_base32(&mut text);
        text
    }

    /// The raw key, for the vault that seals it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same key, in time that depends on the lengths only.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }

    /// Takes over the decoded bytes without leaving a copy behind.
    fn from_decoded(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        // The decoders allocate exactly what they fill, so making a box of the vector does not move it.
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

/// Text or bytes are not an acceptable secret. The messages never repeat any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Nothing is there.
    #[error("the secret is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("the secret is longer than {max} bytes", max = Secret::MAX_BYTES)]
    TooLong,
    /// A character outside the alphabet.
    #[error("character {position} of the secret is not in the alphabet{hint}", hint = if *.look_alike {
        " (base32 has no 0, 1, 8 or 9)"
    } else {
        ""
    })]
    Character {
        /// Counted in characters from 1, spaces included.
        position: usize,
        /// Whether it is one of the digits that base32 leaves out because they look like letters.
        look_alike: bool,
    },
    /// No whole number of bytes has an encoding of this length: characters are missing or too many.
    #[error("the secret has an impossible length: a character is missing or too many")]
    Length,
    /// The `=` at the end are not as many as base32 asks for, or not at the end.
    #[error("the padding of the secret is wrong: leave out every =")]
    Padding,
    /// The last character has bits set that belong to no byte.
    #[error("the last character of the secret is wrong: it has bits that belong to no byte")]
    TrailingBits,
    /// Too short for the policy that it was checked against.
    #[error("the secret has {bits} bits, at least {minimum} are needed")]
    TooWeak {
        /// What it has.
        bits: usize,
        /// What the policy asks for.
        minimum: usize,
    },
}
