//! A browser with an authenticator, both by the crate `passkey`: independent of the libraries of the relying party.

use async_trait::async_trait;
use futures_util::FutureExt;
use passkey::authenticator::{
    Authenticator, CredentialStore, DiscoverabilitySupport, StoreInfo, UiHint, UserCheck,
    UserValidationMethod,
};
use passkey::client::{Client, DefaultClientData, WebauthnError};
use passkey::crypto::iana::Algorithm;
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::make_credential::{
    Options, PublicKeyCredentialRpEntity, PublicKeyCredentialUserEntity,
};
use passkey::types::ctap2::{Aaguid, Ctap2Error, StatusCode};
use passkey::types::webauthn::{
    CredentialCreationOptions, CredentialRequestOptions, PublicKeyCredentialDescriptor,
};
use serde_json::{Value, json};
use url::Url;

/// The model of the authenticator.
pub(crate) const MODEL: [u8; 16] = *b"another software";

/// What an authenticator can, and what its user does.
#[expect(clippy::struct_excessive_bools, reason = "each is one ability")]
pub(crate) struct Device {
    /// Whether it has a PIN that its user enters.
    pub(crate) verifies: bool,
    /// Whether it can store passkeys that are used without their id.
    pub(crate) discoverable: bool,
    /// Whether it counts signatures.
    pub(crate) counts: bool,
    /// Whether it refuses to register where it has an excluded credential.
    pub(crate) excludes: bool,
    /// The signature algorithm; the first that is offered if `None`.
    pub(crate) algorithm: Option<Algorithm>,
}

impl Device {
    /// As phones are.
    pub(crate) const PHONE: Self =
        Self { verifies: true, discoverable: true, counts: false, excludes: true, algorithm: None };
}

/// A page of an origin, in a browser with one authenticator.
pub(crate) struct Browser {
    client: Client<Stored, User, RustCryptoBackend, public_suffix::PublicSuffixList, ()>,
    origin: Url,
}

impl Browser {
    pub(crate) fn new(origin: &str, device: &Device) -> Self {
        let &Device { verifies, discoverable, counts, excludes, algorithm } = device;
        let stored = Stored { discoverable, passkeys: Vec::new() };
        let user = User { verifies, excludes };
        let mut authenticator = Authenticator::new(Aaguid::from(MODEL), stored, user, RustCryptoBackend);
        authenticator.set_make_credentials_with_signature_counter(counts);
        if let Some(algorithm) = algorithm {
            authenticator.set_algorithms(&[algorithm]).unwrap();
        }
        let client = Client::new(authenticator)
            .allows_insecure_localhost(true)
            .user_verification_when_preferred(verifies);
        Self { client, origin: Url::parse(origin).unwrap() }
    }

    /// The same browser on another page.
    pub(crate) fn visit(&mut self, origin: &str) {
        self.origin = Url::parse(origin).unwrap();
    }

    /// `navigator.credentials.create()`: the JSON form of its result.
    pub(crate) fn create(&mut self, options: &str) -> Result<String, WebauthnError> {
        let options: CredentialCreationOptions = serde_json::from_value(public_key(options)).unwrap();
        let created = self.client.register(&self.origin, options, DefaultClientData).now_or_never();
        // Nothing in it waits.
        created.unwrap().map(|created| serde_json::to_string(&created).unwrap())
    }

    /// `navigator.credentials.get()`: the JSON form of its result.
    pub(crate) fn assert(&mut self, options: &str) -> Result<String, WebauthnError> {
        let options: CredentialRequestOptions = serde_json::from_value(public_key(options)).unwrap();
        let asserted = self.client.authenticate(&self.origin, options, DefaultClientData).now_or_never();
        // Nothing in it waits.
        asserted.unwrap().map(|asserted| serde_json::to_string(&asserted).unwrap())
    }
}

fn public_key(options: &str) -> Value {
    json!({ "publicKey": serde_json::from_str::<Value>(options).unwrap() })
}

/// Touches the authenticator, and enters the PIN where it is asked for one.
struct User {
    verifies: bool,
    excludes: bool,
}

#[async_trait]
impl UserValidationMethod for User {
    type PasskeyItem = Passkey;

    /// The library asks here whether an excluded credential matters; by itself it goes on.
    async fn check_user<'a>(
        &self,
        hint: UiHint<'a, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        match hint {
            UiHint::InformExcludedCredentialFound(_) if self.excludes => Err(Ctap2Error::CredentialExcluded),
            _ => Ok(UserCheck { presence, verification }),
        }
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(self.verifies)
    }
}

/// The passkeys of the authenticator, the newest last.
struct Stored {
    discoverable: bool,
    passkeys: Vec<Passkey>,
}

#[async_trait]
impl CredentialStore for Stored {
    type PasskeyItem = Passkey;

    async fn find_credentials(
        &self,
        ids: Option<&[PublicKeyCredentialDescriptor]>,
        rp_id: &str,
        _user_handle: Option<&[u8]>,
    ) -> Result<Vec<Passkey>, StatusCode> {
        let of_rp = self.passkeys.iter().rev().filter(|passkey| passkey.rp_id == rp_id);
        let found = of_rp.filter(|passkey| match ids {
            Some(ids) => ids.iter().any(|descriptor| descriptor.id == passkey.credential_id),
            None => passkey.user_handle.is_some(),
        });
        let found: Vec<Passkey> = found.cloned().collect();
        if found.is_empty() { Err(Ctap2Error::NoCredentials.into()) } else { Ok(found) }
    }

    async fn save_credential(
        &mut self,
        passkey: Passkey,
        _user: PublicKeyCredentialUserEntity,
        _rp: PublicKeyCredentialRpEntity,
        _options: Options,
    ) -> Result<(), StatusCode> {
        self.passkeys.push(passkey);
        Ok(())
    }

    async fn update_credential(&mut self, passkey: &Passkey) -> Result<(), StatusCode> {
        let mut passkeys = self.passkeys.iter_mut();
        let stored = passkeys.find(|stored| stored.credential_id == passkey.credential_id);
        *stored.ok_or(Ctap2Error::NoCredentials)? = passkey.clone();
        Ok(())
    }

    async fn get_info(&self) -> StoreInfo {
        let discoverability = if self.discoverable {
            DiscoverabilitySupport::Full
        } else {
            DiscoverabilitySupport::OnlyNonDiscoverable
        };
        StoreInfo { discoverability }
    }
}
