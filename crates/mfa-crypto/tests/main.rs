//! The vault and the hasher from outside.

mod hasher;
mod vault;
