//! What the browser states about a ceremony (Web Authentication Level 3, 5.8.1).

use std::borrow::Cow;

use mfa_domain::ports::CredentialRefusal;
use serde::Deserialize;

use crate::relying_party::RelyingParty;

/// `CollectedClientData`. Other members are ignored, as the standard asks; a member that comes twice is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientData<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    challenge: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(default)]
    cross_origin: bool,
    #[serde(borrow, default)]
    top_origin: Option<Cow<'a, str>>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<'a> ClientData<'a> {
    /// The value of `type` in a registration.
    pub(crate) const CREATE: &'static str = "webauthn.create";
    /// The value of `type` in an authentication.
    pub(crate) const GET: &'static str = "webauthn.get";

    pub(crate) fn read(json: &'a [u8]) -> Result<Self, CredentialRefusal> {
        let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
        serde_json::from_slice(json).map_err(|_| CredentialRefusal::ClientData)
    }

    /// Steps 7 to 11 of 7.1, and 10 to 14 of 7.2. `challenge` is in base64url.
    pub(crate) fn check(
        &self,
        ceremony: &str,
        challenge: &str,
        party: &RelyingParty,
    ) -> Result<(), CredentialRefusal> {
        let refusal = if self.r#type != ceremony {
            CredentialRefusal::Type
        } else if self.challenge != challenge {
            CredentialRefusal::Challenge
        } else if !party.origins.iter().any(|origin| *origin == self.origin) {
            CredentialRefusal::Origin
        } else if !self.is_embedded_rightly(party) {
            CredentialRefusal::CrossOrigin
        } else {
            return Ok(());
        };
        Err(refusal)
    }

    /// Whether it was made outside frames of other sites, or in one of a site that is configured. A frame whose site
    /// the browser does not tell is refused: a page that tricks its visitors could be around it.
    fn is_embedded_rightly(&self, party: &RelyingParty) -> bool {
        match &self.top_origin {
            None => !self.cross_origin,
            Some(top) => party.top_origins.iter().any(|allowed| allowed == top),
        }
    }
}
