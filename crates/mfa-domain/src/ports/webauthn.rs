//! Ceremonies with authenticators, as a relying party (Web Authentication Level 3, 7).

use std::fmt::Debug;
use std::time::Duration;

use thiserror::Error;

use super::port_error;
use crate::TenantId;
use crate::passkey::{
    Aaguid, AssertionResponse, CredentialId, Passkey, PublicKey, RegistrationResponse, ResidentKey,
    UserHandle, UserVerification,
};

/// Makes the options for a browser, and checks what it returns.
///
/// A ceremony has two steps. The first returns options for the browser and a state, which the domain seals
/// and keeps in the challenge. The second gets the state back, at most once.
///
/// An implementation does no I/O and keeps no state of ceremonies. It MUST take relying party and origins from
/// its configuration, never from a response.
pub trait Webauthn: Debug + Send + Sync + 'static {
    /// The id of the relying party for this tenant; empty if passkeys are off.
    fn rp_id(&self, tenant: &TenantId) -> &str;

    /// Begins a registration. The options MUST ask for a new random challenge of at least 16 bytes.
    ///
    /// # Errors
    /// [`WebauthnError`] if no options can be made.
    fn begin_registration(
        &self,
        tenant: &TenantId,
        request: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError>;

    /// Checks a new credential: every step of Web Authentication Level 3, 7.1, but for those that need the
    /// accounts (whether the credential id is taken). The passkey that it returns MUST have the user handle
    /// of the request.
    ///
    /// # Errors
    /// [`Refused`](CeremonyError::Refused) with the first step that failed; [`Failed`](CeremonyError::Failed)
    /// if `state` is not one that this version made.
    fn finish_registration(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError>;

    /// Begins an authentication. The options MUST ask for `request.challenge`.
    ///
    /// # Errors
    /// [`WebauthnError`] if no options can be made.
    fn begin_authentication(
        &self,
        tenant: &TenantId,
        request: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError>;

    /// Checks an assertion: every step of Web Authentication Level 3, 7.2, but for those that compare with
    /// what is stored (user handle, backup eligibility, signature counter).
    ///
    /// Without a `passkey`, and with one of another relying party, it MUST refuse at the step of the
    /// signature, as if it were wrong, and MUST take as long as with one of the most usual sort. No earlier
    /// step may depend on the passkey: answers must not tell who has one.
    ///
    /// # Errors
    /// As [`finish_registration`](Self::finish_registration).
    fn finish_authentication(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError>;

    /// Checks the public key of a credential from another system: whether assertions can be checked by it.
    ///
    /// # Errors
    /// [`Algorithm`](CredentialRefusal::Algorithm) if its signatures are of an algorithm that is not supported;
    /// [`PublicKey`](CredentialRefusal::PublicKey) if it is not a key, or not a safe one.
    fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal>;

    /// The public name of a model of authenticators, such as `iCloud Keychain`; `None` if it is not known.
    fn model(&self, aaguid: Aaguid) -> Option<String>;
}

/// What a registration is for.
#[derive(Debug)]
pub struct RegistrationRequest<'a> {
    /// The handle of the user.
    pub user_handle: &'a UserHandle,
    /// The name that tells accounts apart, such as an e-mail address.
    pub user_name: &'a str,
    /// The name of the person; empty if there is none.
    pub display_name: &'a str,
    /// The credentials that the user already has.
    pub exclude: Vec<CredentialHint<'a>>,
    /// Whether the authenticator asks for a PIN or a biometric. If it is required, the second step MUST
    /// refuse a response without.
    pub user_verification: UserVerification,
    /// Whether the credential can be used without a user name.
    pub resident_key: ResidentKey,
    /// How long the browser waits.
    pub timeout: Duration,
}

/// What an authentication is for.
#[derive(Debug)]
pub struct AuthenticationRequest<'a> {
    /// Random bytes to sign.
    pub challenge: [u8; 32],
    /// The credentials that are accepted; `None` for any that the authenticator has. MUST NOT be `Some` and
    /// empty: that would be the same as `None`.
    pub allow: Option<Vec<CredentialHint<'a>>>,
    /// Whether the authenticator asks for a PIN or a biometric. If it is required, the second step MUST
    /// refuse a response without.
    pub user_verification: UserVerification,
    /// How long the browser waits.
    pub timeout: Duration,
}

/// A credential in the options for a browser.
#[derive(Clone, Copy, Debug)]
pub struct CredentialHint<'a> {
    /// Its id.
    pub id: &'a CredentialId,
    /// How to reach its authenticator.
    pub transports: &'a [String],
}

/// A ceremony that has begun.
#[derive(Debug)]
pub struct Ceremony {
    /// The `publicKey` member of the options for `navigator.credentials`, as JSON.
    pub options: String,
    /// What the second step needs, at most 16 KiB.
    pub state: Vec<u8>,
}

/// A credential that has just been created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// What is stored in plain text.
    pub passkey: Passkey,
    /// What is stored sealed.
    pub public_key: PublicKey,
}

/// A stored credential.
#[derive(Clone, Copy, Debug)]
pub struct KnownCredential<'a> {
    /// The passkey.
    pub passkey: &'a Passkey,
    /// Its public key.
    pub public_key: &'a PublicKey,
}

/// What an authenticator stated and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Whether it verified its user by a PIN or a biometric.
    pub user_verified: bool,
    /// Whether the credential can be on several devices.
    pub backup_eligible: bool,
    /// Whether it is.
    pub backed_up: bool,
    /// The signature counter.
    pub sign_count: u32,
}

/// The first step of a ceremony that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CredentialRefusal {
    /// The client data cannot be read.
    #[error("the client data cannot be read")]
    ClientData,
    /// It comes from the other ceremony.
    #[error("it comes from the other ceremony")]
    Type,
    /// It answers another challenge.
    #[error("it answers another challenge")]
    Challenge,
    /// It was made on a page of an origin that is not configured.
    #[error("its origin is not one of this relying party")]
    Origin,
    /// It was made in a frame of another site.
    #[error("it was made in a frame of another site")]
    CrossOrigin,
    /// The authenticator data cannot be read.
    #[error("the authenticator data cannot be read")]
    AuthenticatorData,
    /// It was made for another relying party.
    #[error("it was made for another relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody touched the authenticator")]
    UserPresence,
    /// User verification is required, and the authenticator did not verify its user.
    #[error("the authenticator did not verify its user by PIN or biometric")]
    UserVerification,
    /// It says that it is backed up and that it cannot be.
    #[error("it says that it is backed up and that it cannot be")]
    BackupState,
    /// Whether it can be backed up has changed since it was registered.
    #[error("whether it can be backed up has changed since it was registered")]
    BackupEligibility,
    /// Its signature algorithm was not offered or is not supported.
    #[error("its signature algorithm is not supported")]
    Algorithm,
    /// Its public key cannot be used.
    #[error("its public key cannot be used")]
    PublicKey,
    /// The signature is wrong, or the credential is not one of this user.
    #[error("the signature is wrong")]
    Signature,
    /// The attestation statement is wrong, of a format that is not supported, or missing where it is
    /// required.
    #[error("its attestation statement is wrong, not supported, or missing")]
    Attestation,
    /// The policy does not allow this model of authenticators.
    #[error("this model of authenticators is not allowed")]
    Model,
    /// Ids of the credential differ.
    #[error("its ids differ")]
    CredentialId,
    /// It belongs to a user with another handle.
    #[error("it belongs to another user")]
    UserHandle,
    /// The signature counter did not grow, and the policy refuses that.
    #[error("its signature counter did not grow; it may be a copy")]
    SignCount,
    /// The policy asks for a credential that can be used without a user name.
    #[error("it cannot be used without a user name")]
    ResidentKey,
    /// The user has it already.
    #[error("it is already registered")]
    Registered,
}

/// Why the second step of a ceremony gave nothing.
#[derive(Debug, Error)]
pub enum CeremonyError {
    /// The response was refused.
    #[error(transparent)]
    Refused(#[from] CredentialRefusal),
    /// It could not be decided.
    #[error(transparent)]
    Failed(#[from] WebauthnError),
}

impl CredentialRefusal {
    /// The stable name, in the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientData => "client_data",
            Self::Type => "type",
            Self::Challenge => "challenge",
            Self::Origin => "origin",
            Self::CrossOrigin => "cross_origin",
            Self::AuthenticatorData => "authenticator_data",
            Self::RelyingParty => "relying_party",
            Self::UserPresence => "user_presence",
            Self::UserVerification => "user_verification",
            Self::BackupState => "backup_state",
            Self::BackupEligibility => "backup_eligibility",
            Self::Algorithm => "algorithm",
            Self::PublicKey => "public_key",
            Self::Signature => "signature",
            Self::Attestation => "attestation",
            Self::Model => "model",
            Self::CredentialId => "credential_id",
            Self::UserHandle => "user_handle",
            Self::SignCount => "sign_count",
            Self::ResidentKey => "resident_key",
            Self::Registered => "registered",
        }
    }
}

port_error! {
    /// A ceremony could not be begun or finished. Never caused by the user's input.
    WebauthnError, "WebAuthn failed"
}
