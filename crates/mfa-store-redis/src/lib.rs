#![doc = include_str!("../README.md")]

mod checks;
mod cluster;
mod connections;
mod error;
mod keys;
mod link;
mod script;
mod store;
mod throttle;
mod url;

pub use connections::RedisOptions;
pub use error::RedisError;
pub use store::RedisEphemeral;
pub use url::RedisUrl;
