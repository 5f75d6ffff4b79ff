//! Bytes that no issuer would send: nothing panics, and nothing but what the issuer signed is accepted.

use std::sync::LazyLock;

use mfa_assertion::KeySet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, EXPECTED, ISSUER, Issuer, NONCE, NOW, SUBJECT, claims, verifier};

static ISSUERS: LazyLock<[Issuer; 2]> = LazyLock::new(|| [Issuer::new("ES256"), Issuer::new("Ed25519")]);

#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Repeat(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\.=0 ".to_vec())];
    let edit = prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(place, byte)| Edit::Replace(place, byte)),
        (any::<Index>(), byte).prop_map(|(place, byte)| Edit::Insert(place, byte)),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Cut),
        any::<Index>().prop_map(Edit::Repeat),
    ];
    vec(edit, 1..4)
}

fn edited(original: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for edit in edits {
        let length = bytes.len();
        match edit {
            Edit::Insert(place, byte) => bytes.insert(place.index(length + 1), *byte),
            // There is nothing left to edit.
            _ if length == 0 => {}
            Edit::Replace(place, byte) => bytes[place.index(length)] = *byte,
            Edit::Remove(place) => {
                bytes.remove(place.index(length));
            }
            Edit::Cut(place) => bytes.truncate(place.index(length)),
            Edit::Repeat(place) => bytes.extend_from_within(place.index(length)..),
        }
    }
    bytes
}

#[test]
fn a_valid_assertion_is_refused_with_any_byte_flipped() {
    for issuer in &*ISSUERS {
        let jws = issuer.assertion(&claims());
        let keys = issuer.keys();
        let accepts = |jws: &str| verifier().verify(&keys, jws, EXPECTED, NOW).is_ok();
        assert!(accepts(&jws));
        for place in 0..jws.len() {
            // Not the highest bit: the text would not be UTF-8, and could not be given to the verifier.
            for bit in [place % 7, (place + 3) % 7] {
                let mut bytes = jws.clone().into_bytes();
                bytes[place] ^= 1_u8 << bit;
                let flipped = String::from_utf8(bytes).unwrap();
                assert!(!accepts(&flipped), "bit {bit} of byte {place}");
            }
        }
    }
}

proptest! {
    #[test]
    fn an_edited_assertion_is_refused(edits in edits(), which in 0..2_usize) {
        let issuer = &ISSUERS[which];
        let jws = issuer.assertion(&claims());
        let changed = edited(jws.as_bytes(), &edits);
        let changed = String::from_utf8_lossy(&changed);
        prop_assume!(*changed != *jws);
        prop_assert!(issuer.verify(&changed).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(ISSUERS[0].verify(&String::from_utf8_lossy(&bytes)).is_err());
    }

    #[test]
    fn arbitrary_bytes_in_three_parts_are_refused(
        header in vec(any::<u8>(), 0..100),
        payload in vec(any::<u8>(), 0..100),
    ) {
        prop_assert!(ISSUERS[0].verify(&ISSUERS[0].signed(header, payload)).is_err());
    }

    #[test]
    fn a_signed_header_that_was_edited_never_panics_and_names_the_right_key_if_it_is_accepted(edits in edits()) {
        let issuer = &ISSUERS[0];
        let header = edited(issuer.header().to_string().as_bytes(), &edits);
        if issuer.verify(&issuer.signed(&header, claims().to_string())).is_ok() {
            let header: Value = serde_json::from_slice(&header).unwrap();
            prop_assert_eq!(&header["alg"], "ES256");
            prop_assert_eq!(&header["kid"], issuer.kid);
            prop_assert_eq!(&header["typ"], "mfa-assertion+jwt");
            prop_assert_eq!(header.get("crit"), None);
        }
    }

    #[test]
    fn signed_claims_that_were_edited_never_panic_and_are_for_this_host_if_they_are_accepted(edits in edits()) {
        let issuer = &ISSUERS[1];
        let payload = edited(claims().to_string().as_bytes(), &edits);
        if let Ok(assertion) = issuer.verify(&issuer.signed(issuer.header().to_string(), &payload)) {
            let payload: Value = serde_json::from_slice(&payload).unwrap();
            prop_assert_eq!(&payload["iss"], ISSUER);
            prop_assert!(payload["aud"] == AUDIENCE || payload["aud"] == json!([AUDIENCE]));
            prop_assert_eq!(&payload["sub"], SUBJECT);
            prop_assert_eq!(&payload["nonce"], NONCE);
            prop_assert_eq!(payload["exp"].as_u64(), Some(assertion.expires_at));
            prop_assert!(assertion.expires_at > NOW - 5 && assertion.issued_at <= NOW + 5);
        }
    }

    #[test]
    fn an_edited_key_set_never_panics_and_never_checks_by_another_key(edits in edits(), which in 0..2_usize) {
        let (issuer, other) = (&ISSUERS[which], &ISSUERS[1 - which]);
        let set = json!({ "keys": [issuer.jwk()] }).to_string();
        let Ok(keys) = KeySet::from_json(&String::from_utf8_lossy(&edited(set.as_bytes(), &edits))) else {
            return Ok(());
        };
        prop_assert!(verifier().verify(&keys, &other.assertion(&claims()), EXPECTED, NOW).is_err());
    }
}
