#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod problem;
pub mod throttling;

mod answer;
mod api;
mod assertions;
mod body;
mod caller;
mod chain;
mod client_address;
mod clocks;
mod conditional;
mod dependencies;
mod envelope;
mod guard;
mod key_use;
mod metrics_page;
mod openapi;
mod pages;
mod proof;
mod readiness;
mod rejection;
mod repeat;
mod routes;
mod state;
mod step_up;
mod user_segment;
mod waiting;

pub use api::Api;
pub use body::MAX_BODY;
pub use clocks::Clocks;
pub use envelope::{HeldForWork, unreadable};
pub use mfa_assertion;
pub use openapi::openapi_json;
pub use routes::well_known::WellKnown;
pub use step_up::{Demand, MfaSessions, RequireMfa, VerifiedMfa};
pub use throttling::Throttling;
