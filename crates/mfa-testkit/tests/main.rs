//! Broken implementations of each port fail the suites.

mod broken;
mod broken_challenges;
mod broken_deliveries;
mod broken_keys;
mod broken_outboxes;
mod broken_signing_keys;
mod broken_throttles;
mod fakes;
mod naive;
mod own_store;
mod sent_codes;
mod vault;
