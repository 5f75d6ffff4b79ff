//! Signatures that can be verified without a secret.

use std::fmt::Debug;

use async_trait::async_trait;

use super::port_error;

/// An Ed25519 signature: 64 bytes (RFC 8032, 5.1.6).
pub type Signature = [u8; 64];

/// Signs messages that others verify with the public key.
#[async_trait]
pub trait Signer: Debug + Send + Sync + 'static {
    /// The id of the key. It tells a verifier which public key to use. MUST be the
    /// [`key_id`](SignatureVerifier::key_id) of the public key.
    fn key_id(&self) -> String;

    /// Signs a message. MUST sign with Ed25519 (RFC 8032).
    async fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;
}

/// A public key. Verifies the signatures of a [`Signer`].
pub trait SignatureVerifier: Debug + Send + Sync + 'static {
    /// The id of the key. MUST be different for each key.
    fn key_id(&self) -> String;

    /// Whether this key signed the message. MUST be `false` for any other message and for a signature of any other
    /// key.
    fn verify(&self, message: &[u8], signature: &Signature) -> bool;
}

port_error! {
    /// The message could not be signed.
    SignerError, "the signer failed"
}
