//! Authentication (Web Authentication Level 3, 7.2).

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::AssertionResponse;
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, CredentialRefusal, KnownCredential,
    WebauthnError,
};
use ring::digest::{SHA256, digest};

use crate::authenticator_data::AuthenticatorData;
use crate::client_data::ClientData;
use crate::options::RequestOptions;
use crate::public_key::VerifyingKey;
use crate::relying_party::RelyingParty;
use crate::state;

/// What is checked in place of a passkey that is not there, so that the answer takes as long. It accepts nothing; the
/// key is the example of RFC 7517, A.1.
const DECOY: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","alg":"ES256"}"#;

pub(crate) fn begin(
    party: &RelyingParty,
    request: &AuthenticationRequest<'_>,
) -> Result<Ceremony, WebauthnError> {
    // For browsers an empty list means any credential, of any user.
    if request.allow.as_ref().is_some_and(Vec::is_empty) {
        return Err(WebauthnError::new("an authentication without a credential to allow"));
    }
    let challenge = BASE64URL_NOPAD.encode(&request.challenge);
    let options = serde_json::to_string(&RequestOptions::new(party, request, &challenge));
    let state = serde_json::to_vec(&state::Authentication::new(&challenge, request.user_verification));
    Ok(Ceremony { options: options.map_err(WebauthnError::new)?, state: state.map_err(WebauthnError::new)? })
}

pub(crate) fn finish(
    party: &RelyingParty,
    state: &[u8],
    response: &AssertionResponse,
    known: Option<KnownCredential<'_>>,
) -> Result<Assertion, CeremonyError> {
    let state = state::Authentication::read(state)?;
    // Any other is checked like one that is not there, so that no answer tells them apart.
    let known = known.filter(|KnownCredential { passkey, .. }| {
        passkey.credential_id == response.credential_id && passkey.rp_id == party.rp_id
    });
    ClientData::read(&response.client_data)?.check(ClientData::GET, state.challenge, party)?;
    let data = AuthenticatorData::read(&response.authenticator_data)?;
    if data.attested.is_some() {
        return Err(CredentialRefusal::AuthenticatorData.into());
    }
    data.check(party, state.user_verification_required())?;
    let key = VerifyingKey::stored(known.map_or(DECOY, |known| known.public_key.as_str()))?;
    let message = [&response.authenticator_data, digest(&SHA256, &response.client_data).as_ref()].concat();
    if !key.verifies(&message, &response.signature) || known.is_none() {
        return Err(CredentialRefusal::Signature.into());
    }
    Ok(Assertion {
        user_verified: data.user_verified(),
        backup_eligible: data.backup_eligible(),
        backed_up: data.backed_up(),
        sign_count: data.sign_count,
    })
}
