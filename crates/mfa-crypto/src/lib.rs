#![doc = include_str!("../README.md")]

pub mod hasher;
pub mod key_ring;
pub mod signing;
pub mod vault;

pub use hasher::{Argon2Hasher, Argon2Settings, InvalidSettings};
pub use key_ring::{KeyRing, KeyRingError, KeyRingFileError};
pub use signing::{PublicKey, SigningKey};
pub use vault::AesGcmVault;
