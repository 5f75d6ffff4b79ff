//! Assertions, as somebody sees and changes them who cannot sign.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

/// The header and the claims, unchecked.
#[must_use]
pub fn unchecked(assertion: &str) -> [Value; 2] {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, _] = parts[..] else { panic!("not a compact JWS: {assertion}") };
    [header, claims].map(|part| {
        let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
        serde_json::from_slice(&json).expect("JSON")
    })
}

/// The same assertion with another signature.
#[must_use]
pub fn altered(assertion: &str) -> String {
    let (signed, signature) = assertion.rsplit_once('.').expect("a compact JWS");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}
