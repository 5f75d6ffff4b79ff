//! HMAC keyed once, and what RFC 4226 makes of its tag.

use core::ops::RangeInclusive;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::algorithm::Algorithm;
use crate::code::Code;
use crate::parameters::Digits;
use crate::secret::Secret;

/// The state of an HMAC after its key went in.
///
/// The two key blocks cost two compressions, each counter two more: a check of three steps takes eight, where keying
/// anew for each step takes twelve.
pub(crate) enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    pub(crate) fn new(algorithm: Algorithm, secret: &Secret) -> Self {
        Self::from_key(algorithm, secret.expose())
    }

    fn from_key(algorithm: Algorithm, key: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(key)),
            Algorithm::Sha256 => Self::Sha256(keyed(key)),
            Algorithm::Sha512 => Self::Sha512(keyed(key)),
        }
    }

    /// The value of one counter, below ten to the power of `digits` (RFC 4226, section 5.3).
    pub(crate) fn value(&self, counter: u64, digits: Digits) -> u32 {
        let message = counter.to_be_bytes();
        let truncated = match self {
            Self::Sha1(mac) => truncate(&tag(mac, &message)),
            Self::Sha256(mac) => truncate(&tag(mac, &message)),
            Self::Sha512(mac) => truncate(&tag(mac, &message)),
        };
        truncated % digits.modulus()
    }

    /// The lowest of `counters` that gives `code` and is above `after`.
    ///
    /// Every counter is evaluated whatever the others gave, and nothing branches on a secret, so that time tells neither
    /// how much of a guess was right nor which counter matched.
    pub(crate) fn lowest_match(
        &self,
        counters: RangeInclusive<u64>,
        code: &Code,
        after: Option<u64>,
    ) -> Option<u64> {
        let mut found = Choice::from(0);
        let mut lowest = 0;
        for counter in counters {
            let fresh = Choice::from(u8::from(after.is_none_or(|after| counter > after)));
            let equal = self.value(counter, code.digits()).ct_eq(&code.value());
            let hit = equal & fresh & !found;
            lowest.conditional_assign(&counter, hit);
            found |= hit;
        }
        bool::from(found).then_some(lowest)
    }
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of any length (RFC 2104)"
)]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("any key length")
}

fn tag<M: Mac + Clone>(keyed: &M, message: &[u8]) -> hmac::digest::Output<M> {
    keyed.clone().chain_update(message).finalize().into_bytes()
}

/// Dynamic truncation: the low nibble of the *last* byte says where the 31 bits start. RFC 4226 says "byte 19" because
/// SHA-1 has 20; for the longer tags of RFC 6238 it is still the last one.
fn truncate(tag: &[u8]) -> u32 {
    let offset = tag.last().map_or(0, |last| usize::from(last & 0x0f));
    let mut word = [0; 4];
    word.copy_from_slice(&tag[offset..offset + 4]);
    u32::from_be_bytes(word) & 0x7fff_ffff
}
