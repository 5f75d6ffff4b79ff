//! What the tests of the store share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::account::Draft;
use mfa_domain::ports::{Commit, StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};
use mfa_domain::{AccountKey, KeyId, Message, MessageId, Sealed};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisOptions, RedisStore};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use mfa_testkit::changes::{challenge, delta, end, factor, key, now};

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
    // The server waits for its disk, which other tests keep busy.
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
    (connection, namespace.unwrap_or("mfa").to_owned())
}

/// Changes an account as it stands.
pub(crate) async fn change(
    store: &RedisStore,
    key: &AccountKey,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Result<Commit, StoreError> {
    mfa_testkit::changes::change(store, key, edit).await
}

/// Changes an account as it stands, when nothing can be in the way.
pub(crate) async fn make(store: &RedisStore, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) {
    assert_eq!(change(store, key, edit).await.unwrap(), Commit::Won);
}

/// A message to alice that is due at once, for ten minutes.
pub(crate) fn message(number: u8) -> Message {
    let id = MessageId::from_entropy([number; MessageId::LENGTH]);
    let content = Sealed { key: KeyId::new("k1"), bytes: vec![number; 20] };
    Message::queued(id, key("alice"), now(), now().plus(Duration::from_mins(10)), content)
}

/// Queues messages in one commit.
pub(crate) async fn queue(store: &RedisStore, key: &AccountKey, messages: impl IntoIterator<Item = Message>) {
    make(store, key, |draft| messages.into_iter().for_each(|message| draft.message(message))).await;
}

/// Gives a command whose answer says nothing.
pub(crate) async fn give(shell: &mut MultiplexedConnection, command: &[&str]) {
    redis::cmd(command[0]).arg(&command[1..]).exec_async(shell).await.unwrap();
}

/// A store that waits as long as a busy machine takes.
pub(crate) async fn open(url: &str) -> Arc<RedisStore> {
    Arc::new(RedisStore::open_with(url, &patient()).await.unwrap())
}

/// The same for what is ephemeral.
pub(crate) async fn open_ephemeral(url: &str) -> Arc<RedisEphemeral> {
    Arc::new(RedisEphemeral::open_with(url, &patient()).await.unwrap())
}

fn patient() -> RedisOptions {
    RedisOptions { call_timeout: Duration::from_secs(30), replica_timeout: Duration::from_secs(20) }
}

/// A store on a new, empty namespace, and the URL of that.
pub(crate) async fn store() -> (Arc<RedisStore>, String) {
    let url = server::url();
    (open(&url).await, url)
}

/// No call takes longer, whatever happens; it may end in an error.
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let answer = call.await;
    // A second, and what a busy machine takes beside.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    answer
}

/// What a call answers once it works again.
pub(crate) async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let begin = Instant::now();
    loop {
        match in_time(call()).await {
            Ok(answer) => return answer,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Charges alice, who has one in a minute.
pub(crate) async fn charge(store: &RedisEphemeral) -> Result<Charge, StoreError> {
    charge_to(store, "alice").await
}

pub(crate) async fn charge_to(store: &RedisEphemeral, user: &str) -> Result<Charge, StoreError> {
    let quota = Quota::new(1, Duration::from_mins(1)).unwrap();
    store.charge(&ThrottleKey::user(&key(user)), quota, now()).await
}
