#![doc = include_str!("../README.md")]

mod accounts;
mod api_keys;
mod challenges;
mod change;
mod checks;
mod clock;
mod cluster;
mod connections;
mod error;
mod events;
mod field;
mod format;
mod keys;
mod link;
mod messages;
mod outbox;
mod records;
mod script;
mod store;
mod tenants;
mod throttle;
mod turn;
mod url;

pub use connections::RedisOptions;
pub use error::RedisError;
pub use store::{RedisEphemeral, RedisStore};
pub use turn::InstallationTurn;
pub use url::RedisUrl;

/// The maximum length of a page: a server does nothing else while it reads one.
const LONGEST_PAGE: u32 = 1000;
