//! The vault and the hasher from outside.

mod hasher;
mod key_ring_file;
mod vault;
