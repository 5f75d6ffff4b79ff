//! What the tests of the sender share.

pub(crate) mod receiver;
