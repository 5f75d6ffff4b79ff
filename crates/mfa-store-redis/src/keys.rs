//! Names of keys. Keys that change together share a hash tag, the part in braces, and so a slot of a cluster.
//! No tenant id contains a brace, and every tag of a tenant begins with it. So for any user id, a tag is
//! never empty, and all buckets of one account share one.

use mfa_domain::ports::{ApiKeyId, ThrottleKey};
use mfa_domain::{AccountKey, ChallengeId, TenantId};

/// The names of keys in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    namespace: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A bucket. Those of an account (`user`, `offer`) have the account's tag.
    pub(crate) fn bucket(&self, key: &ThrottleKey) -> String {
        let (kind, text) = (key.kind(), key.to_string());
        let whose = text.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&text);
        format!("{}:throttle:{{{whose}}}:{kind}", self.namespace)
    }

    /// A challenge: a hash. A caller knows only its id, so it has its own slot.
    pub(crate) fn challenge(&self, id: &ChallengeId) -> String {
        format!("{}:challenge:{id}", self.namespace)
    }

    /// The version of the keys of throttles and challenges.
    pub(crate) fn ephemeral_format(&self) -> String {
        format!("{}:ephemeral", self.namespace)
    }

    /// The version of the keys of accounts.
    pub(crate) fn format(&self) -> String {
        format!("{}:format", self.namespace)
    }

    /// The holder of the turn to create an installation.
    pub(crate) fn turn(&self) -> String {
        format!("{}:turn:{{turn}}", self.namespace)
    }

    /// The number of turns so far.
    pub(crate) fn turns(&self) -> String {
        format!("{}:turns:{{turn}}", self.namespace)
    }

    /// The tenants that have accounts: a sorted set with equal scores, so it is ordered by name.
    pub(crate) fn tenants(&self) -> String {
        format!("{}:tenants", self.namespace)
    }

    /// One account without its events: a hash.
    pub(crate) fn account(&self, key: &AccountKey) -> String {
        self.of(&key.tenant, &format!("account:{}", key.user.as_str()))
    }

    /// The users of a tenant: a sorted set like [`tenants`](Self::tenants).
    pub(crate) fn users(&self, tenant: &TenantId) -> String {
        self.of(tenant, "users")
    }

    /// Pairs of encryption key and user whose secrets it seals: a sorted set like [`tenants`](Self::tenants).
    pub(crate) fn sealed(&self, tenant: &TenantId) -> String {
        self.of(tenant, "sealed")
    }

    /// The handles of a tenant, each with its user: a hash.
    pub(crate) fn handles(&self, tenant: &TenantId) -> String {
        self.of(tenant, "handles")
    }

    /// The events of a tenant: a stream.
    pub(crate) fn events(&self, tenant: &TenantId) -> String {
        self.of(tenant, "events")
    }

    /// The ids of a user's events: a sorted set.
    pub(crate) fn events_of(&self, key: &AccountKey) -> String {
        self.of(&key.tenant, &format!("events:{}", key.user.as_str()))
    }

    /// The id of a tenant's last event: a number that only grows.
    pub(crate) fn last(&self, tenant: &TenantId) -> String {
        self.of(tenant, "last")
    }

    /// The messages of a tenant: a hash with a field for each part of each message.
    pub(crate) fn messages(&self, tenant: &TenantId) -> String {
        self.of(tenant, "messages")
    }

    /// The ids of a tenant's messages: a sorted set of the queued ones by due time, followed by the others by
    /// time of expiry. It exists as long as a message does, so a commit never names a missing key when
    /// nothing is queued.
    pub(crate) fn due(&self, tenant: &TenantId) -> String {
        self.of(tenant, "due")
    }

    /// Whether user ids of a tenant are case-sensitive: a text.
    pub(crate) fn user_case(&self, tenant: &TenantId) -> String {
        self.of(tenant, "case")
    }

    /// The ids of all API keys: a sorted set.
    pub(crate) fn api_keys(&self) -> String {
        format!("{}:keys", self.namespace)
    }

    /// One API key: a hash.
    pub(crate) fn api_key(&self, id: &ApiKeyId) -> String {
        format!("{}:key:{id}", self.namespace)
    }

    fn of(&self, tenant: &TenantId, what: &str) -> String {
        format!("{}:{{{tenant}}}:{what}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mfa_domain::UserId;

    use super::*;

    /// The tag as Redis finds it: between the first opening brace and the next closing one.
    fn tag(key: &str) -> &str {
        let (_, rest) = key.split_once('{').unwrap();
        rest.split_once('}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap()
    }

    #[test]
    fn whatever_users_are_called_their_keys_differ_and_are_in_the_slot_of_their_tenant() {
        let keys = Keys::new("mfa");
        let users = [
            "alice",
            "}",
            "{}",
            "{other}",
            "a}b",
            "a{b",
            "a}:user",
            "a}:change}:user",
            "/",
            "a:b",
            "events:a",
            "*",
        ];
        let mut names = BTreeSet::new();
        for user in users {
            let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(user).unwrap());
            let buckets =
                [ThrottleKey::user(&account), ThrottleKey::change(&account)].map(|key| keys.bucket(&key));
            assert_eq!(tag(&buckets[0]), tag(&buckets[1]), "{user}");
            let kept = [keys.account(&account), keys.events_of(&account)];
            assert!(kept.iter().all(|key| tag(key) == "acme"), "{user}");
            names.extend(buckets.into_iter().chain(kept));
        }
        names.extend([
            keys.users(&TenantId::new("acme").unwrap()),
            keys.events(&TenantId::new("acme").unwrap()),
        ]);
        assert_eq!(names.len(), 4 * users.len() + 2);
    }
}
