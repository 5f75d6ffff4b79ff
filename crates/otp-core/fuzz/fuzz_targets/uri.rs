//! Any text is a URI whose canonical form says the same, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otp_core::OtpauthUri;

fuzz_target!(|text: &str| {
    let Ok(parsed) = OtpauthUri::parse(text) else {
        return;
    };
    let canonical = parsed.uri.to_uri();
    let again = OtpauthUri::parse(&canonical).expect("what is emitted is accepted");
    assert_eq!(again.uri.token(), parsed.uri.token());
    assert_eq!(again.uri.issuer(), parsed.uri.issuer());
    assert_eq!(again.uri.account(), parsed.uri.account());
    assert!(again.uri.secret().matches(parsed.uri.secret()));
    assert_eq!(again.uri.to_uri(), canonical);
});
