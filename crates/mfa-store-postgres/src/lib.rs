#![doc = include_str!("../README.md")]

mod accounts;
mod api_keys;
mod challenges;
mod change;
mod clock;
mod connections;
mod deliveries;
mod error;
mod events;
mod migrations;
mod outbox;
mod rows;
mod store;
mod throttle;
mod transaction;
mod turn;
mod url;
mod writes;

#[cfg(test)]
mod query_plans;
#[cfg(test)]
#[path = "../tests/support/server.rs"]
mod server;

pub use connections::PostgresOptions;
pub use error::PostgresError;
pub use store::PostgresStore;
pub use turn::InstallationTurn;
pub use url::PostgresUrl;
