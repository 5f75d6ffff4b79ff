//! Where the keys of API callers are kept.

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

/// Keeps API keys, hashed. Nothing in [`Mfa`](crate::Mfa) uses it: it belongs to the edge that
/// authenticates callers.
#[async_trait]
pub trait ApiKeyStore: Debug + Send + Sync + 'static {
    /// Keeps a new key. MUST refuse an id that is there already. A tenant's first key fixes
    /// [`ApiKey::user_case`]: every other key of the tenant MUST be kept with that of the first, whatever it says
    /// itself, also if several are inserted at once. Or the same user would have an account for each key.
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError>;

    /// Reads one key, revoked or not. MUST see every change that was answered before the call.
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Every key, of one tenant or of all. A key that cannot be read MUST be named in [`ApiKeyList::unreadable`],
    /// unless its tenant is known to be another, and MUST NOT keep the others out.
    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError>;

    /// Marks a key revoked, unless it is; `false` if there is no such key.
    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError>;

    /// Sets [`ApiKey::last_used_at`], unless it is later already. MUST change nothing else, and MUST NOT make a key
    /// that is not there. It need not be durable: the next use sets it again.
    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError>;
}

/// An API key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part.
    pub id: ApiKeyId,
    /// What operators call it.
    pub name: Option<ApiKeyName>,
    /// Whose accounts it reaches.
    pub tenant: TenantId,
    /// Whether case tells the users of the tenant apart.
    pub user_case: UserCase,
    /// What it may do.
    pub scopes: Scopes,
    /// The hash of the whole key.
    pub hash: ApiKeyHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; from then on it opens nothing.
    pub revoked_at: Option<Timestamp>,
    /// The beginning of the minute in which it was last used; `None` if it never was.
    pub last_used_at: Option<Timestamp>,
}

/// The API keys of a tenant, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyList {
    /// Oldest first.
    pub keys: Vec<ApiKey>,
    /// Those that cannot be read, in any order.
    pub unreadable: Vec<UnreadableApiKey>,
}

impl ApiKeyList {
    /// Whether there is no key at all, readable or not.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.unreadable.is_empty()
    }
}

/// An API key whose row was changed past this program. It opens nothing. It prints as `API key abc cannot be read: …`,
/// the id escaped as [`UserId::escaped`](crate::UserId::escaped) does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableApiKey {
    /// Its id as the store has it, whether or not it is one.
    pub id: Vec<u8>,
    /// What is wrong with it. Holds no stored value.
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
    /// Takes an id.
    ///
    /// # Errors
    /// [`InvalidApiKeyId`] if it is empty, too long or holds another character.
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

/// A text that is no API key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an API key id has 1 to 32 characters of a-z 0-9")]
pub struct InvalidApiKeyId;

/// What operators call an API key, such as the application that has it.
///
/// 1 to 64 characters under the rules of [`Label`], and no parenthesis: the audit trail has the name in a pair of
/// them behind the id, and no name can pass for the end of one and another actor. Several keys may have one name, as
/// the old and the new one of an application have while it changes over.
///
/// ```
/// use mfa_domain::ports::ApiKeyName;
/// assert_eq!(ApiKeyName::new(" shop ").unwrap().as_str(), "shop");
/// assert!(ApiKeyName::new("shop) admin api-key:x (").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyName(Label);

impl ApiKeyName {
    /// Takes a name as a person typed it.
    ///
    /// # Errors
    /// [`InvalidApiKeyName`] if it is no [`Label`] or holds a parenthesis.
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

/// Why a text is no name of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidApiKeyName {
    /// It is no [`Label`].
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// It holds `(` or `)`.
    #[error("must not hold a parenthesis")]
    Parenthesis,
}

/// SHA-256 of a whole API key. A fast hash is right here: the key has 256 random bits, so nothing
/// can be guessed.
#[derive(Clone, Eq)]
pub struct ApiKeyHash(pub [u8; 32]);

impl ApiKeyHash {
    /// The hash of a key as callers send it.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl PartialEq for ApiKeyHash {
    /// In constant time.
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
    /// Check codes.
    Verify,
    /// Enrol, confirm, rename and remove factors; issue backup codes.
    Enrol,
    /// Unlock, reset, erase; import secrets.
    Admin,
    /// Read the audit trail.
    Audit,
}

/// A set of scopes.
pub type Scopes = BTreeSet<Scope>;

impl Scope {
    /// Every scope.
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

/// A name that is no scope.
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
