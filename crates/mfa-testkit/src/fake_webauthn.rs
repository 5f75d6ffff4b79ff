//! A relying party without cryptography.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{
    Aaguid, AssertionResponse, Attestation, PublicKey, RegistrationResponse, ResidentKey, UserHandle,
    UserVerification,
};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, CredentialHint, CredentialRefusal,
    KnownCredential, NewCredential, RegistrationRequest, Webauthn, WebauthnError,
};
use mfa_domain::{Passkey, TenantId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod authenticator;

pub use authenticator::FakeAuthenticator;

/// A relying party that accepts what a [`FakeAuthenticator`] returns for its options, and nothing else: a response is
/// bound to the challenge, the relying party, the credential id, and the user handle. **For tests only**: whoever has
/// the public key can sign.
///
/// It is the same relying party for all tenants. Its origin is `https://` and its id.
///
/// ```
/// use mfa_domain::TenantId;
/// use mfa_domain::passkey::AssertionResponse;
/// use mfa_domain::ports::{AuthenticationRequest, KnownCredential, NewCredential, Webauthn};
/// use mfa_testkit::{FakeAuthenticator, FakeWebauthn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (webauthn, acme) = (FakeWebauthn::default(), TenantId::new("acme")?);
/// let mut phone = FakeAuthenticator::synced("phone");
/// # let request = mfa_domain::ports::RegistrationRequest {
/// #     user_handle: &mfa_domain::passkey::UserHandle::new([7])?,
/// #     user_name: "alice",
/// #     display_name: "",
/// #     exclude: Vec::new(),
/// #     user_verification: Default::default(),
/// #     resident_key: Default::default(),
/// #     timeout: std::time::Duration::from_secs(60),
/// # };
/// let begun = webauthn.begin_registration(&acme, &request)?;
/// let credential = phone.create(&begun.options).ok_or("excluded")?;
/// # let response = mfa_domain::passkey::RegistrationResponse::from_json(&credential)?;
/// let new = webauthn.finish_registration(&acme, &begun.state, &response)?;
/// let NewCredential { passkey, public_key } = &new;
/// # let request = AuthenticationRequest {
/// #     challenge: [1; 32],
/// #     allow: None,
/// #     user_verification: Default::default(),
/// #     timeout: std::time::Duration::from_secs(60),
/// # };
/// let begun = webauthn.begin_authentication(&acme, &request)?;
/// let response = AssertionResponse::from_json(&phone.get(&begun.options).ok_or("no passkey")?)?;
/// let known = Some(KnownCredential { passkey, public_key });
/// let assertion = webauthn.finish_authentication(&acme, &begun.state, &response, known)?;
/// assert!(assertion.user_verified);
/// assert!(webauthn.finish_authentication(&acme, &begun.state, &response, None).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FakeWebauthn {
    rp_id: String,
    challenges: AtomicU64,
    fails: AtomicBool,
    refusal: Mutex<Option<CredentialRefusal>>,
}

/// The `type` of client data.
const CREATE: &str = "webauthn.create";
const GET: &str = "webauthn.get";

/// The `alg` of public keys.
const ALGORITHM: &str = "fake";

impl FakeWebauthn {
    /// The public name of [`FakeAuthenticator::AAGUID`]. No other model has one.
    pub const MODEL: &'static str = "Fake Keychain";

    /// A relying party with this id.
    #[must_use]
    pub fn new(rp_id: &str) -> Self {
        Self {
            rp_id: rp_id.to_owned(),
            challenges: AtomicU64::new(0),
            fails: AtomicBool::new(false),
            refusal: Mutex::new(None),
        }
    }

    /// Sets the step at which every response is refused, right or wrong; `None` ends that.
    pub fn refuse(&self, refusal: impl Into<Option<CredentialRefusal>>) {
        *self.refusal.lock().unwrap() = refusal.into();
    }

    /// Sets whether every call fails, as with a broken configuration.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn check_fault(&self) -> Result<(), WebauthnError> {
        if self.fails.load(Ordering::SeqCst) { Err(WebauthnError::new("told to fail")) } else { Ok(()) }
    }

    /// Reads the state of a ceremony of this sort.
    fn resume(&self, sort: &str, state: &[u8]) -> Result<Value, CeremonyError> {
        self.check_fault()?;
        let state: Value = serde_json::from_slice(state).map_err(WebauthnError::new)?;
        if state["type"] != sort {
            return Err(WebauthnError::new("the state of another ceremony").into());
        }
        let told = *self.refusal.lock().unwrap();
        told.map_or(Ok(state), |refusal| Err(refusal.into()))
    }

    fn check_client_data(&self, state: &Value, client_data: &[u8]) -> Result<(), CredentialRefusal> {
        let client: Value = serde_json::from_slice(client_data).map_err(|_| CredentialRefusal::ClientData)?;
        if client["type"] != state["type"] {
            Err(CredentialRefusal::Type)
        } else if client["challenge"] != state["challenge"] {
            Err(CredentialRefusal::Challenge)
        } else if client["origin"] != origin(&self.rp_id) {
            Err(CredentialRefusal::Origin)
        } else {
            Ok(())
        }
    }

    /// Reads the data of an authenticator, and checks its flags.
    fn checked_data(&self, state: &Value, data: &[u8]) -> Result<Value, CredentialRefusal> {
        let data: Value = serde_json::from_slice(data).map_err(|_| CredentialRefusal::AuthenticatorData)?;
        if data["rp_id"] != self.rp_id {
            Err(CredentialRefusal::RelyingParty)
        } else if is_set(&state["requires_verification"]) && !is_set(&data["user_verified"]) {
            Err(CredentialRefusal::UserVerification)
        } else if is_set(&data["backed_up"]) && !is_set(&data["backup_eligible"]) {
            Err(CredentialRefusal::BackupState)
        } else {
            Ok(data)
        }
    }
}

impl Default for FakeWebauthn {
    /// With the id `example.com`.
    fn default() -> Self {
        Self::new("example.com")
    }
}

impl Webauthn for FakeWebauthn {
    fn rp_id(&self, _: &TenantId) -> &str {
        &self.rp_id
    }

    fn begin_registration(
        &self,
        _: &TenantId,
        request: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.check_fault()?;
        let number = self.challenges.fetch_add(1, Ordering::SeqCst);
        let hash = Sha256::new().chain_update(b"fake challenge").chain_update(number.to_be_bytes());
        let challenge = BASE64URL_NOPAD.encode(&hash.finalize());
        let user = request.user_handle.to_string();
        let options = json!({
            "rp": {"id": self.rp_id, "name": self.rp_id},
            "user": {"id": user, "name": request.user_name, "displayName": request.display_name},
            "challenge": challenge,
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
            "timeout": milliseconds(request.timeout),
            "excludeCredentials": descriptors(&request.exclude),
            "authenticatorSelection": {
                "residentKey": request.resident_key.as_str(),
                "requireResidentKey": request.resident_key == ResidentKey::Required,
                "userVerification": request.user_verification.as_str(),
            },
            "attestation": "none",
            "extensions": {"credProps": true},
        });
        let state = json!({
            "type": CREATE,
            "challenge": challenge,
            "user": user,
            "requires_verification": request.user_verification == UserVerification::Required,
        });
        Ok(Ceremony { options: options.to_string(), state: state.to_string().into() })
    }

    fn finish_registration(
        &self,
        _: &TenantId,
        state: &[u8],
        response: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        let state = self.resume(CREATE, state)?;
        self.check_client_data(&state, &response.client_data)?;
        let data = self.checked_data(&state, &response.attestation_object)?;
        if data["credential_id"] != response.credential_id.to_string() {
            return Err(CredentialRefusal::CredentialId.into());
        }
        let user = BASE64URL_NOPAD.decode(text(&state["user"]).as_bytes()).map_err(WebauthnError::new)?;
        let trusted = is_set(&data["attested"]);
        let passkey = Passkey {
            credential_id: response.credential_id.clone(),
            user_handle: UserHandle::new(user).map_err(WebauthnError::new)?,
            rp_id: self.rp_id.clone(),
            sign_count: sign_count(&data)?,
            aaguid: text(&data["aaguid"]).parse().map_err(|_| CredentialRefusal::AuthenticatorData)?,
            transports: response.transports.clone(),
            discoverable: response.discoverable,
            user_verified: is_set(&data["user_verified"]),
            backup_eligible: Some(is_set(&data["backup_eligible"])),
            backed_up: is_set(&data["backed_up"]),
            attestation: Attestation { format: if trusted { "fake" } else { "none" }.to_owned(), trusted },
        };
        Ok(NewCredential { passkey, public_key: PublicKey::new(text(&data["public_key"])) })
    }

    fn begin_authentication(
        &self,
        _: &TenantId,
        request: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.check_fault()?;
        let challenge = BASE64URL_NOPAD.encode(&request.challenge);
        let mut options = json!({
            "challenge": challenge,
            "timeout": milliseconds(request.timeout),
            "rpId": self.rp_id,
            "userVerification": request.user_verification.as_str(),
        });
        match &request.allow {
            Some(allow) if allow.is_empty() => {
                return Err(WebauthnError::new("an empty list would allow every credential"));
            }
            Some(allow) => options["allowCredentials"] = descriptors(allow).into(),
            None => {}
        }
        let state = json!({
            "type": GET,
            "challenge": challenge,
            "requires_verification": request.user_verification == UserVerification::Required,
        });
        Ok(Ceremony { options: options.to_string(), state: state.to_string().into() })
    }

    /// Without a passkey, the refusal is that of a wrong signature.
    fn finish_authentication(
        &self,
        _: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        let state = self.resume(GET, state)?;
        self.check_client_data(&state, &response.client_data)?;
        let data = self.checked_data(&state, &response.authenticator_data)?;
        let is_right = |KnownCredential { passkey, public_key }: KnownCredential<'_>| {
            passkey.credential_id == response.credential_id
                && passkey.rp_id == self.rp_id
                && response.signature
                    == signature(public_key, &response.authenticator_data, &response.client_data)
        };
        if !passkey.is_some_and(is_right) {
            return Err(CredentialRefusal::Signature.into());
        }
        Ok(Assertion {
            user_verified: is_set(&data["user_verified"]),
            backup_eligible: is_set(&data["backup_eligible"]),
            backed_up: is_set(&data["backed_up"]),
            sign_count: sign_count(&data)?,
        })
    }

    fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal> {
        let key: Value =
            serde_json::from_str(public_key.as_str()).map_err(|_| CredentialRefusal::PublicKey)?;
        if key["alg"] != ALGORITHM {
            Err(CredentialRefusal::Algorithm)
        } else if key["k"].is_string() {
            Ok(())
        } else {
            Err(CredentialRefusal::PublicKey)
        }
    }

    fn model(&self, aaguid: Aaguid) -> Option<String> {
        (aaguid == FakeAuthenticator::AAGUID).then(|| Self::MODEL.to_owned())
    }
}

/// The only origin of a relying party.
fn origin(rp_id: &str) -> String {
    format!("https://{rp_id}")
}

/// Stands for the signature of a key over what an authenticator returns.
fn signature(public_key: &PublicKey, authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    let hash = [public_key.as_str().as_bytes(), authenticator_data, client_data]
        .iter()
        .fold(Sha256::new().chain_update(b"fake signature"), |hash, part| {
            hash.chain_update(Sha256::digest(part))
        });
    hash.finalize().to_vec()
}

/// Credentials, as options have them. Without transports, the member is absent.
fn descriptors(hints: &[CredentialHint<'_>]) -> Vec<Value> {
    let descriptor = |hint: &CredentialHint<'_>| {
        let mut descriptor = json!({"type": "public-key", "id": hint.id.to_string()});
        if !hint.transports.is_empty() {
            descriptor["transports"] = json!(hint.transports);
        }
        descriptor
    };
    hints.iter().map(descriptor).collect()
}

fn sign_count(data: &Value) -> Result<u32, CredentialRefusal> {
    let count = data["sign_count"].as_u64().and_then(|count| count.try_into().ok());
    count.ok_or(CredentialRefusal::AuthenticatorData)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_set(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}
