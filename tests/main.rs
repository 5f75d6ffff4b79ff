//! Tests of the whole program, and of the workspace.

#[path = "../crates/mfa-email/tests/support/mod.rs"]
mod mail_server;
mod nginx;
#[path = "../crates/mfa-store-postgres/tests/support/server.rs"]
mod postgres;
#[path = "../crates/mfa-webhook/tests/support/receiver.rs"]
mod receiver;
#[path = "../crates/mfa-store-redis/tests/support/server.rs"]
mod redis;

mod architecture;
mod assertions;
mod audit;
mod authenticators;
mod bind;
mod clients;
mod clocks;
mod constant_time;
mod crash;
mod email_codes;
mod faults;
mod http;
mod museum;
mod packaging;
mod pages;
mod passkey_script;
mod passkeys;
mod races;
mod repeats;
mod replays;
mod replicas;
mod secrets;
mod throttle;
mod user_ids;
mod webhooks;
