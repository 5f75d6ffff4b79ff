#![doc = include_str!("../README.md")]

mod account_change;
mod accounts;
mod api_keys;
mod challenges;
mod change;
mod deliveries;
mod error;
mod events;
mod open;
mod outbox;
mod rows;
mod store;
mod throttle;
mod writer;

#[cfg(test)]
mod query_plans;

pub use error::SqliteError;
pub use open::SqliteOptions;
pub use store::SqliteStore;
