//! What is done about the audit trail as a whole.

pub(crate) mod checkpoint;
pub(crate) mod export;
pub(crate) mod retention;
pub(crate) mod schedule;
pub(crate) mod signing_key;
pub(crate) mod trail;

mod lines;
