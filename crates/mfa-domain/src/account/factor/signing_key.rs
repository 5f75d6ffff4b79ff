//! Signing keys of the installation.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::signing::{SigningAlgorithm, SigningPublicKey};

/// A key that signs assertions. The account of the installation has such factors and no other; their sealed secret is
/// the private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeyDevice {
    /// The algorithm that it signs with.
    pub algorithm: SigningAlgorithm,
    /// The public key.
    pub public: SigningPublicKey,
    /// When it begins to sign. It is published before.
    pub signs_from: Timestamp,
}

/// The stored form, as [`Data`](crate::Data).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningKeyData {
    v: u32,
    alg: String,
    x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    signs_from: u64,
}

impl SigningKeyData {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn of(device: &SigningKeyDevice) -> Self {
        let encoded = |bytes: &[u8; 32]| BASE64URL_NOPAD.encode(bytes);
        let (x, y) = match &device.public {
            SigningPublicKey::P256 { x, y } => (encoded(x), Some(encoded(y))),
            SigningPublicKey::Ed25519(x) => (encoded(x), None),
        };
        let (alg, signs_from) = (device.algorithm.to_string(), device.signs_from.unix_millis());
        Self { v: Self::VERSION, alg, x, y, signs_from }
    }

    pub(super) fn read(self) -> Option<SigningKeyDevice> {
        let decoded = |text: &str| -> Option<[u8; 32]> {
            BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
        };
        let algorithm = self.alg.parse().ok()?;
        let public = match (algorithm, self.y) {
            (SigningAlgorithm::Es256, Some(y)) => {
                SigningPublicKey::P256 { x: decoded(&self.x)?, y: decoded(&y)? }
            }
            (SigningAlgorithm::EdDsa | SigningAlgorithm::Ed25519, None) => {
                SigningPublicKey::Ed25519(decoded(&self.x)?)
            }
            _ => return None,
        };
        let signs_from = Timestamp::from_unix_millis(self.signs_from);
        Some(SigningKeyDevice { algorithm, public, signs_from })
    }
}
