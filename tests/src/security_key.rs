//! A software authenticator for passkeys, with the browser around it. It shares no code with the server.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// An authenticator with one passkey, used on the page of one origin.
///
/// What a test sets here is stated and signed as it is, right or wrong.
#[derive(Clone)]
pub struct SecurityKey {
    /// The origin of the page.
    pub origin: String,
    /// Whether the page is in a frame of another site.
    pub cross_origin: bool,
    /// The site around the frame, if the browser tells it.
    pub top_origin: Option<String>,
    /// The relying party; that of the options if `None`.
    pub rp_id: Option<String>,
    /// The flags of authenticator data (Web Authentication Level 3, 6.1), without that of a new credential.
    pub flags: u8,
    /// The signature counter of the next response. 0 for an authenticator without one.
    pub sign_count: u32,
    /// How browsers reach the authenticator; `None` if the browser does not tell.
    pub transports: Option<Vec<&'static str>>,
    /// The user handle, in base64url; `None` for a credential that is not discoverable.
    pub user_handle: Option<String>,
    /// The id of the credential.
    pub id: Vec<u8>,
    key: Arc<PrivateKey>,
}

enum PrivateKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The flag of authenticator data that says that a credential follows.
const ATTESTED: u8 = 1 << 6;

impl SecurityKey {
    /// Flag: the user touched the authenticator.
    pub const PRESENT: u8 = 1;
    /// Flag: a PIN or a biometric verified the user.
    pub const VERIFIED: u8 = 1 << 2;
    /// Flag: the passkey can be on several devices.
    pub const BACKUP_ELIGIBLE: u8 = 1 << 3;
    /// Flag: it is backed up.
    pub const BACKED_UP: u8 = 1 << 4;

    /// A new passkey of the algorithm ES256, whose user is verified. It has no counter, and is on one device.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self::with(origin, PrivateKey::p256())
    }

    /// One of the algorithm Ed25519.
    #[must_use]
    pub fn ed25519(origin: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        Self::with(origin, PrivateKey::Ed25519(key))
    }

    fn with(origin: &str, key: PrivateKey) -> Self {
        let mut id = vec![0; 32];
        SystemRandom::new().fill(&mut id).expect("randomness");
        Self {
            origin: origin.to_owned(),
            cross_origin: false,
            top_origin: None,
            rp_id: None,
            flags: Self::PRESENT | Self::VERIFIED,
            sign_count: 0,
            transports: Some(vec!["internal"]),
            user_handle: None,
            id,
            key: Arc::new(key),
        }
    }

    /// A forgery: it claims the same id and user, and has another private key.
    #[must_use]
    pub fn forged(&self) -> Self {
        Self { key: Arc::new(PrivateKey::p256()), ..self.clone() }
    }

    /// Another new passkey, in the same circumstances.
    #[must_use]
    pub fn another(&self) -> Self {
        let Self { id, key, .. } = Self::new(&self.origin);
        Self { id, key, user_handle: None, ..self.clone() }
    }

    /// The same passkey with changes.
    #[must_use]
    pub fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    /// The id of the credential, as in JSON.
    #[must_use]
    pub fn id(&self) -> String {
        BASE64URL_NOPAD.encode(&self.id)
    }

    /// What `navigator.credentials.create()` returns for these options, in its JSON form. The passkey keeps the user
    /// handle.
    pub fn create(&mut self, options: &Value) -> Value {
        self.user_handle = Some(options["user"]["id"].as_str().expect("a user handle").to_owned());
        let client_data = self.client_data("webauthn.create", options);
        let mut data = self.authenticator_data(&options["rp"]["id"], ATTESTED);
        let length = u16::try_from(self.id.len()).expect("a length");
        data.extend([0; 16]);
        data.extend(length.to_be_bytes());
        data.extend(&self.id);
        data.extend(self.key.public());
        let object = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData"[..], &byte_string(&data)].concat();
        let mut response = json!({
            "clientDataJSON": BASE64URL_NOPAD.encode(client_data.as_bytes()),
            "attestationObject": BASE64URL_NOPAD.encode(&object),
        });
        if let Some(transports) = &self.transports {
            response["transports"] = json!(transports);
        }
        self.credential(&response)
    }

    /// What `navigator.credentials.get()` returns for these options, in its JSON form. Whether they allow this passkey
    /// is not looked at.
    #[must_use]
    pub fn get(&self, options: &Value) -> Value {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(&options["rpId"], 0);
        let message = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let mut response = json!({
            "clientDataJSON": BASE64URL_NOPAD.encode(client_data.as_bytes()),
            "authenticatorData": BASE64URL_NOPAD.encode(&data),
            "signature": BASE64URL_NOPAD.encode(&self.key.sign(&message)),
        });
        if let Some(handle) = &self.user_handle {
            response["userHandle"] = json!(handle);
        }
        self.credential(&response)
    }

    fn client_data(&self, ceremony: &str, options: &Value) -> String {
        let top = self.top_origin.as_ref().map(|top| format!(r#","topOrigin":{}"#, json!(top)));
        format!(
            r#"{{"type":"{ceremony}","challenge":{},"origin":{},"crossOrigin":{}{}}}"#,
            options["challenge"],
            json!(self.origin),
            self.cross_origin,
            top.unwrap_or_default(),
        )
    }

    fn authenticator_data(&self, rp_id: &Value, more_flags: u8) -> Vec<u8> {
        let rp_id = self.rp_id.as_deref().or(rp_id.as_str()).expect("a relying party");
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(self.flags | more_flags);
        data.extend(self.sign_count.to_be_bytes());
        data
    }

    fn credential(&self, response: &Value) -> Value {
        json!({
            "id": self.id(),
            "rawId": self.id(),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        })
    }
}

impl PrivateKey {
    fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key"))
    }

    /// As a COSE key (RFC 9053, 7.1 and 7.2).
    fn public(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                // An uncompressed point: 4, x, y.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                [&b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"[..], x, &b"\x22\x58\x20"[..], y].concat()
            }
            Self::Ed25519(key) => {
                [&b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20"[..], key.public_key().as_ref()].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// A byte string of 24 to 255 bytes (RFC 8949, 3.1).
fn byte_string(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short id");
    [&[0x58, length], bytes].concat()
}

impl fmt::Debug for SecurityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityKey").field("id", &self.id()).finish_non_exhaustive()
    }
}
