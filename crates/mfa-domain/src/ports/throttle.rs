//! Rate limits for callers.

use std::fmt::{self, Debug};
use std::net::{IpAddr, Ipv6Addr};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ApiKeyId, StoreError};
use crate::quota::{Charge, Quota};
use crate::{AccountKey, Address, TenantId, Timestamp};

/// Counts calls, so that a flood by one caller does not exhaust the service for all.
///
/// It protects capacity and permanent storage. It does not protect codes: the attempt budget of an account is part of
/// the account, and holds when the throttle is empty, wrong or gone. So if this port fails, a call that only verifies
/// a code continues; a call that costs money, such as sending, does not.
#[async_trait]
pub trait Throttle: Debug + Send + Sync + 'static {
    /// Charges one call to the bucket of `key`, by [`Quota::charge`].
    ///
    /// - MUST be atomic: every one of parallel charges counts, on any replica.
    /// - A refused charge MUST change nothing. No charge may affect the bucket of another key.
    /// - The time is `now`. MUST NOT decide by its own clock. MUST NOT grant more because `now` is before an earlier
    ///   `now`.
    /// - MAY forget a bucket that was full again an hour before `now`. MAY forget any other only to bound its memory,
    ///   and then the one that is full again first.
    /// - Need not be durable.
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError>;
}

/// The subject of a charge. Opaque to a throttle; contains no secret.
///
/// `Display` gives a unique text for each key, for stores that need one. The parts are unambiguous, since neither a
/// kind nor a tenant contains a `/`.
///
/// ```
/// use mfa_domain::ports::ThrottleKey;
/// use mfa_domain::{AccountKey, TenantId, UserId};
///
/// let alice = AccountKey::new(TenantId::new("acme")?, UserId::new("alice")?);
/// assert_eq!(ThrottleKey::user(&alice).to_string(), "user/acme/alice");
/// assert_eq!(ThrottleKey::address("2001:db8::1:2:3:4".parse().unwrap()).to_string(), "address//2001:db8::");
/// # Ok::<(), mfa_domain::identity::InvalidId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThrottleKey {
    kind: ThrottleKind,
    tenant: Option<TenantId>,
    subject: String,
}

/// The kind of caller or call. Keys of different kinds are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ThrottleKind {
    /// All calls of one tenant.
    Tenant,
    /// All calls with one API key.
    ApiKey,
    /// Calls that verify a code of one user or change their factors.
    User,
    /// Changes of one user's factors. The audit trail keeps each.
    Change,
    /// Backup codes tried for one user. Each costs a slow hash.
    BackupCode,
    /// Replays of one user's used codes. The audit trail keeps each.
    Replay,
    /// Messages to one user.
    Message,
    /// Messages to one address.
    Recipient,
    /// Messages to all users of one tenant.
    TenantMessages,
    /// Challenges of one tenant that name no user.
    TenantChallenges,
    /// Calls without a valid API key from one client.
    Address,
    /// Test charges that check whether the throttle works.
    Probe,
}

impl ThrottleKey {
    /// All calls of a tenant.
    #[must_use]
    pub fn tenant(tenant: &TenantId) -> Self {
        Self { kind: ThrottleKind::Tenant, tenant: Some(tenant.clone()), subject: String::new() }
    }

    /// All calls with an API key of a tenant.
    #[must_use]
    pub fn api_key(tenant: &TenantId, id: &ApiKeyId) -> Self {
        let subject = id.as_str().to_owned();
        Self { kind: ThrottleKind::ApiKey, tenant: Some(tenant.clone()), subject }
    }

    /// Calls that verify a code of a user or change their factors.
    #[must_use]
    pub fn user(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::User, account)
    }

    /// Changes of a user's factors.
    #[must_use]
    pub fn change(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Change, account)
    }

    /// Backup codes tried for a user.
    #[must_use]
    pub fn backup_code(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::BackupCode, account)
    }

    /// Recorded replays of a user's used codes.
    #[must_use]
    pub fn replay(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Replay, account)
    }

    /// Messages to a user.
    #[must_use]
    pub fn message(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Message, account)
    }

    /// Messages to an address.
    ///
    /// Addresses that most servers deliver to the same mailbox have the same key: case, a suffix after `+` in the
    /// local part, quotation marks around the local part (RFC 5321, 4.1.2), and the form of an international domain
    /// (RFC 5891) make no difference.
    ///
    /// The key contains a digest of the address, so that the store of a throttle shows no address. The digest has no
    /// secret key: anybody who can read the store can test whether a guessed address got messages in the last hours.
    #[must_use]
    pub fn recipient(tenant: &TenantId, address: &Address) -> Self {
        let (name, domain) = match address.expose().rsplit_once('@') {
            Some((name, domain)) => (mailbox(name), domain),
            None => (Zeroizing::new(address.expose().to_owned()), ""),
        };
        let name = Zeroizing::new(name.to_lowercase());
        let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
        let digest = Sha256::new().chain_update("mfa recipient v1").chain_update(name.as_bytes());
        let digest = digest.chain_update("@").chain_update(domain).finalize();
        let subject = HEXLOWER.encode(&digest[..16]);
        Self { kind: ThrottleKind::Recipient, tenant: Some(tenant.clone()), subject }
    }

    /// Messages to the users of a tenant.
    #[must_use]
    pub fn tenant_messages(tenant: &TenantId) -> Self {
        Self { kind: ThrottleKind::TenantMessages, tenant: Some(tenant.clone()), subject: String::new() }
    }

    /// Challenges of a tenant that name no user.
    #[must_use]
    pub fn tenant_challenges(tenant: &TenantId) -> Self {
        Self { kind: ThrottleKind::TenantChallenges, tenant: Some(tenant.clone()), subject: String::new() }
    }

    /// Calls without a valid API key from a client address. An IPv6 address counts as its /64 network, since one
    /// client usually has all addresses of it (RFC 6177).
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        };
        Self { kind: ThrottleKind::Address, tenant: None, subject: network }
    }

    /// The bucket that readiness checks charge.
    #[must_use]
    pub const fn probe() -> Self {
        Self { kind: ThrottleKind::Probe, tenant: None, subject: String::new() }
    }

    fn of_account(kind: ThrottleKind, account: &AccountKey) -> Self {
        Self { kind, tenant: Some(account.tenant.clone()), subject: account.user.as_str().to_owned() }
    }

    /// The kind of the key.
    #[must_use]
    pub const fn kind(&self) -> ThrottleKind {
        self.kind
    }
}

/// The mailbox that most servers derive from the part before the `@`: without quotation marks, and without the first
/// `+` and what follows. A leading `+` is kept.
fn mailbox(name: &str) -> Zeroizing<String> {
    let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let unquoted = Zeroizing::new(quoted.map_or_else(|| name.to_owned(), |name| name.replace('\\', "")));
    match unquoted.split_once('+') {
        Some((mailbox, _)) if !mailbox.is_empty() => Zeroizing::new(mailbox.to_owned()),
        _ => unquoted,
    }
}

impl ThrottleKind {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::ApiKey => "api_key",
            Self::User => "user",
            Self::Change => "change",
            Self::BackupCode => "backup_code",
            Self::Replay => "replay",
            Self::Message => "message",
            Self::Recipient => "recipient",
            Self::TenantMessages => "tenant_messages",
            Self::TenantChallenges => "tenant_challenges",
            Self::Address => "address",
            Self::Probe => "probe",
        }
    }
}

impl fmt::Display for ThrottleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ThrottleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenant = self.tenant.as_ref().map_or("", TenantId::as_str);
        write!(f, "{}/{tenant}/{}", self.kind, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_counts_as_its_network_and_a_mapped_one_as_that_of_ipv4() {
        let key = |text: &str| ThrottleKey::address(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "address//2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:ffff::"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), "address//192.0.2.1");
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_mailbox_is_one_recipient_however_its_address_is_written() {
        let key = |tenant: &str, address: &str| {
            ThrottleKey::recipient(&TenantId::new(tenant).unwrap(), &Address::new(address).unwrap())
        };
        let one = key("acme", "eve@bücher.example");
        for same in [
            "EVE@BÜCHER.example",
            "eve@xn--bcher-kva.example",
            "Eve@XN--BCHER-KVA.Example",
            "eve+1@bücher.example",
            "Eve+2+3@bücher.example",
            "eve+@bücher.example",
            r#""eve"@bücher.example"#,
            r#""e\ve+1"@bücher.example"#,
        ] {
            assert_eq!(key("acme", same), one, "{same}");
        }
        for (tenant, other) in [
            ("other", "eve@bücher.example"),
            ("acme", "eva@bücher.example"),
            ("acme", "eve@bucher.example"),
            ("acme", "+eve@bücher.example"),
            ("acme", "eve"),
            ("acme", "eve@exa_mple..example"),
        ] {
            assert_ne!(key(tenant, other), one, "{other}");
        }
        assert_eq!(key("acme", "+4915112345678"), key("acme", "+4915112345678"));
        assert_ne!(key("acme", "+4915112345678"), key("acme", "+4915112345679"));
        assert_ne!(key("acme", "+1@bücher.example"), key("acme", "+2@bücher.example"));
        assert!(!one.to_string().contains("eve"), "{one}");
    }
}
