//! The text form of the parameters with which a set of codes was hashed.

use std::fmt;

use argon2::Params;
use data_encoding::BASE64_NOPAD;
use thiserror::Error;

use super::settings::{InvalidSettings, check_costs};
use super::{HASH_LENGTH, HasherFailure};

/// Algorithm, costs and salt of a set of codes: `argon2id$v=19$m=19456,t=2,p=1$` and the salt in base64
/// without padding, like the PHC string format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) lanes: u32,
    pub(super) salt: [u8; Self::SALT_LENGTH],
}

/// The text is not a scheme of this hasher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidScheme {
    /// It has another form.
    #[error("not a scheme of the form argon2id$v=19$m=..,t=..,p=..$salt")]
    Malformed,
    /// Its costs are out of range, so this hasher did not write it.
    #[error("the scheme's {0}")]
    OutOfRange(InvalidSettings),
}

impl Scheme {
    /// The length that RFC 9106, 3.1, recommends.
    pub(super) const SALT_LENGTH: usize = 16;

    /// Accepts exactly what `Display` prints, with costs in the range of the settings.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidScheme> {
        let scheme = Self::read(text).ok_or(InvalidScheme::Malformed)?;
        // Excludes leading zeros, signs and all other spellings of a number or of base64.
        if scheme.to_string() != text {
            return Err(InvalidScheme::Malformed);
        }
        check_costs(scheme.memory_kib, scheme.iterations, scheme.lanes).map_err(InvalidScheme::OutOfRange)?;
        Ok(scheme)
    }

    pub(super) fn params(&self) -> Result<Params, HasherFailure> {
        Params::new(self.memory_kib, self.iterations, self.lanes, Some(HASH_LENGTH))
            .map_err(|_| HasherFailure::Refused)
    }

    fn read(text: &str) -> Option<Self> {
        let (costs, salt) = text.strip_prefix("argon2id$v=19$m=")?.split_once('$')?;
        let (memory_kib, costs) = costs.split_once(",t=")?;
        let (iterations, lanes) = costs.split_once(",p=")?;
        Some(Self {
            memory_kib: memory_kib.parse().ok()?,
            iterations: iterations.parse().ok()?,
            lanes: lanes.parse().ok()?,
            salt: BASE64_NOPAD.decode(salt.as_bytes()).ok()?.try_into().ok()?,
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, iterations, lanes, salt } = self;
        let salt = BASE64_NOPAD.encode(salt);
        write!(f, "argon2id$v=19$m={memory_kib},t={iterations},p={lanes}${salt}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw";

    #[test]
    fn only_the_one_way_to_write_a_scheme_is_read() {
        let salt = core::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(Scheme::parse(GOOD), Ok(Scheme { memory_kib: 19_456, iterations: 2, lanes: 1, salt }));
        for (part, other) in [
            ("argon2id", "argon2i"),
            ("argon2id", "$argon2id"),
            ("argon2id", ""),
            ("v=19", "v=16"),
            ("$v=19", ""),
            ("m=19456", "m=019456"),
            ("m=19456", "m=+19456"),
            ("m=19456", "m=-1"),
            ("m=19456", "m="),
            ("m=19456", "m=1e4"),
            ("m=19456", "m=99999999999999999999"),
            ("m=19456,t=2", "t=2,m=19456"),
            (",p=1", ""),
            (",p=1", ",p=1,keyid=AA"),
            ("$AAEC", "$$AAEC"),
            ("ODw", "OD"),
            ("ODw", "ODx"),
            ("ODw", "ODw=="),
            ("ODw", "ODwA"),
            ("ODw", "ODw$"),
            ("ODw", "ODw\n"),
            ("ODw", "OD\u{0}"),
        ] {
            let text = GOOD.replace(part, other);
            assert_eq!(Scheme::parse(&text), Err(InvalidScheme::Malformed), "{text}");
        }
    }

    /// An attacker who can write to the store must not be able to make us allocate a terabyte or run for
    /// hours.
    #[test]
    fn costs_out_of_range_are_refused() {
        for (part, other) in [
            ("m=19456", "m=4294967295"),
            ("m=19456", "m=262145"),
            ("m=19456", "m=7"),
            ("m=19456", "m=0"),
            ("t=2", "t=4294967295"),
            ("t=2", "t=17"),
            ("t=2", "t=0"),
            ("p=1", "p=0"),
            ("p=1", "p=17"),
            ("p=1", "p=4294967295"),
        ] {
            let text = GOOD.replace(part, other);
            assert!(matches!(Scheme::parse(&text), Err(InvalidScheme::OutOfRange(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_scheme_is_read_back(
            memory_kib in 128..=262_144_u32,
            iterations in 1..=16_u32,
            lanes in 1..=16_u32,
            salt: [u8; 16],
        ) {
            let scheme = Scheme { memory_kib, iterations, lanes, salt };
            prop_assert_eq!(Scheme::parse(&scheme.to_string()), Ok(scheme));
        }

        #[test]
        fn no_text_makes_it_panic(text in "argon2id\\$v=19\\$.*|.*|argon2id\\$v=19\\$m=[0-9]{1,12},t=[0-9],p=[0-9]\\$.*") {
            let _ = Scheme::parse(&text);
        }
    }
}
