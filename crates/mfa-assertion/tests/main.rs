//! Tests of the verifier against key pairs of their own.

#![allow(clippy::unwrap_used, reason = "test code")]

mod accepted;
mod claims;
mod fetched;
mod form;
mod guard;
mod header;
mod hostile;
mod keys;
mod sessions;
mod support;
mod times;
mod used_once;
