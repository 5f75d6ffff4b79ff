#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod export;
pub mod retention;
pub mod trail;
pub mod walk;

mod lines;

pub use lines::LineError;

use mfa_domain::ports::StoreError;

/// What a store has read; none if what it keeps there cannot be read, so that asking again gives no more.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_unreadable() => Ok(None),
        read => read.map(Some),
    }
}
