//! Shared helpers of the tests that span crates: a running server, an API client, an authenticator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test code: a failure is a panic"
)]

mod assertion;
mod authenticator;
mod browser;
mod client;
mod clock;
mod confidential;
mod json_web_token;
mod proxy;
mod scale;
mod security_key;
mod server;

pub use assertion::{altered, unchecked};
pub use authenticator::{Authenticator, now};
pub use browser::{Browser, Thrown, VirtualAuthenticator};
pub use client::{Answer, Client};
pub use clock::Clock;
pub use confidential::Confidential;
pub use json_web_token::{Claims, JsonWebToken};
pub use proxy::{Link, Proxy};
pub use scale::{raise_limit_of_open_files, rounds};
pub use security_key::SecurityKey;
pub use server::{ISSUER, Server, ServerOptions, program};

/// The program in the README at the top compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
