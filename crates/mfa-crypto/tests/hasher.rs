//! What the hasher promises to the domain.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::sync::Arc;

use mfa_crypto::hasher::{HasherFailure, InvalidScheme};
use mfa_crypto::{Argon2Hasher, Argon2Settings};
use mfa_domain::BackupCode;
use mfa_domain::ports::{CodeHasher, Entropy, EntropyError, HasherError};

/// As cheap as Argon2 can be, so that tests are quick.
const CHEAP: Argon2Settings = Argon2Settings { memory_kib: 8, iterations: 1, lanes: 1, concurrency: 2 };

fn hasher(settings: Argon2Settings) -> Argon2Hasher {
    Argon2Hasher::new(settings)
}

fn code(byte: u8) -> BackupCode {
    BackupCode::from_entropy(&[byte; BackupCode::ENTROPY_BYTES])
}

fn failure(error: &HasherError) -> &HasherFailure {
    error.source().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn the_same_code_has_the_same_hash_under_a_scheme_and_another_under_another() {
    let hasher = hasher(CHEAP);
    let (scheme, other) = (hasher.scheme().unwrap(), hasher.scheme().unwrap());
    assert_ne!(scheme, other, "every scheme has its own salt");

    let hash = hasher.hash(&scheme, &code(1)).await.unwrap();
    assert_eq!(hash, hasher.hash(&scheme, &code(1)).await.unwrap());
    assert_ne!(hash, hasher.hash(&scheme, &code(2)).await.unwrap());
    assert_ne!(hash, hasher.hash(&other, &code(1)).await.unwrap());
    assert_eq!(hash.0.len(), 16);
}

#[tokio::test]
async fn codes_outlive_a_change_of_the_costs() {
    let before = hasher(CHEAP);
    let after = hasher(Argon2Settings { memory_kib: 64, iterations: 3, lanes: 2, ..CHEAP });
    let scheme = before.scheme().unwrap();
    assert!(scheme.starts_with("argon2id$v=19$m=8,t=1,p=1$"), "{scheme}");
    assert!(after.scheme().unwrap().starts_with("argon2id$v=19$m=64,t=3,p=2$"));

    let hash = before.hash(&scheme, &code(1)).await.unwrap();
    assert_eq!(after.hash(&scheme, &code(1)).await.unwrap(), hash);
}

#[tokio::test]
async fn a_scheme_that_was_tampered_with_is_an_error_and_allocates_nothing() {
    let hasher = hasher(CHEAP);
    let scheme = hasher.scheme().unwrap();
    for (part, other) in [("m=8", "m=1073741824"), ("t=1", "t=4000000000"), ("p=1", "p=16777215")] {
        let error = hasher.hash(&scheme.replace(part, other), &code(1)).await.unwrap_err();
        assert!(matches!(failure(&error), HasherFailure::Scheme(InvalidScheme::OutOfRange(_))), "{error:?}");
    }
    let error = hasher.hash("", &code(1)).await.unwrap_err();
    assert!(matches!(failure(&error), HasherFailure::Scheme(InvalidScheme::Malformed)));
}

#[tokio::test]
async fn many_at_a_time_all_get_their_own_hash() {
    let hasher = Arc::new(hasher(CHEAP));
    let scheme = hasher.scheme().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let (hasher, scheme) = (Arc::clone(&hasher), scheme.clone());
            tokio::spawn(async move { hasher.hash(&scheme, &code(n % 8)).await.unwrap() })
        })
        .collect();
    for (n, task) in (0..64).zip(tasks) {
        let expected = hasher.hash(&scheme, &code(n % 8)).await.unwrap();
        assert_eq!(task.await.unwrap(), expected);
    }
}

#[test]
fn without_sense_or_randomness_there_is_no_scheme() {
    #[derive(Debug)]
    struct Dry;
    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError::new("dry"))
        }
    }
    let error = Argon2Hasher::new(CHEAP).with_entropy(Arc::new(Dry)).scheme().unwrap_err();
    assert!(matches!(failure(&error), HasherFailure::Entropy(_)));
    let error = hasher(Argon2Settings { lanes: 0, ..CHEAP }).scheme().unwrap_err();
    assert!(matches!(failure(&error), HasherFailure::Settings(_)));
}

#[test]
fn debug_shows_the_settings_only() {
    assert_eq!(
        format!("{:?}", hasher(CHEAP)),
        "Argon2Hasher { settings: Argon2Settings { memory_kib: 8, iterations: 1, lanes: 1, concurrency: 2 }, .. }"
    );
}
