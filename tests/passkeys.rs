//! Passkeys: from the page of an application to the server, and the calls of its backend.

#![allow(clippy::unwrap_used, reason = "test code")]

mod browser;
pub(crate) mod calls;
mod challenges;
mod field;
mod host;
mod life;
mod races;
mod unknown;
