//! The authenticator, and what it and the browser say.

use ciborium::Value as Cbor;
use mfa_domain::passkey::{AssertionResponse, CredentialId, RegistrationResponse};
use mfa_domain::ports::Ceremony;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::cbor::{encoded, named, numbered};
use super::{CHALLENGE_TEXT, ORIGIN, RP_ID, user_handle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Ed25519,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// An authenticator with one credential.
pub(crate) struct Authenticator {
    pub(crate) credential_id: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    key: Key,
}

/// How a new credential proves where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// `none`.
    Nothing,
    /// `packed`, signed by the credential itself.
    Own,
    /// `packed`, signed by the key of `attestation.pem`.
    Certificate,
    /// `fido-u2f`, signed by the same key. The authenticator has a key for ES256.
    U2f,
}

/// What is returned at registration.
pub(crate) struct Created {
    pub(crate) client_data: Value,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) sign_count: u32,
    pub(crate) aaguid: [u8; 16],
    pub(crate) public_key: Cbor,
    /// In authenticator data.
    pub(crate) credential_id: Vec<u8>,
    /// Beside it, as the browser returns it.
    pub(crate) returned_id: Vec<u8>,
    /// What follows the credential in authenticator data.
    pub(crate) rest: Vec<u8>,
    pub(crate) format: String,
    pub(crate) evidence: Evidence,
    /// Changes the signature of the attestation statement.
    pub(crate) forged: bool,
    /// Changes the attestation object at last.
    pub(crate) spoil: fn(&mut Vec<u8>),
}

/// What is returned at authentication.
pub(crate) struct Stated {
    pub(crate) client_data: Value,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) sign_count: u32,
    pub(crate) rest: Vec<u8>,
    pub(crate) credential_id: Vec<u8>,
    /// Changes the response after it was signed.
    pub(crate) spoil: fn(&mut AssertionResponse),
}

/// Flags of authenticator data (6.1).
pub(crate) mod flag {
    pub(crate) const PRESENT: u8 = 1;
    pub(crate) const VERIFIED: u8 = 1 << 2;
    pub(crate) const ELIGIBLE: u8 = 1 << 3;
    pub(crate) const BACKED_UP: u8 = 1 << 4;
    pub(crate) const ATTESTED: u8 = 1 << 6;
    pub(crate) const EXTENSIONS: u8 = 1 << 7;
    pub(crate) const RESERVED: u8 = 1 << 1 | 1 << 5;
}

impl Authenticator {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::Es256 => Key::Ecdsa(ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)),
            Algorithm::Es384 => Key::Ecdsa(ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)),
            // Generating one takes seconds.
            Algorithm::Rs256 => {
                let pkcs8 = pkcs8(include_bytes!("../data/rs256.pem"));
                Key::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())
            }
            Algorithm::Ed25519 => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
                Key::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
        };
        Self { credential_id: b"credential".to_vec(), algorithm, key }
    }

    pub(crate) fn alg(&self) -> i64 {
        match self.algorithm {
            Algorithm::Es256 => -7,
            Algorithm::Es384 => -35,
            Algorithm::Rs256 => -257,
            Algorithm::Ed25519 => -8,
        }
    }

    /// The COSE key (RFC 9053, 7; RFC 8230, 4).
    pub(crate) fn public_key(&self) -> Cbor {
        let alg = Cbor::from(self.alg());
        match &self.key {
            Key::Ecdsa(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == Algorithm::Es256 { 1 } else { 2 };
                numbered([(1, 2.into()), (3, alg), (-1, curve.into()), (-2, bytes(x)), (-3, bytes(y))])
            }
            Key::Rsa(key) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                numbered([(1, 3.into()), (3, alg), (-1, bytes(&n)), (-2, bytes(&e))])
            }
            Key::Ed25519(key) => {
                numbered([(1, 1.into()), (3, alg), (-1, 6.into()), (-2, bytes(key.public_key().as_ref()))])
            }
        }
    }

    /// The uncompressed point of a public key on a curve of NIST.
    pub(crate) fn point(&self) -> Option<&[u8]> {
        if let Key::Ecdsa(key) = &self.key { Some(key.public_key().as_ref()) } else { None }
    }

    /// For a passkey that was imported: the public key of Ed25519.
    pub(crate) fn ed25519(&self) -> Option<&[u8]> {
        if let Key::Ed25519(key) = &self.key { Some(key.public_key().as_ref()) } else { None }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Ecdsa(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

impl Created {
    /// What a good browser and a good authenticator return.
    pub(crate) fn answering(ceremony: &Ceremony, authenticator: &Authenticator) -> Self {
        let options: Value = serde_json::from_str(&ceremony.options).unwrap();
        Self {
            client_data: json!({
                "type": "webauthn.create", "challenge": options["challenge"], "origin": ORIGIN, "crossOrigin": false,
            }),
            rp_id: RP_ID.to_owned(),
            flags: flag::PRESENT | flag::VERIFIED | flag::ATTESTED,
            sign_count: 5,
            aaguid: *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
            public_key: authenticator.public_key(),
            credential_id: authenticator.credential_id.clone(),
            returned_id: authenticator.credential_id.clone(),
            rest: Vec::new(),
            format: "none".to_owned(),
            evidence: Evidence::Nothing,
            forged: false,
            spoil: |_| {},
        }
    }

    pub(crate) fn proved_by(self, evidence: Evidence) -> Self {
        let format = match evidence {
            Evidence::Nothing => "none",
            Evidence::Own | Evidence::Certificate => "packed",
            Evidence::U2f => "fido-u2f",
        };
        Self { format: format.to_owned(), evidence, ..self }
    }

    /// Adds what claims to be extensions.
    pub(crate) fn extend(&mut self, extensions: &[u8]) {
        self.flags |= flag::EXTENSIONS;
        self.rest = extensions.to_vec();
    }

    pub(crate) fn response(&self, authenticator: &Authenticator) -> RegistrationResponse {
        let client_data = self.client_data.to_string().into_bytes();
        let mut data = authenticator_data(&self.rp_id, self.flags, self.sign_count);
        if self.flags & flag::ATTESTED != 0 {
            data.extend(self.aaguid);
            data.extend(u16::try_from(self.credential_id.len()).unwrap().to_be_bytes());
            data.extend(&self.credential_id);
            data.extend(encoded(&self.public_key));
        }
        data.extend(&self.rest);
        let message = if self.evidence == Evidence::U2f {
            self.signed_by_u2f(authenticator, &client_data)
        } else {
            signed(&data, &client_data)
        };
        let statement = self.statement(authenticator, &message);
        let format = self.format.as_str().into();
        let object = named([("fmt", format), ("attStmt", statement), ("authData", bytes(&data))]);
        let mut attestation_object = encoded(&object);
        (self.spoil)(&mut attestation_object);
        RegistrationResponse {
            credential_id: CredentialId::new(self.returned_id.clone()).unwrap(),
            client_data,
            attestation_object,
            transports: vec!["internal".to_owned()],
            discoverable: Some(true),
        }
    }

    fn statement(&self, authenticator: &Authenticator, message: &[u8]) -> Cbor {
        let signature = |mut signature: Vec<u8>| {
            // The last byte: the form stays right.
            *signature.last_mut().unwrap() ^= u8::from(self.forged);
            bytes(&signature)
        };
        match self.evidence {
            Evidence::Nothing => named([]),
            Evidence::Own => {
                named([("alg", authenticator.alg().into()), ("sig", signature(authenticator.sign(message)))])
            }
            Evidence::Certificate | Evidence::U2f => {
                let pkcs8 = pkcs8(include_bytes!("../data/attestation_key.pem"));
                let random = SystemRandom::new();
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random).unwrap();
                let certificate =
                    CertificateDer::from_pem_slice(include_bytes!("../data/attestation.pem")).unwrap();
                let chain = Cbor::Array(vec![bytes(&certificate)]);
                let sig = signature(key.sign(&random, message).unwrap().as_ref().to_vec());
                if self.evidence == Evidence::U2f {
                    named([("sig", sig), ("x5c", chain)])
                } else {
                    named([("alg", (-7).into()), ("sig", sig), ("x5c", chain)])
                }
            }
        }
    }

    /// What U2F signs: no AAGUID and no flags (8.6).
    fn signed_by_u2f(&self, authenticator: &Authenticator, client_data: &[u8]) -> Vec<u8> {
        let (rp_id, client_data) = (digest(&SHA256, self.rp_id.as_bytes()), digest(&SHA256, client_data));
        let point = authenticator.point().unwrap();
        [&[0][..], rp_id.as_ref(), client_data.as_ref(), &self.credential_id, point].concat()
    }
}

impl Stated {
    /// What a good browser and a good authenticator return.
    pub(crate) fn answering(authenticator: &Authenticator) -> Self {
        Self {
            client_data: json!({
                "type": "webauthn.get", "challenge": CHALLENGE_TEXT, "origin": ORIGIN, "crossOrigin": false,
            }),
            rp_id: RP_ID.to_owned(),
            flags: flag::PRESENT | flag::VERIFIED,
            sign_count: 6,
            rest: Vec::new(),
            credential_id: authenticator.credential_id.clone(),
            spoil: |_| {},
        }
    }

    /// Adds what claims to be extensions.
    pub(crate) fn extend(&mut self, extensions: &[u8]) {
        self.flags |= flag::EXTENSIONS;
        self.rest = extensions.to_vec();
    }

    pub(crate) fn response(&self, authenticator: &Authenticator) -> AssertionResponse {
        self.response_with(authenticator, self.client_data.to_string().into_bytes())
    }

    /// With client data that need not be JSON.
    pub(crate) fn response_with(
        &self,
        authenticator: &Authenticator,
        client_data: Vec<u8>,
    ) -> AssertionResponse {
        let mut data = authenticator_data(&self.rp_id, self.flags, self.sign_count);
        data.extend(&self.rest);
        let signature = authenticator.sign(&signed(&data, &client_data));
        let mut response = AssertionResponse {
            credential_id: CredentialId::new(self.credential_id.clone()).unwrap(),
            client_data,
            authenticator_data: data,
            signature,
            user_handle: Some(user_handle()),
        };
        (self.spoil)(&mut response);
        response
    }
}

fn authenticator_data(rp_id: &str, flags: u8, sign_count: u32) -> Vec<u8> {
    [digest(&SHA256, rp_id.as_bytes()).as_ref(), &[flags], &sign_count.to_be_bytes()].concat()
}

fn signed(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, digest(&SHA256, client_data).as_ref()].concat()
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

fn pkcs8(pem: &[u8]) -> Vec<u8> {
    PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap().secret_pkcs8_der().to_vec()
}

fn bytes(bytes: &[u8]) -> Cbor {
    Cbor::Bytes(bytes.to_vec())
}
