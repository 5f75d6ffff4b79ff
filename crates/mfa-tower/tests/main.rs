//! Tests of the layer.

#![allow(clippy::unwrap_used, reason = "test code")]

mod application;
mod service;
#[path = "../../mfa-assertion/tests/sessions.rs"]
mod sessions;
#[expect(dead_code, reason = "the sessions need only a part of it")]
#[path = "../../mfa-assertion/tests/support.rs"]
mod support;
