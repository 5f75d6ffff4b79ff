//! What `webauthn-rs-core` does: it makes the challenge, and checks the new credential with its attestation statement.

use mfa_domain::passkey::{RegistrationResponse, UserVerification};
use mfa_domain::ports::{CeremonyError, CredentialRefusal, RegistrationRequest, WebauthnError};
use webauthn_rs_core::error::WebauthnError as LibraryError;
use webauthn_rs_core::proto::{
    AttestationCaList, AttestationConveyancePreference, AuthenticatorAttestationResponseRaw, COSEAlgorithm,
    Credential, RegisterPublicKeyCredential, RegistrationExtensionsClientOutputs, RegistrationState,
    UserVerificationPolicy,
};

use crate::public_key::OFFERED;
use crate::relying_party::RelyingParty;
use crate::trusted::Trust;

/// Makes a challenge, and the state that belongs to it. The list of excluded credentials is not in it: the domain
/// checks that a credential is new.
pub(super) fn begin(
    party: &RelyingParty,
    request: &RegistrationRequest<'_>,
) -> Result<(Vec<u8>, RegistrationState), WebauthnError> {
    let offered = OFFERED.iter().filter_map(|alg| COSEAlgorithm::try_from(i128::from(*alg)).ok()).collect();
    // Names are for its own options only, which do not go out.
    let builder = party
        .library
        .new_challenge_register_builder(request.user_handle.as_bytes(), "user", "user")
        .map_err(WebauthnError::new)?
        .attestation(if party.trust().is_some() {
            AttestationConveyancePreference::Direct
        } else {
            AttestationConveyancePreference::None
        })
        .user_verification_policy(match request.user_verification {
            UserVerification::Required => UserVerificationPolicy::Required,
            UserVerification::Preferred => UserVerificationPolicy::Preferred,
            UserVerification::Discouraged => UserVerificationPolicy::Discouraged_DO_NOT_USE,
        })
        .credential_algorithms(offered);
    let (options, state) = party.library.generate_challenge_register(builder).map_err(WebauthnError::new)?;
    Ok((options.public_key.challenge, state))
}

/// Checks the credential and its attestation statement, which has to lead to `trust` if there is one.
pub(super) fn finish(
    party: &RelyingParty,
    trust: Option<&Trust>,
    state: &RegistrationState,
    response: &RegistrationResponse,
) -> Result<Credential, CeremonyError> {
    let credential = RegisterPublicKeyCredential {
        id: response.credential_id.to_string(),
        raw_id: response.credential_id.as_bytes().to_vec(),
        response: AuthenticatorAttestationResponseRaw {
            attestation_object: response.attestation_object.clone(),
            client_data_json: response.client_data.clone(),
            transports: None,
        },
        type_: "public-key".to_owned(),
        // No client extension is asked for that it would have to check.
        extensions: RegistrationExtensionsClientOutputs::default(),
    };
    let roots = trust.map(|trust| &trust.roots);
    if roots.is_some_and(AttestationCaList::is_empty) {
        return Err(CredentialRefusal::Attestation.into());
    }
    party.library.register_credential(&credential, state, roots).map_err(refusal)
}

/// What was wrong. By now our own checks have passed, so that most of what is left is the attestation statement.
fn refusal(error: LibraryError) -> CeremonyError {
    let refusal = match error {
        LibraryError::Configuration
        | LibraryError::ChallengeNotFound
        | LibraryError::ChallengePersistenceError
        | LibraryError::AttestationCertificateTrustStoreEmpty
        | LibraryError::MissingAttestationCaList => return WebauthnError::new(error).into(),
        LibraryError::InvalidClientDataType => CredentialRefusal::Type,
        LibraryError::MismatchedChallenge => CredentialRefusal::Challenge,
        LibraryError::InvalidRPOrigin => CredentialRefusal::Origin,
        LibraryError::CredentialCrossOrigin => CredentialRefusal::CrossOrigin,
        LibraryError::ParseJSONFailure(_) => CredentialRefusal::ClientData,
        LibraryError::InvalidRPIDHash => CredentialRefusal::RelyingParty,
        LibraryError::UserNotPresent => CredentialRefusal::UserPresence,
        LibraryError::UserNotVerified => CredentialRefusal::UserVerification,
        LibraryError::MissingAttestationCredentialData => CredentialRefusal::AuthenticatorData,
        LibraryError::CredentialAlteredAlgFromRequest
        | LibraryError::COSEKeyEDUnsupported
        | LibraryError::COSEKeyInvalidAlgorithm => CredentialRefusal::Algorithm,
        LibraryError::COSEKeyInvalidCBORValue
        | LibraryError::COSEKeyInvalidType
        | LibraryError::COSEKeyECDSAXYInvalid
        | LibraryError::COSEKeyRSANEInvalid
        | LibraryError::COSEKeyECDSAInvalidCurve
        | LibraryError::COSEKeyEDDSAXInvalid
        | LibraryError::COSEKeyEDDSAInvalidCurve
        | LibraryError::EcdsaPointInvalid
        | LibraryError::RsaParametersInvalid => CredentialRefusal::PublicKey,
        LibraryError::AttestationUntrustedAaguid | LibraryError::AttestationFormatMissingAaguid => {
            CredentialRefusal::Model
        }
        _ => CredentialRefusal::Attestation,
    };
    refusal.into()
}
