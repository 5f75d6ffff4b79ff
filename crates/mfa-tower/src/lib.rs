#![doc = include_str!("../README.md")]

mod require_mfa;

pub use mfa_assertion;
pub use require_mfa::{RequireMfa, RequireMfaLayer};
