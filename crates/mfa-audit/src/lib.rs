#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod export;
pub mod retention;
pub mod trail;
pub mod walk;

mod lines;

pub use lines::LineError;

use mfa_domain::ports::StoreError;

/// The result of a read; `None` if the stored data is unreadable, so that another attempt would not help.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_unreadable() => Ok(None),
        read => read.map(Some),
    }
}
