//! Signatures that others check without a secret.

use std::fmt::Debug;

use async_trait::async_trait;

use super::port_error;

/// A signature by Ed25519: 64 bytes (RFC 8032, 5.1.6).
pub type Signature = [u8; 64];

/// Signs what others check with the public key.
#[async_trait]
pub trait Signer: Debug + Send + Sync + 'static {
    /// The id of the key, by which others know which public key to check with. MUST be the
    /// [`key_id`](SignatureVerifier::key_id) of its public key.
    fn key_id(&self) -> String;

    /// Signs a message. MUST sign with Ed25519 (RFC 8032).
    async fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;
}

/// A public key: checks what a [`Signer`] has signed.
pub trait SignatureVerifier: Debug + Send + Sync + 'static {
    /// The id of the key. MUST be another one for each key.
    fn key_id(&self) -> String;

    /// Whether the key has signed the message. MUST be `false` for every other message, and for a signature by
    /// any other key.
    fn verify(&self, message: &[u8], signature: &Signature) -> bool;
}

port_error! {
    /// The message could not be signed.
    SignerError, "the signer failed"
}
