//! Event ids: positions encrypted with AES-256 in one block, under a key for each tenant.
//!
//! A block is the position and eight zero bytes. Without the key an id looks random, and a forged id is
//! accepted with a probability of 2^-64.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use mfa_domain::ports::EventPosition;
use mfa_domain::{EventId, TenantId};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key_ring::Key;

const ZEROS: [u8; 8] = [0; 8];

pub(super) fn id(secret: &Key, tenant: &TenantId, position: EventPosition) -> EventId {
    let mut block = Block::default();
    block[..8].copy_from_slice(&position.0.to_be_bytes());
    cipher(secret, tenant).encrypt_block(&mut block);
    EventId::from_block(block.into())
}

pub(super) fn position(secret: &Key, tenant: &TenantId, id: EventId) -> Option<EventPosition> {
    let mut block = Block::from(id.block());
    cipher(secret, tenant).decrypt_block(&mut block);
    let (position, rest) = block.split_first_chunk()?;
    (*rest == ZEROS).then_some(EventPosition(u64::from_be_bytes(*position)))
}

/// Label and secret have fixed lengths, so no two tenants share a key.
fn cipher(secret: &Key, tenant: &TenantId) -> Aes256 {
    let hash = Sha256::new().chain_update(b"mfa-crypto event ids v1").chain_update(secret.expose());
    let key = Zeroizing::new(<[u8; 32]>::from(hash.chain_update(tenant.as_str()).finalize()));
    Aes256::new((&*key).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PINNED: [(&str, u64, &str); 5] = [
        ("acme", 0, "evt_6jsqxlef7yzq2ts4isyhn3dutm"),
        ("acme", 1, "evt_6aa7ss2xkxx434m5qycywjdudy"),
        ("acme", 2, "evt_2p2egftjojmab5ltxnmqwvdoaa"),
        ("umbrella", 1, "evt_yjkhu5zfjwb2gy3jtmkj7e5rb4"),
        ("acme", u64::MAX, "evt_5uaoui7pufexiis4vfkay7army"),
    ];

    /// Pinned: tenants store ids. Calculated with another implementation of SHA-256 and AES-256.
    #[test]
    fn ids_stay_as_they_are() {
        let secret = Key::from_bytes(&[7; Key::LENGTH]);
        for (tenant, number, expected) in PINNED {
            let tenant = TenantId::new(tenant).unwrap();
            let id = id(&secret, &tenant, EventPosition(number));
            assert_eq!(id.to_string(), expected, "{tenant} {number}");
        }
    }

    proptest! {
        #[test]
        fn every_position_is_read_back_by_its_tenant_and_under_its_secret_alone(number: u64, secret: [u8; 32]) {
            let [ours, theirs] = ["acme", "acm"].map(|name| TenantId::new(name).unwrap());
            let other = Key::from_bytes(&secret.map(|byte| !byte));
            let secret = Key::from_bytes(&secret);
            let id = id(&secret, &ours, EventPosition(number));
            prop_assert_eq!(position(&secret, &ours, id), Some(EventPosition(number)));
            prop_assert_eq!(position(&secret, &theirs, id), None);
            prop_assert_eq!(position(&other, &ours, id), None);
        }

        #[test]
        fn what_is_made_up_is_no_id(block: [u8; 16]) {
            let secret = Key::from_bytes(&[7; Key::LENGTH]);
            let tenant = TenantId::new("acme").unwrap();
            prop_assert_eq!(position(&secret, &tenant, EventId::from_block(block)), None);
        }

        #[test]
        fn no_bit_of_an_id_can_be_changed(number: u64, bit in 0..128_usize) {
            let secret = Key::from_bytes(&[7; Key::LENGTH]);
            let tenant = TenantId::new("acme").unwrap();
            let mut block = id(&secret, &tenant, EventPosition(number)).block();
            block[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(position(&secret, &tenant, EventId::from_block(block)), None);
        }
    }
}
