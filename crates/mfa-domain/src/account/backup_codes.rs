//! A stored set of backup codes: hashed, each usable once.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::Timestamp;

/// A set of backup codes (look-up secrets, NIST SP 800-63B-4, 3.1.2).
///
/// All codes of a set are hashed with one salt, so an attempt costs one hash, whatever the size of the set. The codes
/// are random and have at least 64 bits, so a shared salt reveals nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCodes {
    /// Algorithm, costs and salt, in the hasher's own format.
    pub scheme: String,
    /// The codes; their indexes never change.
    pub codes: Vec<HashedCode>,
    /// When the set was issued.
    pub issued_at: Timestamp,
}

/// One code of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedCode {
    /// Its hash under the scheme of the set.
    pub hash: CodeHash,
    /// When it was spent; a spent code is never accepted again.
    pub spent_at: Option<Timestamp>,
}

/// The hash of one backup code.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash(pub Vec<u8>);

impl BackupCodes {
    /// The number of unspent codes.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.codes.iter().filter(|code| code.spent_at.is_none()).count()
    }

    /// The index of the code with this hash, spent or not. Compares every code, in constant time.
    #[must_use]
    pub fn place(&self, hash: &CodeHash) -> Option<usize> {
        self.codes.iter().enumerate().fold(None, |found, (place, code)| {
            if bool::from(code.hash.0.ct_eq(&hash.0)) { Some(place) } else { found }
        })
    }

    /// Whether the code at this index is spent or does not exist.
    #[must_use]
    pub fn is_spent(&self, place: usize) -> bool {
        self.codes.get(place).is_none_or(|code| code.spent_at.is_some())
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeHash(..)")
    }
}
