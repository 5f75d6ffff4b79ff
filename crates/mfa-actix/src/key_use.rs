//! Records the minute in which each API key was last used, in the background.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mfa_domain::Timestamp;
use mfa_domain::ports::{ApiKey, ApiKeyId, ApiKeyStore};

use crate::chain::Chain;

/// For each key, the last minute that this process began to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyUses(Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>);

impl KeyUses {
    /// Records the use of a key, if it is the first in this minute. No request waits for it or fails because of it.
    pub(crate) fn note(&self, store: &Arc<dyn ApiKeyStore>, key: &ApiKey, now: Timestamp) {
        let minute = Timestamp::from_unix_seconds(now.unix_seconds() / 60 * 60);
        if !self.is_due(key, minute) {
            return;
        }
        let (store, id) = (Arc::clone(store), key.id.clone());
        actix_web::rt::spawn(async move {
            if let Err(error) = store.note_use(&id, minute).await {
                tracing::warn!(api_key = %id, error = %Chain(&error), "could not record the last use of an API key");
            }
        });
    }

    /// Whether to write this minute. Only the first request of a minute writes it; a failed write is not repeated.
    fn is_due(&self, key: &ApiKey, minute: Timestamp) -> bool {
        let begin = || self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), minute);
        key.last_used_at < Some(minute) && begin() < Some(minute)
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::ports::ApiKeyHash;
    use mfa_domain::{TenantId, UserCase};

    use super::*;

    #[test]
    fn a_use_is_written_once_a_minute_by_whichever_replica_is_first() {
        let second = Timestamp::from_unix_seconds;
        let unused = ApiKey {
            id: ApiKeyId::new("web").unwrap(),
            name: None,
            tenant: TenantId::new("acme").unwrap(),
            user_case: UserCase::Exact,
            scopes: [].into(),
            hash: ApiKeyHash::of(""),
            created_at: Timestamp::default(),
            revoked_at: None,
            last_used_at: None,
        };
        let used = |at| ApiKey { last_used_at: Some(second(at)), ..unused.clone() };
        let (one, other) = (KeyUses::default(), KeyUses::default());
        assert!(one.is_due(&unused, second(60)));
        assert!(!one.is_due(&unused, second(60)), "the write is under way, or has failed");
        assert!(!other.is_due(&used(60), second(60)), "another replica wrote it");
        assert!(one.is_due(&unused, second(120)), "the write of the last minute has failed");
        assert!(other.is_due(&used(60), second(120)));
        assert!(!other.is_due(&used(120), second(60)), "the clock was set back");
    }
}
