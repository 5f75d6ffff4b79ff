//! The values that the properties range over.

use otp_core::{Algorithm, Digits, Hotp, Period, Secret, Token, Totp, Window};
use proptest::prelude::*;

pub(crate) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..=Secret::MAX_BYTES)
}

pub(crate) fn strong_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), Secret::MIN_BYTES..=Secret::MAX_BYTES)
}

pub(crate) fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(vec![Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512])
}

pub(crate) fn digits() -> impl Strategy<Value = Digits> {
    (6..=8_u8).prop_map(|count| Digits::new(count).unwrap())
}

pub(crate) fn totp() -> impl Strategy<Value = Totp> {
    (algorithm(), digits(), 1..=Period::MAX_SECONDS)
        .prop_map(|(algorithm, digits, seconds)| Totp::new(algorithm, digits, Period::new(seconds).unwrap()))
}

pub(crate) fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        totp().prop_map(Token::Totp),
        (algorithm(), digits(), any::<u64>()).prop_map(|(algorithm, digits, counter)| {
            let hotp = Hotp::new(algorithm, digits);
            Token::Hotp { hotp, counter }
        }),
    ]
}

pub(crate) fn window() -> impl Strategy<Value = Window> {
    (0..=Window::MAX_STEPS, 0..=Window::MAX_STEPS)
        .prop_map(|(past, future)| Window::new(past, future).unwrap())
}

/// The ends of the range as often as its middle.
pub(crate) fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![0..40_u64, any::<u64>(), u64::MAX - 40..=u64::MAX]
}
