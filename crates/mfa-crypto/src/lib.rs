#![doc = include_str!("../README.md")]

pub mod assertion_keys;
pub mod hasher;
pub mod key_ring;
pub mod signing;
pub mod vault;

pub use assertion_keys::AssertionKeys;
pub use hasher::{Argon2Hasher, Argon2Settings, InvalidSettings};
pub use key_ring::{KeyRing, KeyRingError, KeyRingFileError};
pub use signing::{PublicKey, SigningKey};
pub use vault::AesGcmVault;
