//! Any text is a secret that has one canonical form, or an error; and so for codes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otp_core::{Code, Secret, Strength};

fuzz_target!(|text: &str| {
    for secret in [Secret::from_base32(text), Secret::from_hex(text)].into_iter().flatten() {
        let canonical = secret.to_base32();
        let again = Secret::from_base32(&canonical).expect("what is emitted is accepted");
        assert!(again.matches(&secret));
        let _ = secret.check(Strength::Enrol);
        let _ = secret.check(Strength::Verify);
    }
    if let Ok(code) = Code::parse(text) {
        assert_eq!(code.as_str(), text);
    }
});
