//! Assertions (Web Authentication Level 3, 7.2): one refusal for each step, and what is accepted.

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{CredentialId, Passkey, PublicKey, UserVerification};
use mfa_domain::ports::{Assertion, CredentialRefusal, KnownCredential, NewCredential, Webauthn};
use mfa_webauthn::{RelyingParty, Settings};
use serde_json::{Value, json};

use crate::support::{
    Algorithm, Authenticator, CHALLENGE_TEXT, ORIGIN, Stated, TOP_ORIGIN, begin_authentication, failed, flag,
    party, refusal, registered, settings, stored, tenant,
};

/// What the assertion with one thing changed was refused for.
fn refused(
    party: &RelyingParty,
    policy: UserVerification,
    change: fn(&mut Stated),
) -> Option<CredentialRefusal> {
    let authenticator = Authenticator::new(Algorithm::Es256);
    let credential = registered(party, &authenticator);
    let ceremony = begin_authentication(party, None, policy);
    let mut stated = Stated::answering(&authenticator);
    change(&mut stated);
    let response = stated.response(&authenticator);
    refusal(party.finish_authentication(&tenant(), &ceremony.state, &response, Some(stored(&credential))))
}

type Case = (&'static str, fn(&mut Stated), CredentialRefusal);

/// Each change alone is refused for what is expected.
fn assert_refused(cases: &[Case]) {
    let party = party();
    for (name, change, expected) in cases {
        assert_eq!(refused(&party, UserVerification::Required, *change), Some(*expected), "{name}");
    }
    assert_eq!(refused(&party, UserVerification::Required, |_| {}), None);
}

#[test]
fn each_step_about_the_browser_refuses_what_it_is_for() {
    let cases: &[Case] = &[
        ("6: another credential", |it| it.credential_id = b"another".to_vec(), CredentialRefusal::Signature),
        ("9: not an object", |it| it.client_data = json!("text"), CredentialRefusal::ClientData),
        (
            "9: without a challenge",
            |it| remove(&mut it.client_data, "challenge"),
            CredentialRefusal::ClientData,
        ),
        (
            "9: crossOrigin is text",
            |it| it.client_data["crossOrigin"] = json!("no"),
            CredentialRefusal::ClientData,
        ),
        (
            "10: a registration",
            |it| it.client_data["type"] = json!("webauthn.create"),
            CredentialRefusal::Type,
        ),
        ("10: a payment", |it| it.client_data["type"] = json!("payment.get"), CredentialRefusal::Type),
        (
            "11: another challenge",
            |it| it.client_data["challenge"] = json!("AAAA"),
            CredentialRefusal::Challenge,
        ),
        (
            "11: with padding",
            |it| it.client_data["challenge"] = json!(format!("{CHALLENGE_TEXT}=")),
            CredentialRefusal::Challenge,
        ),
        (
            "12: http",
            |it| it.client_data["origin"] = json!("http://login.example.com"),
            CredentialRefusal::Origin,
        ),
        (
            "12: a domain that begins as ours",
            |it| it.client_data["origin"] = json!("https://login.example.com.evil.example"),
            CredentialRefusal::Origin,
        ),
        (
            "12: another app",
            |it| {
                it.client_data["origin"] =
                    json!("android:apk-key-hash:kZKTlJWWl5iZmpucnZ6foKGio6SlpqeoqaqrrK2ur7A");
            },
            CredentialRefusal::Origin,
        ),
        ("13: in a frame", |it| it.client_data["crossOrigin"] = json!(true), CredentialRefusal::CrossOrigin),
        (
            "14: in a frame of a site",
            |it| {
                it.client_data["crossOrigin"] = json!(true);
                it.client_data["topOrigin"] = json!(TOP_ORIGIN);
            },
            CredentialRefusal::CrossOrigin,
        ),
        (
            "14: a site alone",
            |it| it.client_data["topOrigin"] = json!(TOP_ORIGIN),
            CredentialRefusal::CrossOrigin,
        ),
    ];
    assert_refused(cases);
}

#[test]
fn each_step_about_the_authenticator_refuses_what_it_is_for() {
    let cases: &[Case] = &[
        (
            "15: another party",
            |it| it.rp_id = "login.example.com".to_owned(),
            CredentialRefusal::RelyingParty,
        ),
        ("16: nobody there", |it| it.flags &= !flag::PRESENT, CredentialRefusal::UserPresence),
        ("17: not verified", |it| it.flags &= !flag::VERIFIED, CredentialRefusal::UserVerification),
        ("18: backed up but not eligible", |it| it.flags |= flag::BACKED_UP, CredentialRefusal::BackupState),
        ("21: bytes at the end", |it| it.rest = vec![0xa0], CredentialRefusal::AuthenticatorData),
        (
            "21: no extensions, but their flag",
            |it| it.flags |= flag::EXTENSIONS,
            CredentialRefusal::AuthenticatorData,
        ),
        ("21: extensions are no map", |it| it.extend(b"\x80"), CredentialRefusal::AuthenticatorData),
        (
            "21: extensions nest without end",
            |it| it.extend(&[b"\xa1\0", [0x81; 4096].as_slice(), b"\0"].concat()),
            CredentialRefusal::AuthenticatorData,
        ),
        ("21: a new credential", attest, CredentialRefusal::AuthenticatorData),
        (
            "21: cut off",
            |it| it.spoil = |response| response.authenticator_data.truncate(36),
            CredentialRefusal::AuthenticatorData,
        ),
        (
            "21: empty",
            |it| it.spoil = |response| response.authenticator_data.clear(),
            CredentialRefusal::AuthenticatorData,
        ),
        (
            "21: a changed counter",
            |it| it.spoil = |response| response.authenticator_data[36] ^= 1,
            CredentialRefusal::Signature,
        ),
        (
            "21: changed client data",
            |it| it.spoil = |response| response.client_data.push(b' '),
            CredentialRefusal::Signature,
        ),
        (
            "21: a changed signature",
            |it| it.spoil = |response| response.signature[9] ^= 1,
            CredentialRefusal::Signature,
        ),
        (
            "21: no signature",
            |it| it.spoil = |response| response.signature.clear(),
            CredentialRefusal::Signature,
        ),
    ];
    assert_refused(cases);
}

#[test]
fn what_the_standard_leaves_open_is_accepted() {
    type Case = (&'static str, fn(&mut Stated));
    let cases: &[Case] = &[
        ("a member that is not known", |it| it.client_data["tokenBinding"] = json!(7)),
        ("without crossOrigin", |it| remove(&mut it.client_data, "crossOrigin")),
        ("without a site", |it| it.client_data["topOrigin"] = Value::Null),
        ("not verified", |it| it.flags &= !flag::VERIFIED),
        ("backed up", |it| it.flags |= flag::ELIGIBLE | flag::BACKED_UP),
        ("reserved flags", |it| it.flags |= flag::RESERVED),
        ("an app", |it| {
            it.client_data["origin"] =
                json!("android:apk-key-hash:kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8");
        }),
        ("without a counter", |it| it.sign_count = 0),
        ("a lower counter, which the domain judges", |it| it.sign_count = 1),
        ("extensions", |it| it.extend(b"\xa1\x61x\xf5")),
        ("no user handle", |it| it.spoil = |response| response.user_handle = None),
    ];
    let party = party();
    for (name, change) in cases {
        for policy in [UserVerification::Preferred, UserVerification::Discouraged] {
            assert_eq!(refused(&party, policy, *change), None, "{name}");
        }
    }
}

#[test]
fn client_data_is_read_as_the_standard_says() {
    let party = party();
    let authenticator = Authenticator::new(Algorithm::Es256);
    let credential = registered(&party, &authenticator);
    let ceremony = begin_authentication(&party, None, UserVerification::Preferred);
    let members = format!(r#""type":"webauthn.get","challenge":"{CHALLENGE_TEXT}","origin":"{ORIGIN}""#);
    for (client_data, expected) in [
        (format!("{{{members}}}"), None),
        (format!("\u{feff}{{{members}}}"), None),
        (format!("{{{members},\"extra\":1,\"extra\":2}}"), None),
        (format!("{{{}}}", members.replace("login", r"\u006cogin")), None),
        (format!("{{{members},\"origin\":\"{ORIGIN}\"}}"), Some(CredentialRefusal::ClientData)),
        (format!("{{{members}}}."), Some(CredentialRefusal::ClientData)),
        (format!("{{{members},\"topOrigin\":[]}}"), Some(CredentialRefusal::ClientData)),
        (String::new(), Some(CredentialRefusal::ClientData)),
    ] {
        let response =
            Stated::answering(&authenticator).response_with(&authenticator, client_data.clone().into());
        let finished =
            party.finish_authentication(&tenant(), &ceremony.state, &response, Some(stored(&credential)));
        assert_eq!(refusal(finished), expected, "{client_data}");
    }
}

#[test]
fn every_algorithm_is_verified_and_what_was_stated_is_returned() {
    let party = party();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ed25519] {
        let authenticator = Authenticator::new(algorithm);
        let credential = match authenticator.ed25519() {
            Some(key) => imported(&party, key),
            None => registered(&party, &authenticator),
        };
        let ceremony = begin_authentication(&party, None, UserVerification::Preferred);
        let mut stated = Stated::answering(&authenticator);
        stated.flags |= flag::ELIGIBLE;
        let response = stated.response(&authenticator);
        let finished =
            party.finish_authentication(&tenant(), &ceremony.state, &response, Some(stored(&credential)));
        let expected =
            Assertion { user_verified: true, backup_eligible: true, backed_up: false, sign_count: 6 };
        assert_eq!(finished.unwrap(), expected, "{algorithm:?}");

        let mut forged = response;
        *forged.signature.last_mut().unwrap() ^= 1;
        let finished =
            party.finish_authentication(&tenant(), &ceremony.state, &forged, Some(stored(&credential)));
        assert_eq!(refusal(finished), Some(CredentialRefusal::Signature), "{algorithm:?}");
    }
}

/// A credential with a key of Ed25519, which can be imported alone.
fn imported(party: &RelyingParty, key: &[u8]) -> NewCredential {
    let x = BASE64URL_NOPAD.encode(key);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"});
    let public_key = PublicKey::new(jwk.to_string());
    NewCredential { public_key, ..registered(party, &Authenticator::new(Algorithm::Es256)) }
}

#[test]
fn without_a_passkey_even_a_right_assertion_is_refused() {
    let party = party();
    let authenticator = Authenticator::new(Algorithm::Es256);
    let ceremony = begin_authentication(&party, None, UserVerification::Required);
    let mut stated = Stated::answering(&authenticator);
    let finish = |stated: &Stated| {
        let response = stated.response(&authenticator);
        refusal(party.finish_authentication(&tenant(), &ceremony.state, &response, None))
    };
    assert_eq!(finish(&stated), Some(CredentialRefusal::Signature));
    stated.spoil = |response| response.signature.clear();
    assert_eq!(finish(&stated), Some(CredentialRefusal::Signature));
    // Whatever does not depend on the passkey is answered as with one.
    stated.client_data["origin"] = json!("https://evil.example");
    assert_eq!(finish(&stated), Some(CredentialRefusal::Origin));
}

#[test]
fn a_frame_of_a_configured_site_is_accepted() {
    let party =
        RelyingParty::new(Settings { top_origins: vec![TOP_ORIGIN.to_owned()], ..settings() }).unwrap();
    let framed = |change| refused(&party, UserVerification::Preferred, change);
    assert_eq!(framed(|it| it.client_data["topOrigin"] = json!(TOP_ORIGIN)), None);
    let other = framed(|it| it.client_data["topOrigin"] = json!("https://evil.example"));
    assert_eq!(other, Some(CredentialRefusal::CrossOrigin));
    // A browser that does not tell the site.
    let unknown = framed(|it| it.client_data["crossOrigin"] = json!(true));
    assert_eq!(unknown, Some(CredentialRefusal::CrossOrigin));
}

#[test]
fn a_passkey_of_another_party_is_like_none_and_one_that_cannot_be_read_is_an_error() {
    let party = party();
    let authenticator = Authenticator::new(Algorithm::Es256);
    let credential = registered(&party, &authenticator);
    let ceremony = begin_authentication(&party, None, UserVerification::Preferred);
    let response = Stated::answering(&authenticator).response(&authenticator);
    let NewCredential { passkey, public_key } = credential;
    let finish = |passkey: &Passkey, public_key: &PublicKey| {
        let known = KnownCredential { passkey, public_key };
        party.finish_authentication(&tenant(), &ceremony.state, &response, Some(known))
    };
    assert!(finish(&passkey, &public_key).is_ok());

    let elsewhere = Passkey { rp_id: "example.org".to_owned(), ..passkey.clone() };
    assert_eq!(refusal(finish(&elsewhere, &public_key)), Some(CredentialRefusal::Signature));
    let renamed = Passkey { credential_id: CredentialId::new(*b"another").unwrap(), ..passkey.clone() };
    assert_eq!(refusal(finish(&renamed, &public_key)), Some(CredentialRefusal::Signature));

    let with = |member: &str, value: &str| {
        let mut key: Value = serde_json::from_str(public_key.as_str()).unwrap();
        key[member] = json!(value);
        finish(&passkey, &PublicKey::new(key.to_string()))
    };
    assert!(failed(&with("alg", "ES512")));
    assert!(failed(&with("alg", "ES384")));
    assert!(failed(&with("crv", "P-384")));
    assert!(failed(&with("x", "AAAA")));
    assert!(failed(&with("y", "?")));
    assert!(failed(&finish(&passkey, &PublicKey::new("{}"))));
}

#[test]
fn a_state_that_this_version_did_not_make_decides_nothing() {
    let party = party();
    let authenticator = Authenticator::new(Algorithm::Es256);
    let credential = registered(&party, &authenticator);
    let response = Stated::answering(&authenticator).response(&authenticator);
    let registration = crate::support::begin_registration(&party, UserVerification::Preferred).state;
    for state in [
        format!(r#"{{"v":2,"challenge":"{CHALLENGE_TEXT}","user_verification":"preferred"}}"#).into_bytes(),
        format!(r#"{{"v":1,"challenge":"{CHALLENGE_TEXT}"}}"#).into_bytes(),
        registration,
        Vec::new(),
    ] {
        let finished = party.finish_authentication(&tenant(), &state, &response, Some(stored(&credential)));
        assert!(failed(&finished), "{}", String::from_utf8_lossy(&state));
    }
}

/// Adds a credential, as in a registration.
fn attest(stated: &mut Stated) {
    stated.flags |= flag::ATTESTED;
    stated.rest = [&[0; 16], b"\0\x01i\xa1\x03\x26".as_slice()].concat();
}

fn remove(object: &mut Value, member: &str) {
    object.as_object_mut().unwrap().remove(member).unwrap();
}
