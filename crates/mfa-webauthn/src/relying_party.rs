//! The relying party: the [`Webauthn`] port.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mfa_domain::TenantId;
use mfa_domain::passkey::{Aaguid, AssertionResponse, PublicKey, RegistrationResponse};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, CredentialRefusal, KnownCredential,
    NewCredential, RegistrationRequest, Webauthn, WebauthnError,
};
use ring::digest::{SHA256, digest};
use url::Url;
use webauthn_rs_core::WebauthnCore;

use crate::public_key::VerifyingKey;
use crate::settings::{AttestationPolicy, InvalidSettings, Settings};
use crate::trusted::Trust;
use crate::{authentication, models, registration};

/// A relying party (Web Authentication Level 3, 4). All tenants share it.
#[derive(Debug)]
pub struct RelyingParty {
    pub(crate) rp_id: String,
    pub(crate) rp_name: String,
    pub(crate) rp_id_hash: [u8; 32],
    pub(crate) origins: Vec<String>,
    pub(crate) top_origins: Vec<String>,
    related_origins: Vec<String>,
    /// What attestation has to lead to; `None` if it is not asked for.
    trust: RwLock<Option<Arc<Trust>>>,
    pub(crate) library: WebauthnCore,
}

impl RelyingParty {
    /// Checks the settings.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidSettings>> {
        let mut problems = settings.problems();
        let trust = Trust::of(&settings.attestation).map_err(|problem| problems.push(problem));
        let (Ok(trust), true) = (trust, problems.is_empty()) else { return Err(problems) };
        let trust = RwLock::new(trust);
        let related_origins = settings.related_origins();
        let Settings { rp_id, rp_name, origins, top_origins, attestation: _ } = settings;
        let mut rp_id_hash = [0; 32];
        rp_id_hash.copy_from_slice(digest(&SHA256, rp_id.as_bytes()).as_ref());
        let urls = origins.iter().filter_map(|origin| Url::parse(origin).ok()).collect();
        // Only its own options use the time limit, and ours go out.
        let limit = Duration::from_mins(1);
        let library =
            WebauthnCore::new_unsafe_experts_only(&rp_name, &rp_id, urls, limit, Some(false), Some(false));
        Ok(Self { rp_id, rp_name, rp_id_hash, origins, top_origins, related_origins, trust, library })
    }

    /// Replaces the attestation policy, such as by newer metadata. It decides about registrations that finish from now
    /// on.
    ///
    /// # Errors
    /// What is wrong with it. The present one stays.
    pub fn set_attestation(&self, policy: &AttestationPolicy) -> Result<(), InvalidSettings> {
        let trust = Trust::of(policy)?;
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        Ok(())
    }

    /// What attestation has to lead to now; `None` if it is not asked for.
    pub(crate) fn trust(&self) -> Option<Arc<Trust>> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The origins outside the relying party that may use its passkeys, for `/.well-known/webauthn` (Web
    /// Authentication Level 3, 5.11).
    #[must_use]
    pub fn related_origins(&self) -> &[String] {
        &self.related_origins
    }
}

impl Webauthn for RelyingParty {
    fn rp_id(&self, _tenant: &TenantId) -> &str {
        &self.rp_id
    }

    fn begin_registration(
        &self,
        _tenant: &TenantId,
        request: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        registration::begin(self, request)
    }

    fn finish_registration(
        &self,
        _tenant: &TenantId,
        state: &[u8],
        response: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        registration::finish(self, state, response)
    }

    fn begin_authentication(
        &self,
        _tenant: &TenantId,
        request: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        authentication::begin(self, request)
    }

    fn finish_authentication(
        &self,
        _tenant: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        authentication::finish(self, state, response, passkey)
    }

    fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal> {
        VerifyingKey::imported(public_key.as_str()).map(drop)
    }

    fn model(&self, aaguid: Aaguid) -> Option<String> {
        let trust = self.trust();
        let told = trust.as_ref().and_then(|trust| trust.name_of(aaguid));
        told.or_else(|| models::name_of(aaguid)).map(str::to_owned)
    }
}
