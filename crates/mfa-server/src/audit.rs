//! Adds to `mfa-audit` files, the signing key and a schedule.

pub(crate) mod checkpoint;
pub(crate) mod schedule;
pub(crate) mod signing_key;
