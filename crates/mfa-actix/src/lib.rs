#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod problem;

mod answer;
mod api;
mod body;
mod caller;
mod envelope;
mod openapi;
mod routes;
mod state;

pub use api::Api;
pub use openapi::openapi_json;
