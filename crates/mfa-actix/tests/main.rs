//! Tests of the HTTP API as a library.

#![allow(clippy::unwrap_used, reason = "test code")]

mod allowed;
mod api;
mod assets;
mod described;
mod document;
mod headers;
mod key_use;
mod openapi;
mod pages;
mod qr;
mod well_known;
mod world;
