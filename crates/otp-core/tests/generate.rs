//! New secrets come from the generator that is passed, whole or not at all.

use otp_core::{Algorithm, Secret, Strength};
use rand_core::{TryCryptoRng, TryRng};

/// Counts up, and fails when it is told to.
struct Counting {
    next: u8,
    broken: bool,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("no entropy")]
struct NoEntropy;

impl TryRng for Counting {
    type Error = NoEntropy;

    fn try_next_u32(&mut self) -> Result<u32, NoEntropy> {
        unreachable!("secrets are filled, not drawn by words")
    }

    fn try_next_u64(&mut self) -> Result<u64, NoEntropy> {
        unreachable!("secrets are filled, not drawn by words")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        if self.broken {
            return Err(NoEntropy);
        }
        for byte in bytes {
            *byte = self.next;
            self.next += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

#[test]
fn a_secret_is_as_long_as_the_tag_and_all_of_it_is_drawn() {
    for (algorithm, length) in [(Algorithm::Sha1, 20), (Algorithm::Sha256, 32), (Algorithm::Sha512, 64)] {
        let mut rng = Counting { next: 1, broken: false };
        let secret = Secret::generate(&mut rng, algorithm).unwrap();
        assert_eq!(secret.expose(), (1..=length).collect::<Vec<u8>>());
        assert_eq!(Secret::length_for(algorithm), usize::from(length));
        assert_eq!(secret.check(Strength::Enrol), Ok(None));

        let next = Secret::generate(&mut rng, algorithm).unwrap();
        assert!(!next.matches(&secret));
    }
}

#[test]
fn without_entropy_there_is_no_secret() {
    let mut rng = Counting { next: 1, broken: true };
    let refused = Secret::generate(&mut rng, Algorithm::Sha1);
    assert_eq!(refused.map(drop), Err(NoEntropy));
}

#[test]
fn a_generator_behind_a_pointer_will_do() {
    let mut rng = Counting { next: 1, broken: false };
    let dynamic: &mut dyn TryCryptoRng<Error = NoEntropy> = &mut rng;
    assert!(Secret::generate(dynamic, Algorithm::Sha1).is_ok());
}

#[test]
fn raw_bytes_have_bounds() {
    assert!(Secret::from_bytes(&[]).is_err());
    assert!(Secret::from_bytes(&[0; Secret::MAX_BYTES]).is_ok());
    assert!(Secret::from_bytes(&[0; Secret::MAX_BYTES + 1]).is_err());
    assert!(Secret::from_base32(&"A".repeat(205)).is_ok());
    assert!(Secret::from_base32(&"A".repeat(1 << 20)).is_err());
    assert!(Secret::from_hex(&"0".repeat(258)).is_err());
}
