//! Registrations (Web Authentication Level 3, 7.1): one refusal for each step, and what is accepted.

use ciborium::Value as Cbor;
use mfa_domain::passkey::{Aaguid, Attestation, UserVerification};
use mfa_domain::ports::{CredentialRefusal, NewCredential, Webauthn};
use serde_json::{Value, json};

use crate::support::{
    Algorithm, Authenticator, Created, Evidence, RP_ID, begin_registration, failed, flag, party, refusal,
    tenant, user_handle,
};

/// What the registration with one thing changed was refused for.
fn refused(user_verification: UserVerification, change: impl Fn(&mut Created)) -> Option<CredentialRefusal> {
    let (party, authenticator) = (party(), Authenticator::new(Algorithm::Es256));
    let ceremony = begin_registration(&party, user_verification);
    let mut created = Created::answering(&ceremony, &authenticator).proved_by(Evidence::Own);
    change(&mut created);
    refusal(party.finish_registration(&tenant(), &ceremony.state, &created.response(&authenticator)))
}

#[test]
fn each_step_refuses_what_it_is_for() {
    type Case = (&'static str, fn(&mut Created), CredentialRefusal);
    let cases: &[Case] = &[
        ("6: not an object", |it| it.client_data = json!([]), CredentialRefusal::ClientData),
        ("6: without an origin", |it| remove(&mut it.client_data, "origin"), CredentialRefusal::ClientData),
        (
            "6: crossOrigin is text",
            |it| it.client_data["crossOrigin"] = json!("no"),
            CredentialRefusal::ClientData,
        ),
        ("7: an assertion", |it| it.client_data["type"] = json!("webauthn.get"), CredentialRefusal::Type),
        (
            "8: another challenge",
            |it| it.client_data["challenge"] = json!("AAAA"),
            CredentialRefusal::Challenge,
        ),
        ("8: no challenge", |it| it.client_data["challenge"] = json!(""), CredentialRefusal::Challenge),
        (
            "9: the bare domain",
            |it| it.client_data["origin"] = json!("https://example.com"),
            CredentialRefusal::Origin,
        ),
        (
            "9: another port",
            |it| it.client_data["origin"] = json!("https://login.example.com:8443"),
            CredentialRefusal::Origin,
        ),
        (
            "9: with a slash",
            |it| it.client_data["origin"] = json!("https://login.example.com/"),
            CredentialRefusal::Origin,
        ),
        ("10: in a frame", |it| it.client_data["crossOrigin"] = json!(true), CredentialRefusal::CrossOrigin),
        (
            "11: in a frame of a site",
            |it| it.client_data["topOrigin"] = json!("https://partner.example"),
            CredentialRefusal::CrossOrigin,
        ),
        ("13: no CBOR", |it| it.spoil = |object| object[0] = 0xff, CredentialRefusal::AuthenticatorData),
        (
            "13: cut off",
            |it| it.spoil = |object| object.truncate(object.len() - 1),
            CredentialRefusal::AuthenticatorData,
        ),
        ("13: more bytes", |it| it.spoil = |object| object.push(0), CredentialRefusal::AuthenticatorData),
        ("13: a member twice", |it| it.spoil = twice, CredentialRefusal::AuthenticatorData),
        ("13: no credential", |it| it.flags &= !flag::ATTESTED, CredentialRefusal::AuthenticatorData),
        ("13: bytes at the end", |it| it.rest = vec![0], CredentialRefusal::AuthenticatorData),
        (
            "13: no extensions, but their flag",
            |it| it.flags |= flag::EXTENSIONS,
            CredentialRefusal::AuthenticatorData,
        ),
        (
            "13: extensions without their flag",
            |it| it.rest = vec![0xa0],
            CredentialRefusal::AuthenticatorData,
        ),
        ("13: extensions are no map", |it| it.extend(b"\0"), CredentialRefusal::AuthenticatorData),
        ("14: another party", |it| it.rp_id = "example.org".to_owned(), CredentialRefusal::RelyingParty),
        ("15: nobody there", |it| it.flags &= !flag::PRESENT, CredentialRefusal::UserPresence),
        ("16: not verified", |it| it.flags &= !flag::VERIFIED, CredentialRefusal::UserVerification),
        ("17: backed up but not eligible", |it| it.flags |= flag::BACKED_UP, CredentialRefusal::BackupState),
        ("20: EdDSA", |it| set(&mut it.public_key, 3, (-8).into()), CredentialRefusal::Algorithm),
        ("20: RS1", |it| set(&mut it.public_key, 3, (-65535).into()), CredentialRefusal::Algorithm),
        ("20: ES512", |it| set(&mut it.public_key, 3, (-36).into()), CredentialRefusal::Algorithm),
        (
            "20: ES256 of another curve",
            |it| set(&mut it.public_key, -1, 2.into()),
            CredentialRefusal::PublicKey,
        ),
        (
            "20: not on the curve",
            |it| set(&mut it.public_key, -2, Cbor::Bytes(vec![1; 32])),
            CredentialRefusal::PublicKey,
        ),
        (
            "20: a short coordinate",
            |it| set(&mut it.public_key, -2, Cbor::Bytes(vec![1; 31])),
            CredentialRefusal::PublicKey,
        ),
        (
            "21: a format that is not known",
            |it| it.format = "compound".to_owned(),
            CredentialRefusal::Attestation,
        ),
        ("22: a forged statement", |it| it.forged = true, CredentialRefusal::Attestation),
        ("22: a statement of none", |it| it.format = "none".to_owned(), CredentialRefusal::Attestation),
        ("25: no id", |it| it.credential_id = Vec::new(), CredentialRefusal::CredentialId),
        ("25: a long id", |it| it.credential_id = vec![1; 1024], CredentialRefusal::CredentialId),
        ("25: ids differ", |it| it.returned_id = b"another".to_vec(), CredentialRefusal::CredentialId),
    ];
    for (name, change, expected) in cases {
        assert_eq!(refused(UserVerification::Required, change), Some(*expected), "{name}");
    }
    assert_eq!(refused(UserVerification::Required, |_| {}), None);
}

#[test]
fn a_key_that_no_signature_could_be_checked_by_is_refused_without_a_statement_too() {
    type Case = (&'static str, Algorithm, fn(&mut Cbor));
    let cases: &[Case] = &[
        ("not on the curve", Algorithm::Es256, |key| set(key, -2, Cbor::Bytes(vec![1; 32]))),
        ("a short coordinate", Algorithm::Es256, |key| set(key, -3, Cbor::Bytes(vec![1; 31]))),
        ("a sign in place of a coordinate", Algorithm::Es256, |key| set(key, -3, true.into())),
        ("another curve", Algorithm::Es384, |key| set(key, -1, 1.into())),
        ("another type of key", Algorithm::Es256, |key| set(key, 1, 3.into())),
        ("a short modulus", Algorithm::Rs256, |key| set(key, -1, Cbor::Bytes(vec![0xc1; 128]))),
        ("3072 bits", Algorithm::Rs256, |key| {
            set(key, -1, Cbor::Bytes(vec![0xc1; 384]));
        }),
        ("an exponent of a byte", Algorithm::Rs256, |key| set(key, -2, Cbor::Bytes(vec![3]))),
        ("an even exponent", Algorithm::Rs256, |key| set(key, -2, Cbor::Bytes(vec![1, 0, 2]))),
    ];
    for (name, algorithm, change) in cases {
        let (party, authenticator) = (party(), Authenticator::new(*algorithm));
        let ceremony = begin_registration(&party, UserVerification::Preferred);
        let mut created = Created::answering(&ceremony, &authenticator);
        change(&mut created.public_key);
        let finished =
            party.finish_registration(&tenant(), &ceremony.state, &created.response(&authenticator));
        assert_eq!(refusal(finished), Some(CredentialRefusal::PublicKey), "{name}");
    }
}

#[test]
fn what_the_standard_leaves_open_is_accepted() {
    type Case = (&'static str, fn(&mut Created));
    let cases: &[Case] = &[
        ("a member that is not known", |it| it.client_data["new"] = json!({"a": [1]})),
        ("without crossOrigin", |it| remove(&mut it.client_data, "crossOrigin")),
        ("not verified", |it| it.flags &= !flag::VERIFIED),
        ("backed up", |it| it.flags |= flag::ELIGIBLE | flag::BACKED_UP),
        ("an app", |it| {
            it.client_data["origin"] =
                json!("android:apk-key-hash:kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8");
        }),
        ("without a counter", |it| it.sign_count = 0),
        ("extensions", |it| it.extend(b"\xa1\x61x\xf5")),
        ("a long id", |it| (it.credential_id, it.returned_id) = (vec![1; 1023], vec![1; 1023])),
    ];
    for (name, change) in cases {
        for policy in [UserVerification::Preferred, UserVerification::Discouraged] {
            assert_eq!(refused(policy, change), None, "{name}");
        }
    }
}

#[test]
fn a_passkey_keeps_what_was_stated() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256] {
        for (evidence, format) in [(Evidence::Nothing, "none"), (Evidence::Own, "packed")] {
            let (party, authenticator) = (party(), Authenticator::new(algorithm));
            let ceremony = begin_registration(&party, UserVerification::Preferred);
            let mut created = Created::answering(&ceremony, &authenticator).proved_by(evidence);
            created.flags |= flag::ELIGIBLE;
            let response = created.response(&authenticator);
            let finished = party.finish_registration(&tenant(), &ceremony.state, &response);
            let NewCredential { passkey, public_key } = finished.unwrap();
            assert_eq!(passkey.credential_id, response.credential_id);
            assert_eq!((&passkey.user_handle, passkey.rp_id.as_str()), (&user_handle(), RP_ID));
            assert_eq!((passkey.sign_count, passkey.aaguid), (5, Aaguid(created.aaguid)));
            assert_eq!((passkey.transports, passkey.discoverable), (vec!["internal".to_owned()], Some(true)));
            assert_eq!(
                (passkey.user_verified, passkey.backup_eligible, passkey.backed_up),
                (true, Some(true), false)
            );
            assert_eq!(passkey.attestation, Attestation { format: format.to_owned(), trusted: false });
            let key: Value = serde_json::from_str(public_key.as_str()).unwrap();
            let mut members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            members.sort_unstable();
            let (kty, alg, names) = match algorithm {
                Algorithm::Rs256 => ("RSA", "RS256", "alg e kty n"),
                Algorithm::Es384 => ("EC", "ES384", "alg crv kty x y"),
                _ => ("EC", "ES256", "alg crv kty x y"),
            };
            assert_eq!((&key["kty"], &key["alg"]), (&json!(kty), &json!(alg)));
            assert_eq!(members.join(" "), names);
        }
    }
}

#[test]
fn ed25519_cannot_be_registered() {
    let (party, authenticator) = (party(), Authenticator::new(Algorithm::Ed25519));
    let ceremony = begin_registration(&party, UserVerification::Preferred);
    let response = Created::answering(&ceremony, &authenticator).response(&authenticator);
    let finished = party.finish_registration(&tenant(), &ceremony.state, &response);
    assert_eq!(refusal(finished), Some(CredentialRefusal::Algorithm));
}

#[test]
fn a_response_answers_its_own_ceremony_alone() {
    let (party, authenticator) = (party(), Authenticator::new(Algorithm::Es256));
    let first = begin_registration(&party, UserVerification::Preferred);
    let second = begin_registration(&party, UserVerification::Preferred);
    let response = Created::answering(&first, &authenticator).response(&authenticator);
    let finished = party.finish_registration(&tenant(), &second.state, &response);
    assert_eq!(refusal(finished), Some(CredentialRefusal::Challenge));
}

#[test]
fn a_state_that_this_version_did_not_make_decides_nothing() {
    let (party, authenticator) = (party(), Authenticator::new(Algorithm::Es256));
    let ceremony = begin_registration(&party, UserVerification::Preferred);
    let response = Created::answering(&ceremony, &authenticator).response(&authenticator);
    let state: Value = serde_json::from_slice(&ceremony.state).unwrap();
    let mut newer = state.clone();
    newer["v"] = json!(2);
    let mut other_library = state.clone();
    other_library["library"] = json!({"v": 9});
    for state in
        [newer, other_library, json!({}), json!({"v": 1, "challenge": "", "user_verification": "required"})]
    {
        let finished = party.finish_registration(&tenant(), state.to_string().as_bytes(), &response);
        assert!(failed(&finished), "{state}");
    }
    assert!(ceremony.state.len() < 1024, "{} bytes", ceremony.state.len());
}

fn remove(object: &mut Value, member: &str) {
    object.as_object_mut().unwrap().remove(member).unwrap();
}

fn set(key: &mut Cbor, label: i64, value: Cbor) {
    let member = key.as_map_mut().unwrap().iter_mut().find(|(key, _)| *key == Cbor::from(label));
    member.unwrap().1 = value;
}

/// Writes `fmt` once more at the end of the map.
fn twice(object: &mut Vec<u8>) {
    object[0] += 1;
    object.extend(b"\x63fmt\x64none");
}
