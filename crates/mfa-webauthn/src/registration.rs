//! Registration (Web Authentication Level 3, 7.1).

use ciborium::Value;
use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{Aaguid, Attestation, Passkey, RegistrationResponse, UserHandle};
use mfa_domain::ports::{
    Ceremony, CeremonyError, CredentialRefusal, NewCredential, RegistrationRequest, WebauthnError,
};
use serde::Deserialize;

use crate::authenticator_data::AuthenticatorData;
use crate::client_data::ClientData;
use crate::options::CreationOptions;
use crate::public_key::{OFFERED, VerifyingKey};
use crate::relying_party::RelyingParty;
use crate::state;

mod library;

/// An attestation object (6.5.4). A member that comes twice is refused, so that the library reads the same.
#[derive(Deserialize)]
struct AttestationObject {
    #[serde(rename = "fmt")]
    format: String,
    #[serde(rename = "authData")]
    authenticator_data: Value,
    #[serde(rename = "attStmt")]
    statement: Value,
}

/// The format of an attestation object without a statement.
const NONE: &str = "none";

/// The format of U2F (8.6).
const U2F: &str = "fido-u2f";

pub(crate) fn begin(
    party: &RelyingParty,
    request: &RegistrationRequest<'_>,
) -> Result<Ceremony, WebauthnError> {
    let (challenge, library) = library::begin(party, request)?;
    let challenge = BASE64URL_NOPAD.encode(&challenge);
    let options = serde_json::to_string(&CreationOptions::new(party, request, &challenge));
    let user_handle = request.user_handle.to_string();
    let state = state::Registration::new(challenge, user_handle, request.user_verification, library);
    let state = serde_json::to_vec(&state);
    Ok(Ceremony { options: options.map_err(WebauthnError::new)?, state: state.map_err(WebauthnError::new)? })
}

pub(crate) fn finish(
    party: &RelyingParty,
    state: &[u8],
    response: &RegistrationResponse,
) -> Result<NewCredential, CeremonyError> {
    let state = state::Registration::read(state)?;
    ClientData::read(&response.client_data)?.check(ClientData::CREATE, &state.challenge, party)?;
    let object = AttestationObject::read(&response.attestation_object)?;
    let data = AuthenticatorData::read(object.authenticator_data()?)?;
    data.check(party, state.user_verification_required())?;
    let attested = data.attested.as_ref().ok_or(CredentialRefusal::AuthenticatorData)?;
    if !OFFERED.contains(&attested.algorithm) {
        return Err(CredentialRefusal::Algorithm.into());
    }
    if attested.credential_id != response.credential_id.as_bytes() {
        return Err(CredentialRefusal::CredentialId.into());
    }
    // The library does not look at it (8.7).
    if object.format == NONE && object.statement.as_map().is_none_or(|statement| !statement.is_empty()) {
        return Err(CredentialRefusal::Attestation.into());
    }
    let trust = party.trust();
    let credential = library::finish(party, trust.as_deref(), &state.library, response)?;
    if credential.cred_id != attested.credential_id || credential.counter != data.sign_count {
        // Both read the same bytes.
        return Err(CredentialRefusal::AuthenticatorData.into());
    }
    // In U2F nobody signs the AAGUID: whoever changes it on the way could claim any model.
    let aaguid = if object.format == U2F { Aaguid::default() } else { attested.aaguid };
    if trust.as_ref().is_some_and(|trust| !trust.allows(aaguid)) {
        return Err(CredentialRefusal::Model.into());
    }
    let key = VerifyingKey::from_cose(&credential.cred).ok_or(CredentialRefusal::PublicKey)?;
    let passkey = Passkey {
        credential_id: response.credential_id.clone(),
        user_handle: user_handle(&state.user_handle)?,
        rp_id: party.rp_id.clone(),
        sign_count: data.sign_count,
        aaguid,
        transports: response.transports.clone(),
        discoverable: response.discoverable,
        user_verified: data.user_verified(),
        backup_eligible: Some(data.backup_eligible()),
        backed_up: data.backed_up(),
        attestation: Attestation { format: object.format, trusted: trust.is_some() },
    };
    Ok(NewCredential { passkey, public_key: key.to_jwk()? })
}

impl AttestationObject {
    fn read(mut bytes: &[u8]) -> Result<Self, CredentialRefusal> {
        // Certificates in statements nest no deeper than two levels.
        let object = ciborium::de::from_reader_with_recursion_limit(&mut bytes, 16).ok();
        object.filter(|_| bytes.is_empty()).ok_or(CredentialRefusal::AuthenticatorData)
    }

    fn authenticator_data(&self) -> Result<&[u8], CredentialRefusal> {
        let bytes = self.authenticator_data.as_bytes();
        bytes.map(Vec::as_slice).ok_or(CredentialRefusal::AuthenticatorData)
    }
}

fn user_handle(base64url: &str) -> Result<UserHandle, WebauthnError> {
    let bytes = BASE64URL_NOPAD.decode(base64url.as_bytes()).map_err(WebauthnError::new)?;
    UserHandle::new(bytes).map_err(WebauthnError::new)
}
