//! The ids of tenants, accounts and factors.

mod user_case;
mod user_id;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use crate::Timestamp;

pub use self::user_case::{UnknownUserCase, UserCase};
pub use self::user_id::{Escaped, UserId};

/// One customer of an installation. Accounts, API keys and events of different tenants are separate.
///
/// 1 to 64 characters of `a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// ```
/// use mfa_domain::TenantId;
/// assert!(TenantId::new("acme").is_ok());
/// assert!(TenantId::new("Acme Inc").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(String);

impl TenantId {
    /// The longest tenant id, in characters.
    pub const MAX_LENGTH: usize = MAX_NAME;

    /// Parses a tenant id.
    ///
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or contains another character.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        plain_name("tenant", text).map(Self)
    }

    /// The tenant of the installation itself. It has no users, so no API key may be for it.
    #[must_use]
    pub fn installation() -> Self {
        Self("mfa-server".to_owned())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key of one [`Account`](crate::Account): a user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
}

impl AccountKey {
    /// The key of `user` of `tenant`.
    #[must_use]
    pub const fn new(tenant: TenantId, user: UserId) -> Self {
        Self { tenant, user }
    }
}

/// The opaque id of one factor: time-ordered, unique, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactorId(Uuid);

impl FactorId {
    /// Makes an id from the time and 10 fresh random bytes (RFC 9562, version 7).
    #[must_use]
    pub fn fresh(now: Timestamp, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), random).into_uuid())
    }

    /// The 16 bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for FactorId {
    type Err = InvalidId;

    /// Parses the form of `Display`, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "factor", rule: "a lower-case UUID with hyphens" };
        let id = Uuid::try_parse(text).map_err(|_| invalid.clone())?;
        if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) != text {
            return Err(invalid);
        }
        Ok(Self(id))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FactorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// The longest name that an operator chooses, in characters.
pub(crate) const MAX_NAME: usize = 64;

/// Checks a name that an operator chooses. It may appear in URLs, logs and labels of metrics.
pub(crate) fn plain_name(what: &'static str, text: &str) -> Result<String, InvalidId> {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if text.len() <= MAX_NAME && starts_well && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(InvalidId { what, rule: "1 to 64 characters of a-z 0-9 . _ -, beginning with a letter or digit" })
}

/// The text is not an id of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a {what} id; it must be {rule}")]
pub struct InvalidId {
    pub(crate) what: &'static str,
    pub(crate) rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_can_read_the_tenant_of_the_installation() {
        let tenant = TenantId::installation();
        assert_eq!(TenantId::new(tenant.as_str()), Ok(tenant));
    }

    #[test]
    fn factor_ids_are_read_back_and_only_in_the_form_given_out() {
        let id = FactorId::fresh(Timestamp::from_unix_seconds(1_700_000_000), &[7; 10]);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}")] {
            assert!(other.parse::<FactorId>().is_err(), "{other}");
        }
    }
}
