//! What the tests of the store share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;

use mfa_domain::ports::StoreError;
use mfa_store_redis::RedisError;
use redis::aio::MultiplexedConnection;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use mfa_testkit::changes::{delta, factor, key, now};

pub(crate) mod server;

/// What the store says inside its opaque error.
pub(crate) fn inner(error: &StoreError) -> &RedisError {
    error.source().and_then(|source| source.downcast_ref()).expect("an error of this store")
}

/// Everything that a log could show of an error.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut told = vec![format!("{error} {error:?}")];
    let mut source = error.source();
    while let Some(error) = source {
        told.push(format!("{error} {error:?}"));
        source = error.source();
    }
    told.join(" ")
}

/// A connection that knows nothing of the store, and the namespace of the URL.
pub(crate) async fn raw(url: &str) -> (MultiplexedConnection, String) {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let namespace = parameters.split('&').find_map(|pair| pair.strip_prefix("namespace="));
    let client = redis::Client::open(server).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    (connection, namespace.unwrap_or("mfa").to_owned())
}
