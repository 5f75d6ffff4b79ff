//! A set of backup codes as it is stored: hashed, each spent at most once.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::Timestamp;

/// A set of backup codes (look-up secrets, NIST SP 800-63B-4, 3.1.2).
///
/// All codes of a set are hashed with one salt, so that an attempt costs one evaluation whatever
/// their number. The codes are random and at least 64 bits, so a shared salt gives nothing away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCodes {
    /// How they were hashed: algorithm, costs and salt, in the hasher's own format.
    pub scheme: String,
    /// The codes; their places never change.
    pub codes: Vec<HashedCode>,
    /// When they were given out.
    pub issued_at: Timestamp,
}

/// One code of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedCode {
    /// Its hash under the set's scheme.
    pub hash: CodeHash,
    /// When it was used; a spent code never matches again.
    pub spent_at: Option<Timestamp>,
}

/// The hash of one backup code.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash(pub Vec<u8>);

impl BackupCodes {
    /// Codes that are not spent.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.codes.iter().filter(|code| code.spent_at.is_none()).count()
    }

    /// The place of the code with that hash, spent or not. Every code is compared, in constant time.
    #[must_use]
    pub fn place(&self, hash: &CodeHash) -> Option<usize> {
        self.codes.iter().enumerate().fold(None, |found, (place, code)| {
            if bool::from(code.hash.0.ct_eq(&hash.0)) { Some(place) } else { found }
        })
    }

    /// Whether the code at that place is spent, or there is none.
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
