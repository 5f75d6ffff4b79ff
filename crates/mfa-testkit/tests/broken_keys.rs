//! Stores of API keys that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::ports::{ApiKey, ApiKeyId, ApiKeyList, ApiKeyStore, StoreError};
use mfa_domain::{TenantId, Timestamp};
use mfa_testkit::{Violation, api_key_store};

/// What is wrong with a store of API keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    DuplicatesReplace,
    ScopesForgotten,
    RevokedAreNotFound,
    RevocationsMove,
    UnknownAreRevoked,
    NewestFirst,
    OfEveryTenant,
    CaseOfEachKey,
    NaiveInsert,
    UsesMoveBack,
    NaiveUse,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_store_of_api_keys_is_found() {
    use Wrong::{
        CaseOfEachKey, DuplicatesReplace, NaiveInsert, NaiveUse, NewestFirst, OfEveryTenant, RevocationsMove,
        RevokedAreNotFound, ScopesForgotten, UnknownAreRevoked, UsesMoveBack,
    };
    let store = |wrong| BrokenStore { wrong, keys: Arc::default() };
    for wrong in [
        DuplicatesReplace,
        ScopesForgotten,
        RevokedAreNotFound,
        RevocationsMove,
        UnknownAreRevoked,
        NewestFirst,
        OfEveryTenant,
        CaseOfEachKey,
        UsesMoveBack,
    ] {
        assert!(
            api_key_store::basic(&store(wrong)).await.is_err(),
            "the basic suite does not find {wrong:?}"
        );
    }
    let race = async |wrong| -> Result<(), Violation> {
        let store = Arc::new(store(wrong));
        api_key_store::race(store.clone(), store).await
    };
    for wrong in [NaiveInsert, NaiveUse, RevocationsMove] {
        assert!(race(wrong).await.is_err(), "the race suite does not find {wrong:?}");
    }
    assert_eq!(api_key_store::basic(&store(NaiveInsert)).await, Ok(()), "it is right for one caller");
}

#[derive(Clone, Debug)]
struct BrokenStore {
    wrong: Wrong,
    keys: Arc<Mutex<Vec<ApiKey>>>,
}

#[async_trait]
impl ApiKeyStore for BrokenStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        let there = self.keys.lock().unwrap().iter().any(|old| old.id == key.id);
        if self.wrong == Wrong::NaiveInsert {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if there && self.wrong != Wrong::DuplicatesReplace {
            return Err(StoreError::new("taken"));
        }
        let mut key = key.clone();
        if self.wrong == Wrong::ScopesForgotten {
            key.scopes.clear();
        }
        let mut keys = self.keys.lock().unwrap();
        if let Some(first) = keys.iter().find(|old| old.tenant == key.tenant)
            && self.wrong != Wrong::CaseOfEachKey
        {
            key.user_case = first.user_case;
        }
        keys.retain(|old| old.id != key.id);
        keys.push(key);
        keys.sort_by_key(|key| key.created_at);
        Ok(())
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        let found = self.keys.lock().unwrap().iter().find(|key| key.id == *id).cloned();
        let hide = self.wrong == Wrong::RevokedAreNotFound;
        Ok(found.filter(|key| !hide || key.revoked_at.is_none()))
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        let all = self.wrong == Wrong::OfEveryTenant;
        let mut keys = self.keys.lock().unwrap().clone();
        keys.retain(|key| all || tenant.is_none_or(|tenant| key.tenant == *tenant));
        if self.wrong == Wrong::NewestFirst {
            keys.reverse();
        }
        Ok(ApiKeyList { keys, unreadable: Vec::new() })
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        let mut keys = self.keys.lock().unwrap();
        let Some(key) = keys.iter_mut().find(|key| key.id == *id) else {
            return Ok(self.wrong == Wrong::UnknownAreRevoked);
        };
        if key.revoked_at.is_none() || self.wrong == Wrong::RevocationsMove {
            key.revoked_at = Some(at);
        }
        Ok(true)
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        let mut latest = self.find(id).await?.and_then(|key| key.last_used_at).max(Some(at));
        match self.wrong {
            Wrong::UsesMoveBack => latest = Some(at),
            Wrong::NaiveUse => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            _ => {}
        }
        if let Some(key) = self.keys.lock().unwrap().iter_mut().find(|key| key.id == *id) {
            key.last_used_at = latest;
        }
        Ok(())
    }
}
