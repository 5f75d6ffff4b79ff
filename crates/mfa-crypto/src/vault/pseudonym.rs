//! Pseudonyms: HMAC-SHA-256 under a key that comes from the secret of event ids, which never changes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key_ring::Key;

pub(super) fn of(secret: &Key, what: &[u8]) -> [u8; 32] {
    // Label and secret have fixed lengths.
    let key = Sha256::new().chain_update(b"mfa-crypto pseudonyms v1").chain_update(secret.expose());
    // HMAC pads a key with zeros to a block of the hash (RFC 2104, 2).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(&key.finalize());
    let mac = Hmac::<Sha256>::new((&*block).into());
    mac.chain_update(what).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Pinned: what was told of a user stays the same. Calculated with Python's `hmac` and `hashlib`.
    #[test]
    fn pseudonyms_stay_as_they_are() {
        let secret = Key::from_bytes(&[7; Key::LENGTH]);
        for (what, expected) in [
            (&b"alice"[..], "c6d4fb08ac5b7a510412efbb9ea33cc61d2b6247d3000fc01df4a823ac628499"),
            (b"", "dc0646c878711de7fe553e37442a84e286d98cdce6e462201615733578909665"),
        ] {
            assert_eq!(HEXLOWER.encode(&of(&secret, what)), expected);
        }
        assert_ne!(of(&Key::from_bytes(&[8; Key::LENGTH]), b"alice"), of(&secret, b"alice"));
    }
}
