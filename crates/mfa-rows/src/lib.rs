#![doc = include_str!("../README.md")]

mod account;
mod api_key;
mod backup_codes;
mod bucket;
mod challenge;
mod column;
mod delivery;
mod event;
mod factor;
mod message;

pub use account::{AccountColumns, EntryColumns, base_hash};
pub use api_key::ApiKeyColumns;
pub use backup_codes::backup_codes;
pub use bucket::BucketColumns;
pub use challenge::ChallengeColumns;
pub use column::{ColumnError, Row, integer, millis};
pub use delivery::DeliveryColumns;
pub use event::EventColumns;
pub use factor::FactorsColumns;
pub use message::{MessageColumns, SendingColumns};

/// How many accounts a page examines for each requested one. If few accounts match, this keeps a page from
/// examining very many.
pub const LOOKED_AT_FOR_EACH: i64 = 20;
