//! Bytes that no browser and no authenticator would send: nothing panics, and nothing but the original is accepted.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{AssertionResponse, CredentialId, RegistrationResponse, UserVerification};
use mfa_domain::ports::{Ceremony, CeremonyError, CredentialRefusal, NewCredential, Webauthn};
use mfa_webauthn::RelyingParty;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::support::{
    Algorithm, Authenticator, Created, Evidence, RP_ID, Stated, begin_authentication, begin_registration,
    party, refusal, stored, tenant,
};

/// Bytes in place of others.
#[derive(Clone, Debug)]
enum Hostile {
    Arbitrary(Vec<u8>),
    Edited(Vec<Edit>),
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let edit = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(place, bit)| Edit::Flip(place, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Edit::Set(place, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Edit::Insert(place, byte)),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Cut),
    ];
    prop_oneof![
        1 => vec(any::<u8>(), 0..300).prop_map(Hostile::Arbitrary),
        6 => vec(edit, 1..4).prop_map(Hostile::Edited),
    ]
}

impl Hostile {
    fn instead_of(&self, original: &[u8]) -> Vec<u8> {
        match self {
            Self::Arbitrary(bytes) => bytes.clone(),
            Self::Edited(edits) => edits.iter().fold(original.to_vec(), |bytes, edit| edit.apply(bytes)),
        }
    }
}

impl Edit {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let length = bytes.len();
        match self {
            Self::Insert(place, byte) => bytes.insert(place.index(length + 1), *byte),
            // There is nothing left to edit.
            _ if length == 0 => {}
            Self::Flip(place, bit) => bytes[place.index(length)] ^= 1_u8 << bit,
            Self::Set(place, byte) => bytes[place.index(length)] = *byte,
            Self::Remove(place) => {
                bytes.remove(place.index(length));
            }
            Self::Cut(place) => bytes.truncate(place.index(length)),
        }
        bytes
    }
}

/// A registration with a signed statement and an assertion, both of which are accepted.
struct Original {
    party: RelyingParty,
    authenticator: Authenticator,
    registration: Ceremony,
    created: RegistrationResponse,
    credential: NewCredential,
    authentication: Ceremony,
    asserted: AssertionResponse,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let (party, authenticator) = (party(), Authenticator::new(Algorithm::Es256));
    let registration = begin_registration(&party, UserVerification::Preferred);
    let created = Created::answering(&registration, &authenticator).proved_by(Evidence::Own);
    let created = created.response(&authenticator);
    let credential = party.finish_registration(&tenant(), &registration.state, &created).unwrap();
    let authentication = begin_authentication(&party, None, UserVerification::Preferred);
    let asserted = Stated::answering(&authenticator).response(&authenticator);
    let original =
        Original { party, authenticator, registration, created, credential, authentication, asserted };
    assert!(original.authenticate(&original.asserted).is_none());
    original
});

impl Original {
    fn register(&self, response: &RegistrationResponse) -> Result<NewCredential, CeremonyError> {
        self.party.finish_registration(&tenant(), &self.registration.state, response)
    }

    fn authenticate(&self, response: &AssertionResponse) -> Option<CredentialRefusal> {
        let (state, known) = (&self.authentication.state, stored(&self.credential));
        refusal(self.party.finish_authentication(&tenant(), state, response, Some(known)))
    }
}

/// What is signed in an assertion, and the signature.
const ASSERTED: [fn(&mut AssertionResponse) -> &mut Vec<u8>; 3] =
    [|it| &mut it.client_data, |it| &mut it.authenticator_data, |it| &mut it.signature];

/// What is signed in a registration, with the signature.
const CREATED: [fn(&mut RegistrationResponse) -> &mut Vec<u8>; 2] =
    [|it| &mut it.client_data, |it| &mut it.attestation_object];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_other_assertion_is_accepted(hostile in hostile()) {
        for part in ASSERTED {
            let mut response = ORIGINAL.asserted.clone();
            let bytes = part(&mut response);
            *bytes = hostile.instead_of(bytes);
            prop_assert_eq!(ORIGINAL.authenticate(&response).is_none(), response == ORIGINAL.asserted);
        }
    }

    /// The frame around what is signed can be written in several ways, such as with a tag of CBOR before it.
    #[test]
    fn no_registration_that_says_anything_else_is_accepted(hostile in hostile()) {
        for part in CREATED {
            let mut response = ORIGINAL.created.clone();
            let bytes = part(&mut response);
            *bytes = hostile.instead_of(bytes);
            match ORIGINAL.register(&response) {
                Ok(credential) => {
                    prop_assert_eq!(credential.passkey, ORIGINAL.credential.passkey.clone());
                    prop_assert_eq!(credential.public_key, ORIGINAL.credential.public_key.clone());
                }
                refused => {
                    prop_assert!(refusal(refused).is_some());
                    prop_assert_ne!(&response, &ORIGINAL.created);
                }
            }
        }
    }

    /// Without a statement nothing is signed: an authenticator may state any key, but under one id, and the key can be
    /// used afterwards.
    #[test]
    fn a_registration_without_a_statement_is_refused_or_of_use(hostile in hostile()) {
        let unsigned = Created::answering(&ORIGINAL.registration, &ORIGINAL.authenticator);
        let mut response = unsigned.response(&ORIGINAL.authenticator);
        response.attestation_object = hostile.instead_of(&response.attestation_object);
        match ORIGINAL.register(&response) {
            Ok(credential) => {
                prop_assert_eq!(&credential.passkey.credential_id, &response.credential_id);
                prop_assert_eq!(&credential.passkey.rp_id, RP_ID);
                let (state, known) = (&ORIGINAL.authentication.state, stored(&credential));
                let finished =
                    ORIGINAL.party.finish_authentication(&tenant(), state, &ORIGINAL.asserted, Some(known));
                let same = credential.public_key == ORIGINAL.credential.public_key;
                prop_assert_eq!(refusal(finished).is_none(), same);
            }
            refused => prop_assert!(refusal(refused).is_some()),
        }
    }

    /// The domain seals states, so that nobody can change them.
    #[test]
    fn a_changed_state_accepts_no_answer_to_another_challenge(hostile in hostile()) {
        let Original { party, registration, created, authentication, asserted, .. } = &*ORIGINAL;
        let state = hostile.instead_of(&authentication.state);
        let known = stored(&ORIGINAL.credential);
        if party.finish_authentication(&tenant(), &state, asserted, Some(known)).is_ok() {
            prop_assert_eq!(asked(&state), asked(&authentication.state));
        }
        let state = hostile.instead_of(&registration.state);
        if party.finish_registration(&tenant(), &state, created).is_ok() {
            prop_assert_eq!(asked(&state), asked(&registration.state));
        }
    }

    #[test]
    fn json_is_refused_or_read_as_the_original(hostile in hostile()) {
        let original = &ORIGINAL.asserted;
        let json = json_of(&original.credential_id, &json!({
            "clientDataJSON": BASE64URL_NOPAD.encode(&original.client_data),
            "authenticatorData": BASE64URL_NOPAD.encode(&original.authenticator_data),
            "signature": BASE64URL_NOPAD.encode(&original.signature),
        }));
        let changed = hostile.instead_of(json.as_bytes());
        if let Ok(read) = AssertionResponse::from_json(&String::from_utf8_lossy(&changed)) {
            // The domain compares user handles.
            let same = AssertionResponse { user_handle: original.user_handle.clone(), ..read.clone() } == *original;
            prop_assert_eq!(ORIGINAL.authenticate(&read).is_none(), same);
        }

        let original = &ORIGINAL.created;
        let json = json_of(&original.credential_id, &json!({
            "clientDataJSON": BASE64URL_NOPAD.encode(&original.client_data),
            "attestationObject": BASE64URL_NOPAD.encode(&original.attestation_object),
        }));
        let changed = hostile.instead_of(json.as_bytes());
        if let Ok(read) = RegistrationResponse::from_json(&String::from_utf8_lossy(&changed)) {
            // Hints of the browser, which nobody signs.
            let RegistrationResponse { transports, discoverable, .. } = original.clone();
            let same = RegistrationResponse { transports, discoverable, ..read.clone() } == *original;
            prop_assert_eq!(refusal(ORIGINAL.register(&read)).is_none(), same);
        }
    }
}

fn json_of(id: &CredentialId, response: &Value) -> String {
    let id = id.to_string();
    json!({ "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": response })
        .to_string()
}

/// The version and the challenge of a state.
fn asked(state: &[u8]) -> [Value; 2] {
    let state: Value = serde_json::from_slice(state).unwrap();
    ["v", "challenge"].map(|member| state[member].clone())
}
