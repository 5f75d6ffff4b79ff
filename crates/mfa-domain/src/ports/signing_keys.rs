//! Key pairs that sign assertions.

use std::fmt::Debug;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{EntropyError, SignerError};
use crate::signing::{SigningAlgorithm, SigningPublicKey};

/// Makes and reads the key pairs that sign assertions.
///
/// The domain keeps the private keys, sealed by the [`Vault`](super::Vault) in the store, so that every replica signs
/// with the same key.
pub trait SigningKeys: Debug + Send + Sync + 'static {
    /// Generates a private key, in a form that [`read`](Self::read) takes. MUST NOT return the same key twice.
    ///
    /// # Errors
    /// [`EntropyError`] if no randomness is available.
    fn generate(&self, algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, EntropyError>;

    /// Reads a private key. MUST fail if it is none for this algorithm.
    ///
    /// # Errors
    /// [`SignerError`] if the bytes are no such key.
    fn read(&self, algorithm: SigningAlgorithm, private: &[u8]) -> Result<Arc<dyn KeyPair>, SignerError>;
}

/// A key pair in memory. `Debug` MUST NOT show the private key.
pub trait KeyPair: Debug + Send + Sync + 'static {
    /// The public key.
    fn public_key(&self) -> SigningPublicKey;

    /// Signs a message. MUST return the 64 bytes of the form in JSON Web Signatures: R and S of ECDSA as two
    /// big-endian numbers (RFC 7518, 3.4), or the signature of Ed25519 (RFC 8032, 5.1.6).
    ///
    /// # Errors
    /// [`SignerError`] if nothing was signed.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}
