//! The name and the last use of an API key.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mfa_actix::Api;
use mfa_actix::api_key::PlainApiKey;
use mfa_actix::throttling::Throttling;
use mfa_domain::ports::{ApiKey, ApiKeyId, ApiKeyList, ApiKeyName, ApiKeyStore, Clock, Scope, StoreError};
use mfa_domain::{TenantId, Timestamp};
use mfa_store_memory::{MemoryStore, MemoryThrottle};
use mfa_testkit::{ManualClock, ports};
use serde_json::json;

use crate::world::{World, world};

/// What becomes of the note that a key is used.
#[derive(Clone, Copy, Debug)]
enum Note {
    Written,
    Failed,
    Unanswered,
}

/// Keys in memory, and how often a use was noted.
#[derive(Debug)]
struct Keys {
    memory: Arc<MemoryStore>,
    note: Note,
    noted: AtomicUsize,
}

#[async_trait]
impl ApiKeyStore for Keys {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.memory.insert(key).await
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.memory.find(id).await
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        self.memory.list(tenant).await
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        self.memory.revoke(id, at).await
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        self.noted.fetch_add(1, Ordering::SeqCst);
        match self.note {
            Note::Written => self.memory.note_use(id, at).await,
            Note::Failed => Err(StoreError::new("read-only")),
            Note::Unanswered => pending().await,
        }
    }
}

/// A world whose only key is called "shop", and where the notes go.
async fn shop(note: Note) -> (World, Arc<Keys>, ApiKeyId, Arc<ManualClock>) {
    let memory = Arc::new(MemoryStore::default());
    let test = ports(memory.clone());
    let plain = PlainApiKey::generate(test.ports.entropy.as_ref()).unwrap();
    let scopes = [Scope::Verify, Scope::Enrol, Scope::Audit].into();
    let record = plain.record(TenantId::new("acme").unwrap(), scopes, test.clock.now()).unwrap();
    let keys = Arc::new(Keys { memory, note, noted: AtomicUsize::default() });
    keys.insert(&ApiKey { name: ApiKeyName::new("shop").ok(), ..record }).await.unwrap();
    let throttling = Throttling::new(Arc::new(MemoryThrottle::default()));
    let api = Api::new(Arc::new(test.mfa()), keys.clone(), throttling);
    let world = World { api, key: plain.expose().to_owned(), ..world().await };
    (world, keys, plain.id().clone(), test.clock)
}

#[actix_web::test]
async fn a_use_is_written_once_a_minute_and_no_request_waits_for_it_or_fails_with_it() {
    for note in [Note::Written, Note::Failed, Note::Unanswered] {
        let (world, keys, id, clock) = shop(note).await;
        for (requests, after, noted) in [(3, 0, 1), (3, 59, 1), (3, 1, 2), (1, 630, 3)] {
            clock.advance(Duration::from_secs(after));
            for _ in 0..requests {
                assert_eq!(world.call("GET", "/mfa/v1/users/alice", None).await.status, 200, "{note:?}");
                // What the request left behind.
                tokio::task::yield_now().await;
            }
            assert_eq!(keys.noted.load(Ordering::SeqCst), noted, "{note:?}");
        }
        let used = keys.find(&id).await.unwrap().unwrap().last_used_at;
        let minute = Timestamp::from_unix_seconds(1_800_000_000 + 660);
        assert_eq!(used, matches!(note, Note::Written).then_some(minute), "{note:?}");
    }
}

#[actix_web::test]
async fn a_wrong_key_is_no_use_of_the_right_one() {
    let (mut world, keys, id, clock) = shop(Note::Written).await;
    world.key.push('x');
    assert_eq!(world.call("GET", "/mfa/v1/users/alice", None).await.status, 401);
    world.key.pop();
    keys.revoke(&id, clock.now()).await.unwrap();
    assert_eq!(world.call("GET", "/mfa/v1/users/alice", None).await.status, 401);
    tokio::task::yield_now().await;
    assert_eq!(keys.noted.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn the_trail_names_the_key() {
    let (world, _, id, _) = shop(Note::Written).await;
    let body = json!({ "kind": "totp", "label": "Phone" });
    assert_eq!(world.call("POST", "/mfa/v1/users/alice/factors", Some(body)).await.status, 201);
    let events = world.call("GET", "/mfa/v1/events", None).await.json();
    assert_eq!(events["events"][0]["actor"], format!("user api-key:{id} (shop)"));
}
