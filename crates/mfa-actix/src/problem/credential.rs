//! Problems of passkeys.

use mfa_domain::passkey::InvalidCredential;
use mfa_domain::ports::CredentialRefusal;

use super::{Problem, ProblemCode};

impl Problem {
    /// The problem for a refused passkey. Tells what is wrong where that says nothing about the user: the same for one
    /// who has no passkey.
    pub(super) fn credential(refusal: CredentialRefusal) -> Self {
        use CredentialRefusal as R;
        let (code, told) = match refusal {
            R::UserVerification => (ProblemCode::UserVerificationRequired, false),
            R::BackupEligibility => (ProblemCode::PasskeyChanged, false),
            R::Registered => (ProblemCode::HandleTaken, false),
            R::Algorithm | R::PublicKey | R::Attestation | R::Model | R::ResidentKey => {
                (ProblemCode::UnsupportedCredential, true)
            }
            R::ClientData
            | R::Type
            | R::Challenge
            | R::Origin
            | R::CrossOrigin
            | R::AuthenticatorData
            | R::RelyingParty
            | R::UserPresence
            | R::BackupState => (ProblemCode::InvalidCredential, true),
            _ => (ProblemCode::InvalidCredential, false),
        };
        Self { detail: told.then(|| refusal.to_string()), ..Self::new(code) }
    }
}

impl From<InvalidCredential> for Problem {
    fn from(invalid: InvalidCredential) -> Self {
        let InvalidCredential { field, problem } = invalid;
        let field = if field == "credential" { field.to_owned() } else { format!("credential.{field}") };
        Self::invalid(&field, problem)
    }
}
