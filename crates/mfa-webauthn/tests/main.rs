//! Tests of the relying party against an authenticator in software.

#![allow(clippy::unwrap_used, reason = "test code")]

mod attestation;
mod authentication;
mod hostile;
mod options;
mod peers;
mod public_keys;
mod published;
mod registration;
mod second_authenticator;
mod settings;
mod support;
mod w3c_vectors;
