//! The store of API keys.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::str::FromStr;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::StoreError;
use crate::identity::Escaped;
use crate::text::InvalidText;
use crate::{Label, TenantId, Timestamp, UserCase};

/// Stores API keys, hashed. [`Mfa`](crate::Mfa) does not use this port; the layer that authenticates callers does.
#[async_trait]
pub trait ApiKeyStore: Debug + Send + Sync + 'static {
    /// Stores a new key.
    ///
    /// MUST fail if the id exists. The first key of a tenant fixes [`ApiKey::user_case`]: MUST store every later key
    /// of the tenant with the value of the first, whatever the key itself says, also if several are inserted in
    /// parallel. Otherwise one user could have two accounts.
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError>;

    /// Reads one key, revoked or not. MUST see every change that was answered before the call.
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Returns all keys of one tenant, or of all tenants. MUST name a key that cannot be read in
    /// [`ApiKeyList::unreadable`], unless it is known to belong to another tenant, and MUST still return the others.
    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError>;

    /// Marks a key as revoked unless it is already. Returns `false` if the key does not exist.
    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError>;

    /// Sets [`ApiKey::last_used_at`] unless the stored time is later. MUST change nothing else, and MUST NOT create a
    /// key. Need not be durable: the next use sets the time again.
    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError>;
}

/// A stored API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part.
    pub id: ApiKeyId,
    /// The operators' name for the key.
    pub name: Option<ApiKeyName>,
    /// The tenant whose accounts it gives access to.
    pub tenant: TenantId,
    /// Whether user ids of the tenant are case-sensitive.
    pub user_case: UserCase,
    /// What the key may do.
    pub scopes: Scopes,
    /// The hash of the whole key.
    pub hash: ApiKeyHash,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When the key was revoked. A revoked key gives no access.
    pub revoked_at: Option<Timestamp>,
    /// The minute of the last use, as its first instant; `None` if the key was never used.
    pub last_used_at: Option<Timestamp>,
}

/// The API keys of one tenant, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyList {
    /// The keys, oldest first.
    pub keys: Vec<ApiKey>,
    /// The keys that cannot be read, in any order.
    pub unreadable: Vec<UnreadableApiKey>,
}

impl ApiKeyList {
    /// Whether there is no key, readable or not.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.unreadable.is_empty()
    }
}

/// An API key that cannot be read, because another program changed its row. It gives no access.
///
/// Displayed as `API key abc cannot be read: …`, with the id escaped as by
/// [`UserId::escaped`](crate::UserId::escaped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableApiKey {
    /// The id as stored, valid or not.
    pub id: Vec<u8>,
    /// What is wrong with it. Contains no stored value.
    pub what: String,
}

impl fmt::Display for UnreadableApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = String::from_utf8_lossy(&self.id);
        write!(f, "API key {} cannot be read: {}", Escaped::of(&id), self.what)
    }
}

/// The public part of an API key: 1 to 32 characters of `a-z 0-9`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyId(String);

impl ApiKeyId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`InvalidApiKeyId`] if it is empty, too long or contains another character.
    pub fn new(text: &str) -> Result<Self, InvalidApiKeyId> {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9');
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidApiKeyId)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an API key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an API key id has 1 to 32 characters of a-z 0-9")]
pub struct InvalidApiKeyId;

/// The operators' name for an API key, such as the application that uses it.
///
/// 1 to 64 characters under the rules of [`Label`], without parentheses: the audit trail shows the name in
/// parentheses after the id, so a name cannot imitate another actor. Several keys may have the same name, for example
/// while an application changes from an old key to a new one.
///
/// ```
/// use mfa_domain::ports::ApiKeyName;
/// assert_eq!(ApiKeyName::new(" shop ").unwrap().as_str(), "shop");
/// assert!(ApiKeyName::new("shop) admin api-key:x (").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyName(Label);

impl ApiKeyName {
    /// Parses a name as typed.
    ///
    /// # Errors
    /// [`InvalidApiKeyName`] if it is not a [`Label`] or contains a parenthesis.
    pub fn new(text: &str) -> Result<Self, InvalidApiKeyName> {
        let label = Label::new(text)?;
        if label.as_str().contains(['(', ')']) {
            return Err(InvalidApiKeyName::Parenthesis);
        }
        Ok(Self(label))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ApiKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a name of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidApiKeyName {
    /// It is not a [`Label`].
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// It contains `(` or `)`.
    #[error("must not contain a parenthesis")]
    Parenthesis,
}

/// The SHA-256 hash of a whole API key. A fast hash is enough: the key has 256 random bits and cannot be guessed.
#[derive(Clone, Eq)]
pub struct ApiKeyHash(pub [u8; 32]);

impl ApiKeyHash {
    /// Hashes a key as callers send it.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl PartialEq for ApiKeyHash {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(..)")
    }
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Verify codes.
    Verify,
    /// Enrol, confirm, rename and remove factors; issue backup codes.
    Enrol,
    /// Unlock, reset and erase accounts; import secrets.
    Admin,
    /// Read the audit trail.
    Audit,
}

/// A set of scopes.
pub type Scopes = BTreeSet<Scope>;

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Verify, Self::Enrol, Self::Admin, Self::Audit];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Enrol => "enrol",
            Self::Admin => "admin",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name).ok_or(UnknownScope)
    }
}

/// The text is not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a scope; it must be verify, enrol, admin or audit")]
pub struct UnknownScope;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_pass_for_no_other_actor() {
        for bad in ["a (b", "a) b", ")", "a\nb", "a\u{202e}b"] {
            assert!(ApiKeyName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ApiKeyName::new(&"a".repeat(65)), Err(InvalidText::TooLong { max: 64 }.into()));
        for good in ["a", "o'brien: \"web\" [2]", &"é".repeat(64)] {
            assert_eq!(ApiKeyName::new(good).unwrap().as_str(), good);
        }
    }
}
