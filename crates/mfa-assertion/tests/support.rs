//! An issuer with a key pair of its own, and what a host expects of it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use data_encoding::BASE64URL_NOPAD;
use mfa_assertion::{Assertion, Expected, KeySet, Refusal, Verifier};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://mfa.example.com";
pub(crate) const AUDIENCE: &str = "acme";
pub(crate) const SUBJECT: &str = "alice";
pub(crate) const NONCE: &str = "f5x_8sBvWq3";

pub(crate) const EXPECTED: Expected<'static> = Expected { subject: SUBJECT, nonce: Some(NONCE) };

/// Signs assertions by one key.
pub(crate) struct Issuer {
    /// `ES256`, `EdDSA` or `Ed25519`.
    pub(crate) alg: &'static str,
    pub(crate) kid: &'static str,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    pub(crate) fn new(alg: &'static str) -> Self {
        Self::with_kid(alg, "key-1")
    }

    pub(crate) fn with_kid(alg: &'static str, kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let pair = if alg == "ES256" {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Pair::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
        } else {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
        };
        Self { alg, kid, pair }
    }

    /// The public key: a point (SEC 1, 2.3.3), or the 32 bytes of Ed25519.
    pub(crate) fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// As the server publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = json!({ "kid": self.kid, "alg": self.alg, "use": "sig" });
        match &self.pair {
            Pair::P256(_) => {
                let (x, y) = self.public_key()[1..].split_at(32);
                jwk["kty"] = json!("EC");
                jwk["crv"] = json!("P-256");
                jwk["x"] = json!(encoded(x));
                jwk["y"] = json!(encoded(y));
            }
            Pair::Ed25519(_) => {
                jwk["kty"] = json!("OKP");
                jwk["crv"] = json!("Ed25519");
                jwk["x"] = json!(encoded(self.public_key()));
            }
        }
        jwk
    }

    /// The key set with this key alone.
    pub(crate) fn keys(&self) -> KeySet {
        key_set(&[self.jwk()])
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "kid": self.kid, "typ": "mfa-assertion+jwt" })
    }

    /// An assertion with the usual header.
    pub(crate) fn assertion(&self, claims: &Value) -> String {
        self.signed(self.header().to_string(), claims.to_string())
    }

    /// A right signature of any header and claims.
    pub(crate) fn signed(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.signed_parts(&encoded(header.as_ref()), &encoded(claims.as_ref()))
    }

    /// The same of parts that are encoded already.
    pub(crate) fn signed_parts(&self, header: &str, claims: &str) -> String {
        let message = format!("{header}.{claims}");
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap(),
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()),
        };
        format!("{message}.{}", encoded(signature.as_ref()))
    }

    /// Verifies by the key of this issuer, at [`NOW`], as the usual host.
    pub(crate) fn verify(&self, jws: &str) -> Result<Assertion, Refusal> {
        verifier().verify(&self.keys(), jws, EXPECTED, NOW)
    }

    /// Verifies an assertion with the usual header and these claims.
    pub(crate) fn verify_claims(&self, claims: &Value) -> Result<Assertion, Refusal> {
        self.verify(&self.assertion(claims))
    }
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(ISSUER, AUDIENCE)
}

/// The claims of an assertion that is accepted at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": NOW - 5,
        "exp": NOW + 60,
        "jti": "q83vEjRWeJCrze8SNFZ4kA",
        "auth_time": NOW - 1,
        "amr": ["hwk", "user"],
        "acr": "high",
        "factor": "fct_2p2egftjojmab5ltxnmqwvdoaa",
        "tenant": "acme",
        "nonce": NONCE,
    })
}

/// The same with one claim changed, or without it.
pub(crate) fn claims_with(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => assert!(claims.as_object_mut().unwrap().remove(name).is_some(), "{name}"),
    }
    claims
}

pub(crate) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::from_json(&json!({ "keys": keys }).to_string()).unwrap()
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Header, claims and signature.
pub(crate) fn parts(jws: &str) -> [&str; 3] {
    jws.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// The output of a future that need not wait.
pub(crate) fn done<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing to wait for"),
    }
}
