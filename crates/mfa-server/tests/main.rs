//! The program from outside: its commands, its configuration, and when it does not start.

#[path = "support/program.rs"]
mod program;

mod commands;
mod configuration;
mod connections;
mod email_test;
mod ownership;
mod passkeys;
mod reference;
mod refusals;
mod serving;
mod signing_keys;
mod trial;
mod webhook_test;
