//! Secrets as text. Every buffer here is wiped, and allocated once, so that no reallocation leaves a copy.

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::{BASE32_NOPAD, DecodeKind, Encoding, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::{Secret, SecretError, SecretWarning};

/// The length of the longest secret in base32, without padding.
const MAX_BASE32: usize = (Secret::MAX_BYTES * 8).div_ceil(5);

pub(super) fn decode_base32(text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let Base32 { symbols, padding } = Base32::read(text)?;
    if padding > 0 && padding != right_padding(&symbols) {
        return Err(SecretError::Padding);
    }
    decode(&BASE32_NOPAD, &symbols)
}

/// Parses base32, tolerating spare bits and any number of `=` at the end. Also returns what it tolerated.
pub(super) fn import_base32(text: &str) -> Result<(Zeroizing<Vec<u8>>, Vec<SecretWarning>), SecretError> {
    let Base32 { mut symbols, padding } = Base32::read(text)?;
    let mut tolerated = Vec::new();
    if padding > 0 && padding != right_padding(&symbols) {
        tolerated.push(SecretWarning::Padding);
    }
    if clear_spare_bits(&mut symbols) {
        tolerated.push(SecretWarning::SpareBits);
    }
    Ok((decode(&BASE32_NOPAD, &symbols)?, tolerated))
}

/// Base32 without separators: the characters in upper case, and the number of `=` at the end.
struct Base32 {
    symbols: Zeroizing<Vec<u8>>,
    padding: usize,
}

impl Base32 {
    fn read(text: &str) -> Result<Self, SecretError> {
        let mut symbols = Zeroizing::new(Vec::with_capacity(MAX_BASE32));
        let mut padding = 0_usize;
        for (index, character) in text.chars().enumerate() {
            match character {
                ' ' | '\t' | '\r' | '\n' | '-' => {}
                '=' => padding += 1,
                _ if padding > 0 => return Err(SecretError::Padding),
                'A'..='Z' | 'a'..='z' | '2'..='7' => {
                    if symbols.len() == MAX_BASE32 {
                        return Err(SecretError::TooLong);
                    }
                    // The pattern guarantees ASCII, so the low byte is the character.
                    let [byte, ..] = u32::from(character).to_le_bytes();
                    symbols.push(byte.to_ascii_uppercase());
                }
                _ => {
                    return Err(SecretError::Character {
                        position: index + 1,
                        look_alike: matches!(character, '0' | '1' | '8' | '9'),
                    });
                }
            }
        }
        Ok(Self { symbols, padding })
    }
}

const fn right_padding(symbols: &[u8]) -> usize {
    (8 - symbols.len() % 8) % 8
}

/// Clears the spare bits of the last character. Returns whether any was set.
fn clear_spare_bits(symbols: &mut [u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let spare = symbols.len() * 5 % 8;
    let Some(last) = symbols.last_mut() else { return false };
    let Some(value) = ALPHABET.iter().position(|symbol| symbol == last) else { return false };
    let cleared = value >> spare << spare;
    *last = ALPHABET[cleared];
    cleared != value
}

pub(super) fn decode_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    if let Some(index) = text.chars().position(|c| !c.is_ascii_hexdigit()) {
        return Err(SecretError::Character { position: index + 1, look_alike: false });
    }
    if text.len() > 2 * Secret::MAX_BYTES {
        return Err(SecretError::TooLong);
    }
    decode(&HEXLOWER_PERMISSIVE, text.as_bytes())
}

impl Secret {
    /// The number of characters that [`Secret::append_base32`] appends.
    pub(crate) fn base32_length(&self) -> usize {
        BASE32_NOPAD.encode_len(self.expose().len())
    }

    /// Appends the canonical base32. Reserve [`Secret::base32_length`] bytes first, so that growing leaves no
    /// copy.
    pub(crate) fn append_base32(&self, text: &mut String) {
        BASE32_NOPAD.encode_append(self.expose(), text);
    }
}

fn decode(encoding: &Encoding, symbols: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let length = encoding.decode_len(symbols.len()).map_err(|_| SecretError::Length)?;
    let mut bytes = Zeroizing::new(alloc::vec![0; length]);
    match encoding.decode_mut(symbols, &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(partial) => Err(match partial.error.kind {
            DecodeKind::Trailing => SecretError::TrailingBits,
            DecodeKind::Padding => SecretError::Padding,
            DecodeKind::Symbol | DecodeKind::Length => SecretError::Length,
        }),
    }
}
