//! An authenticator without cryptography, together with its browser.

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{Aaguid, CredentialId, PublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ALGORITHM, CREATE, GET, origin, signature, text};

/// An authenticator whose passkeys a [`FakeWebauthn`](super::FakeWebauthn) accepts. It takes and returns JSON, as a page
/// that calls `navigator.credentials` does.
///
/// What it states can be changed between two ceremonies. A clone is a copy with the same passkeys, as an attacker may
/// have one.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "these are the flags of the standard")]
pub struct FakeAuthenticator {
    /// Its model.
    pub aaguid: Aaguid,
    /// How browsers reach it; if empty, the browser does not tell.
    pub transports: Vec<String>,
    /// Whether it asks for a PIN or a biometric, whatever the options say.
    pub user_verifies: bool,
    /// Whether its passkeys can be on several devices.
    pub backup_eligible: bool,
    /// Whether they are.
    pub backed_up: bool,
    /// The next signature counter. 0 stays 0: it does not count.
    pub sign_count: u32,
    /// Whether new passkeys can be used without an id, and whether they remember their user.
    pub discoverable: bool,
    /// Whether its certificate leads to a root that the relying party trusts.
    pub attested: bool,
    /// The id of the next passkey, which is then made in spite of the list of excluded ones.
    pub next_id: Option<CredentialId>,
    name: String,
    made: u64,
    credentials: Vec<Credential>,
}

#[derive(Clone, Debug)]
struct Credential {
    id: String,
    rp_id: String,
    /// The user handle, if the authenticator remembers it.
    user: Option<Value>,
    public_key: PublicKey,
}

impl FakeAuthenticator {
    /// The model of [`FakeAuthenticator::synced`].
    pub const AAGUID: Aaguid = Aaguid(*b"fake keychain v1");

    /// A password manager, whose passkeys are on all devices of its user: it verifies its user, and does not count.
    ///
    /// Two of the same name make the same credential ids.
    #[must_use]
    pub fn synced(name: &str) -> Self {
        Self {
            aaguid: Self::AAGUID,
            transports: vec!["hybrid".to_owned(), "internal".to_owned()],
            user_verifies: true,
            backup_eligible: true,
            backed_up: true,
            sign_count: 0,
            discoverable: true,
            attested: false,
            next_id: None,
            name: name.to_owned(),
            made: 0,
            credentials: Vec::new(),
        }
    }

    /// A security key without a PIN: it counts, its passkeys never leave it, and it needs their ids. Its model is
    /// hidden.
    ///
    /// Two of the same name make the same credential ids.
    #[must_use]
    pub fn security_key(name: &str) -> Self {
        Self {
            aaguid: Aaguid::default(),
            transports: vec!["usb".to_owned()],
            user_verifies: false,
            backup_eligible: false,
            backed_up: false,
            sign_count: 1,
            discoverable: false,
            ..Self::synced(name)
        }
    }

    /// Makes a passkey, and returns the JSON form of the new credential. `options` is the `publicKey` member of the
    /// options for `navigator.credentials.create()`. `None` if the options exclude a passkey that it has.
    ///
    /// # Panics
    /// If `options` are not JSON.
    #[must_use]
    pub fn create(&mut self, options: &str) -> Option<String> {
        let options: Value = serde_json::from_str(options).unwrap();
        let rp_id = text(&options["rp"]["id"]);
        let excluded = ids(&options["excludeCredentials"]);
        let has = |id: &&str| self.credentials.iter().any(|own| own.rp_id == rp_id && own.id == *id);
        if self.next_id.is_none() && excluded.iter().any(has) {
            return None;
        }
        let id = self.next_id.take().map_or_else(|| self.fresh_id(), |id| id.to_string());
        let key = Sha256::new().chain_update(b"fake key").chain_update(&self.name).chain_update(&id);
        let key = BASE64URL_NOPAD.encode(&key.finalize());
        let public_key = PublicKey::new(json!({"kty": "oct", "alg": ALGORITHM, "k": key}).to_string());
        let mut data = self.data(rp_id);
        data["credential_id"] = json!(id);
        data["public_key"] = json!(public_key.as_str());
        data["aaguid"] = json!(self.aaguid.to_string());
        data["attested"] = json!(self.attested);
        let mut response = json!({
            "clientDataJSON": encoded(&client_data(CREATE, &options, rp_id)),
            "attestationObject": encoded(&data.to_string()),
        });
        if !self.transports.is_empty() {
            response["transports"] = json!(self.transports);
        }
        let created = json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {"credProps": {"rk": self.discoverable}},
        });
        let user = self.discoverable.then(|| options["user"]["id"].clone());
        self.credentials.retain(|own| own.id != id);
        self.credentials.push(Credential { id, rp_id: rp_id.to_owned(), user, public_key });
        Some(created.to_string())
    }

    /// Signs, and returns the JSON form of the assertion. `options` is the `publicKey` member of the options for
    /// `navigator.credentials.get()`. Of several passkeys that are allowed, the latest is used; `None` if there is
    /// none.
    ///
    /// # Panics
    /// If `options` are not JSON.
    #[must_use]
    pub fn get(&mut self, options: &str) -> Option<String> {
        let options: Value = serde_json::from_str(options).unwrap();
        let rp_id = text(&options["rpId"]);
        let allowed = ids(&options["allowCredentials"]);
        let is_allowed = |own: &&Credential| {
            own.rp_id == rp_id
                && if allowed.is_empty() { own.user.is_some() } else { allowed.contains(&own.id.as_str()) }
        };
        let Credential { id, user, public_key, .. } = self.credentials.iter().rev().find(is_allowed)?.clone();
        let (data, client_data) = (self.data(rp_id).to_string(), client_data(GET, &options, rp_id));
        let mut response = json!({
            "clientDataJSON": encoded(&client_data),
            "authenticatorData": encoded(&data),
            "signature": BASE64URL_NOPAD.encode(&signature(&public_key, data.as_bytes(), client_data.as_bytes())),
        });
        if let Some(user) = user {
            response["userHandle"] = user;
        }
        let signed = json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        });
        Some(signed.to_string())
    }

    /// What it states about itself. Counts.
    fn data(&mut self, rp_id: &str) -> Value {
        let sign_count = self.sign_count;
        if sign_count > 0 {
            self.sign_count = sign_count.saturating_add(1);
        }
        json!({
            "rp_id": rp_id,
            "user_verified": self.user_verifies,
            "backup_eligible": self.backup_eligible,
            "backed_up": self.backed_up,
            "sign_count": sign_count,
        })
    }

    fn fresh_id(&mut self) -> String {
        self.made += 1;
        let id = Sha256::new()
            .chain_update(b"fake credential")
            .chain_update(&self.name)
            .chain_update(self.made.to_be_bytes());
        BASE64URL_NOPAD.encode(&id.finalize()[..20])
    }
}

fn client_data(sort: &str, options: &Value, rp_id: &str) -> String {
    json!({"type": sort, "challenge": options["challenge"], "origin": origin(rp_id)}).to_string()
}

/// The ids in a list of credentials.
fn ids(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|credential| text(&credential["id"])).collect()
}

fn encoded(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}
