//! The relying party: the [`Webauthn`] port.

use std::time::Duration;

use mfa_domain::TenantId;
use mfa_domain::passkey::{Aaguid, AssertionResponse, RegistrationResponse};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, KnownCredential, NewCredential,
    RegistrationRequest, Webauthn, WebauthnError,
};
use ring::digest::{SHA256, digest};
use url::Url;
use webauthn_rs_core::WebauthnCore;

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
    pub(crate) trust: Option<Trust>,
    pub(crate) library: WebauthnCore,
}

impl RelyingParty {
    /// Checks the settings.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidSettings>> {
        let mut problems = settings.problems();
        let trust = match &settings.attestation {
            AttestationPolicy::None => None,
            AttestationPolicy::Suspended => Some(Trust::default()),
            AttestationPolicy::Trusted(trusted) => {
                let trust = Trust::new(trusted);
                trust.map_err(|problem| problems.push(InvalidSettings { key: "attestation", problem })).ok()
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let Settings { rp_id, rp_name, origins, top_origins, attestation: _ } = settings;
        let mut rp_id_hash = [0; 32];
        rp_id_hash.copy_from_slice(digest(&SHA256, rp_id.as_bytes()).as_ref());
        let urls = origins.iter().filter_map(|origin| Url::parse(origin).ok()).collect();
        // Only its own options use the time limit, and ours go out.
        let limit = Duration::from_mins(1);
        let library =
            WebauthnCore::new_unsafe_experts_only(&rp_name, &rp_id, urls, limit, Some(false), Some(false));
        let own = format!(".{rp_id}");
        let is_related = |origin: &&String| {
            let host = origin.strip_prefix("https://").map(|host| host.split(':').next().unwrap_or(host));
            host.is_some_and(|host| host != rp_id && !host.ends_with(&own))
        };
        let related_origins = origins.iter().filter(is_related).cloned().collect();
        Ok(Self { rp_id, rp_name, rp_id_hash, origins, top_origins, related_origins, trust, library })
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

    fn model(&self, aaguid: Aaguid) -> Option<&str> {
        let told = self.trust.as_ref().and_then(|trust| trust.name_of(aaguid));
        told.or_else(|| models::name_of(aaguid))
    }
}
