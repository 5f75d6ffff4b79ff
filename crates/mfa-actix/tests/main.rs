//! Tests of the HTTP API as a library.

#![allow(clippy::unwrap_used, reason = "test code")]

mod allowed;
mod api;
mod assertions;
mod assets;
mod described;
mod document;
mod headers;
mod jwks;
mod key_use;
mod openapi;
mod pages;
mod phone;
mod proofs;
mod qr;
mod reserved_tenant;
#[path = "../../mfa-assertion/tests/sessions.rs"]
mod sessions;
mod step_up;
#[expect(dead_code, reason = "the sessions need only a part of it")]
#[path = "../../mfa-assertion/tests/support.rs"]
mod support;
mod well_known;
mod world;
