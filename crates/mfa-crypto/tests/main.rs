//! The adapters from outside.

mod assertion_keys;
mod hasher;
mod key_ring_file;
mod vault;
