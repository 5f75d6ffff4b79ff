//! Tests of the HTTP API as a library.

#![allow(clippy::unwrap_used, reason = "test code")]

mod api;
mod openapi;
