//! What the tests that span crates share: a running server, a client of its API, an authenticator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test code: a failure is a panic"
)]

mod authenticator;
mod client;
mod clock;
mod confidential;
mod proxy;
mod scale;
mod server;

pub use authenticator::{Authenticator, now};
pub use client::{Answer, Client};
pub use clock::Clock;
pub use confidential::Confidential;
pub use proxy::{Link, Proxy};
pub use scale::{raise_limit_of_open_files, rounds};
pub use server::{Server, ServerOptions, program};
