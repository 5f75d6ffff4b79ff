//! A relying party, and an authenticator in software that says whatever a test asks for.

use std::time::Duration;

use mfa_domain::TenantId;
use mfa_domain::passkey::{ResidentKey, UserHandle, UserVerification};
use mfa_domain::ports::{
    AuthenticationRequest, Ceremony, CeremonyError, CredentialHint, CredentialRefusal, KnownCredential,
    NewCredential, RegistrationRequest, Webauthn,
};
use mfa_webauthn::{RelyingParty, Settings};

pub(crate) use authenticator::{Algorithm, Authenticator, Created, Evidence, Stated, flag};

mod authenticator;
mod cbor;

pub(crate) const RP_ID: &str = "example.com";
pub(crate) const ORIGIN: &str = "https://login.example.com";
pub(crate) const TOP_ORIGIN: &str = "https://partner.example";
pub(crate) const CHALLENGE: [u8; 32] = [7; 32];
/// [`CHALLENGE`] in base64url.
pub(crate) const CHALLENGE_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

pub(crate) fn settings() -> Settings {
    Settings {
        rp_id: RP_ID.to_owned(),
        rp_name: "Example".to_owned(),
        origins: vec![
            ORIGIN.to_owned(),
            "android:apk-key-hash:kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8".to_owned(),
        ],
        ..Settings::default()
    }
}

pub(crate) fn party() -> RelyingParty {
    RelyingParty::new(settings()).unwrap()
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("default").unwrap()
}

pub(crate) fn user_handle() -> UserHandle {
    UserHandle::new(*b"user").unwrap()
}

pub(crate) fn begin_registration(party: &RelyingParty, user_verification: UserVerification) -> Ceremony {
    let request = RegistrationRequest {
        user_handle: &user_handle(),
        user_name: "alice@example.com",
        display_name: "Alice",
        exclude: Vec::new(),
        user_verification,
        resident_key: ResidentKey::Preferred,
        timeout: Duration::from_mins(5),
    };
    party.begin_registration(&tenant(), &request).unwrap()
}

pub(crate) fn begin_authentication(
    party: &RelyingParty,
    allow: Option<Vec<CredentialHint<'_>>>,
    user_verification: UserVerification,
) -> Ceremony {
    let timeout = Duration::from_mins(5);
    let request = AuthenticationRequest { challenge: CHALLENGE, allow, user_verification, timeout };
    party.begin_authentication(&tenant(), &request).unwrap()
}

/// Registers the authenticator as it is.
pub(crate) fn registered(party: &RelyingParty, authenticator: &Authenticator) -> NewCredential {
    let ceremony = begin_registration(party, UserVerification::Preferred);
    let response = Created::answering(&ceremony, authenticator).response(authenticator);
    party.finish_registration(&tenant(), &ceremony.state, &response).unwrap()
}

/// A credential as the domain gives it back after it was stored.
pub(crate) fn stored(NewCredential { passkey, public_key }: &NewCredential) -> KnownCredential<'_> {
    KnownCredential { passkey, public_key }
}

/// Why the step failed; `None` if it did not.
pub(crate) fn refusal<T>(finished: Result<T, CeremonyError>) -> Option<CredentialRefusal> {
    match finished {
        Ok(_) => None,
        Err(CeremonyError::Refused(refusal)) => Some(refusal),
        Err(CeremonyError::Failed(error)) => panic!("failed: {error:?}"),
    }
}

/// Whether the step could not be decided.
pub(crate) fn failed<T>(finished: &Result<T, CeremonyError>) -> bool {
    matches!(finished, Err(CeremonyError::Failed(_)))
}
