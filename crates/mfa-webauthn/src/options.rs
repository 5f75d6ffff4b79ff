//! The options for browsers, as JSON (Web Authentication Level 3, 5.1.9 and 5.1.10).

use std::time::Duration;

use mfa_domain::passkey::{CredentialId, ResidentKey};
use mfa_domain::ports::{AuthenticationRequest, CredentialHint, RegistrationRequest};
use serde::{Serialize, Serializer};

use crate::public_key::OFFERED;
use crate::relying_party::RelyingParty;

/// `PublicKeyCredentialCreationOptionsJSON`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreationOptions<'a> {
    rp: Party<'a>,
    user: User<'a>,
    challenge: &'a str,
    pub_key_cred_params: [Parameters; OFFERED.len()],
    timeout: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude_credentials: Vec<Descriptor<'a>>,
    authenticator_selection: Selection,
    attestation: &'static str,
    extensions: Extensions,
}

/// `PublicKeyCredentialRequestOptionsJSON`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestOptions<'a> {
    challenge: &'a str,
    timeout: u32,
    rp_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_credentials: Option<Vec<Descriptor<'a>>>,
    user_verification: &'static str,
}

#[derive(Serialize)]
struct Party<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    id: String,
    name: &'a str,
    display_name: &'a str,
}

#[derive(Serialize)]
struct Parameters {
    r#type: &'static str,
    alg: i64,
}

#[derive(Serialize)]
struct Descriptor<'a> {
    r#type: &'static str,
    #[serde(serialize_with = "base64url")]
    id: &'a CredentialId,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    transports: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    /// For browsers that know Level 1 only.
    require_resident_key: bool,
    user_verification: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    cred_props: bool,
}

const PUBLIC_KEY: &str = "public-key";

impl<'a> CreationOptions<'a> {
    pub(crate) fn new(
        party: &'a RelyingParty,
        request: &'a RegistrationRequest<'_>,
        challenge: &'a str,
    ) -> Self {
        let name = request.user_name;
        let display_name = if request.display_name.is_empty() { name } else { request.display_name };
        Self {
            rp: Party { id: &party.rp_id, name: &party.rp_name },
            user: User { id: request.user_handle.to_string(), name, display_name },
            challenge,
            pub_key_cred_params: OFFERED.map(|alg| Parameters { r#type: PUBLIC_KEY, alg }),
            timeout: milliseconds(request.timeout),
            exclude_credentials: descriptors(&request.exclude),
            authenticator_selection: Selection {
                resident_key: request.resident_key.as_str(),
                require_resident_key: request.resident_key == ResidentKey::Required,
                user_verification: request.user_verification.as_str(),
            },
            attestation: if party.trust().is_some() { "direct" } else { "none" },
            extensions: Extensions { cred_props: true },
        }
    }
}

impl<'a> RequestOptions<'a> {
    pub(crate) fn new(
        party: &'a RelyingParty,
        request: &'a AuthenticationRequest<'_>,
        challenge: &'a str,
    ) -> Self {
        Self {
            challenge,
            timeout: milliseconds(request.timeout),
            rp_id: &party.rp_id,
            allow_credentials: request.allow.as_deref().map(descriptors),
            user_verification: request.user_verification.as_str(),
        }
    }
}

fn descriptors<'a>(hints: &[CredentialHint<'a>]) -> Vec<Descriptor<'a>> {
    let descriptor = |hint: &CredentialHint<'a>| Descriptor {
        r#type: PUBLIC_KEY,
        id: hint.id,
        transports: hint.transports,
    };
    hints.iter().map(descriptor).collect()
}

/// An `unsigned long`.
fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
}

fn base64url<S: Serializer>(id: &CredentialId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
