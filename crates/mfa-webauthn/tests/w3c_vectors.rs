//! The test vectors of Web Authentication Level 3, section 16, in whole ceremonies.
//!
//! The file with the vectors is not part of the repository. `WEBAUTHN_VECTORS` is its path; without it the test
//! looks beside the clone.

use std::path::{Path, PathBuf};

use ciborium::Value;
use data_encoding::HEXLOWER_PERMISSIVE;
use mfa_domain::passkey::{AssertionResponse, CredentialId, RegistrationResponse};
use mfa_domain::ports::CredentialRefusal::{self, Algorithm, Attestation, CrossOrigin, PublicKey};

use crate::published::{authenticate, imported, register, relying_party};
use crate::support::{failed, refusal};

/// A vector, how its registration and its assertion are refused if they are, and why.
type Row = (&'static str, Option<CredentialRefusal>, Option<CredentialRefusal>, &'static str);

/// What is expected. The README shows it.
const TABLE: [Row; 15] = [
    ("ES256 Credential with No Attestation", None, None, ""),
    ("ES256 Credential with Self Attestation", None, None, ""),
    (
        "ES256 Credential with \"crossOrigin\": true in clientDataJSON",
        Some(CrossOrigin),
        Some(CrossOrigin),
        "made in a frame, and the browser does not tell of which site",
    ),
    (
        "ES256 Credential with \"topOrigin\" in clientDataJSON",
        Some(CrossOrigin),
        Some(CrossOrigin),
        "made in a frame; the assertion is accepted when the site is one of `top_origins`",
    ),
    ("ES256 Credential with very long credential ID", None, None, ""),
    ("Packed Attestation with ES256 Credential", None, None, ""),
    ("Packed Attestation with ES384 Credential", None, None, ""),
    (
        "Packed Attestation with ES512 Credential",
        Some(Algorithm),
        Some(Algorithm),
        "neither webauthn-rs-core nor ring has P-521",
    ),
    (
        "Packed Attestation with RS256 Credential",
        Some(PublicKey),
        None,
        "webauthn-rs-core takes RSA keys of 2,048 bits only; this one has 3,488",
    ),
    ("Packed Attestation with Ed25519 Credential", Some(Algorithm), None, "webauthn-rs-core has no Ed25519"),
    ("Packed Attestation with Ed448 Credential", Some(Algorithm), Some(Algorithm), "no library has Ed448"),
    (
        "TPM Attestation with ES256 Credential",
        Some(PublicKey),
        None,
        "webauthn-rs-core takes TPMs with RSA keys only",
    ),
    (
        "Android Key Attestation with ES256 Credential",
        Some(Attestation),
        None,
        "webauthn-rs-core refuses its certificate (`AttestationStatementX5CInvalid`)",
    ),
    ("Apple Anonymous Attestation with ES256 Credential", None, None, ""),
    ("FIDO U2F Attestation with ES256 Credential", None, None, ""),
];

#[test]
fn the_vectors_of_the_standard_are_accepted_or_refused_as_the_table_says() {
    let Some(vectors) = vectors() else { return };
    assert_eq!(vectors.len(), TABLE.len());
    let mut differences = Vec::new();
    for (vector, (name, registration, assertion, _)) in vectors.iter().zip(TABLE) {
        assert_eq!(vector.name, name);
        let seen = vector.refusals(&[]);
        if seen != (registration, assertion) {
            differences.push(format!("{name}: {seen:?}"));
        }
    }
    assert!(differences.is_empty(), "seen was:\n{}", differences.join("\n"));
}

#[test]
fn assertions_in_frames_are_accepted_where_the_browser_names_a_configured_site() {
    let Some(vectors) = vectors() else { return };
    for vector in vectors.iter().filter(|vector| vector.name.contains("Origin\"")) {
        let refused = (Some(CrossOrigin), Some(CrossOrigin));
        let named = vector.name.contains("topOrigin");
        let expected = if named { (Some(CrossOrigin), None) } else { refused };
        assert_eq!(vector.refusals(&["https://example.com"]), expected, "{}", vector.name);
        assert_eq!(vector.refusals(&["https://example.net"]), refused, "{}", vector.name);
    }
}

#[test]
fn the_readme_shows_the_table_of_the_vectors() {
    let readme = include_str!("../README.md");
    let (begin, end) = ("<!-- W3C vectors: begin -->\n", "<!-- W3C vectors: end -->");
    let shown = readme.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let shown = shown.expect("the README has the marks of the table").0;
    let table = markdown();
    assert_eq!(shown.trim(), table.trim(), "the table must be:\n\n{table}");
}

fn markdown() -> String {
    let word = |refusal: Option<CredentialRefusal>| {
        refusal.map_or_else(|| "accepted".to_owned(), |refusal| format!("refused: `{}`", refusal.as_str()))
    };
    let rows = TABLE.map(|(name, registration, assertion, why)| {
        format!("| {name} | {} | {} | {why} |\n", word(registration), word(assertion))
    });
    let table = format!("| Vector | Registration | Assertion | Why |\n|---|---|---|---|\n{}", rows.concat());
    table.replace("|  |", "| |")
}

/// A registration, and an assertion by the same credential, for `example.org`.
struct Vector {
    name: String,
    registration: (Vec<u8>, RegistrationResponse),
    assertion: (Vec<u8>, AssertionResponse),
}

impl Vector {
    fn of(json: &serde_json::Value) -> Self {
        let bytes = |pointer: &str| {
            let text = json.pointer(pointer).and_then(|value| value.as_str());
            HEXLOWER_PERMISSIVE.decode(text.unwrap_or_else(|| panic!("{pointer}")).as_bytes()).unwrap()
        };
        let credential_id = CredentialId::new(bytes("/reg/credential_id")).unwrap();
        Self {
            name: json["name"].as_str().unwrap().to_owned(),
            registration: (
                bytes("/reg/challenge"),
                RegistrationResponse {
                    credential_id: credential_id.clone(),
                    client_data: bytes("/reg/clientDataJSON"),
                    attestation_object: bytes("/reg/attestationObject"),
                    transports: Vec::new(),
                    discoverable: None,
                },
            ),
            assertion: (
                bytes("/auth/challenge"),
                AssertionResponse {
                    credential_id,
                    client_data: bytes("/auth/clientDataJSON"),
                    authenticator_data: bytes("/auth/authenticatorData"),
                    signature: bytes("/auth/signature"),
                    user_handle: None,
                },
            ),
        }
    }

    /// How the registration and the assertion are refused. The assertion is checked with the key of the attestation
    /// object, so that it does not depend on the registration.
    fn refusals(&self, top_origins: &[&str]) -> (Option<CredentialRefusal>, Option<CredentialRefusal>) {
        let relying_party = relying_party("example.org", "https://example.org", top_origins);
        let (challenge, registration) = &self.registration;
        let registered = register(&relying_party, challenge, registration);
        let imported = imported("example.org", &registration.credential_id, &self.cose_key());
        let (challenge, assertion) = &self.assertion;
        if let Ok(registered) = &registered {
            assert_eq!(registered.passkey.credential_id, imported.passkey.credential_id);
            let with_it = authenticate(&relying_party, challenge, assertion, registered);
            with_it.unwrap_or_else(|error| panic!("{}, with the registered key: {error}", self.name));
        }
        let asserted = authenticate(&relying_party, challenge, assertion, &imported);
        // A stored key whose algorithm is not supported decides nothing.
        let asserted = if failed(&asserted) { Some(Algorithm) } else { refusal(asserted) };
        (refusal(registered), asserted)
    }

    /// The key is the last member of the attested credential data (Web Authentication Level 3, 6.5.1).
    fn cose_key(&self) -> Vec<u8> {
        let object: Value = ciborium::from_reader(self.registration.1.attestation_object.as_slice()).unwrap();
        let authenticator_data =
            object.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some("authData"));
        let authenticator_data = authenticator_data.unwrap().1.as_bytes().unwrap();
        let length = usize::from(u16::from_be_bytes([authenticator_data[53], authenticator_data[54]]));
        authenticator_data[55 + length..].to_vec()
    }
}

/// The vectors; `None` if the file is not there.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn vectors() -> Option<Vec<Vector>> {
    let path = std::env::var_os("WEBAUTHN_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs/w3c-webauthn-vectors.json"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!(
            "SKIPPED: {} is not there; WEBAUTHN_VECTORS is the path of the vectors of Web Authentication Level 3",
            path.display()
        );
        return None;
    };
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    Some(vectors.iter().map(Vector::of).collect())
}
