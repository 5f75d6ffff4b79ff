//! How often somebody may call.

use std::fmt::{self, Debug};
use std::net::{IpAddr, Ipv6Addr};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ApiKeyId, StoreError};
use crate::quota::{Charge, Quota};
use crate::{AccountKey, Address, TenantId, Timestamp};

/// Counts calls, so that nobody's flood becomes everybody's.
///
/// It guards capacity, and what a call leaves behind for good. It does not guard codes: the budget of
/// an account is in the account, and holds when a throttle is empty, wrong or gone. So what only
/// checks a code goes on when this port fails; what costs somebody money, as sending does, does not.
#[async_trait]
pub trait Throttle: Debug + Send + Sync + 'static {
    /// Charges one to the bucket of `key`, by [`Quota::charge`].
    ///
    /// MUST be atomic: of charges at the same time, on whichever replica, each counts. A refused charge
    /// MUST change nothing, and no charge may change what another key is admitted. The time is `now`;
    /// an implementation MUST NOT decide by a clock of its own, and MUST NOT grant more because `now` is
    /// before one that it has seen. It MAY forget a bucket that had recovered an hour before `now`;
    /// it MAY forget one that has not only to keep its memory bounded, and then first whichever is the
    /// next to recover. It need not be durable.
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError>;
}

/// What is charged: opaque to a throttle, and without secrets.
///
/// `Display` gives a text of its own for each key, for stores that need one; its parts cannot run into
/// each other, since neither a kind nor a tenant holds a `/`.
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

/// What kind of caller or call is charged. Keys of different kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ThrottleKind {
    /// All calls of one tenant.
    Tenant,
    /// All calls with one API key.
    ApiKey,
    /// Calls that check a code of one user, or change what they have.
    User,
    /// Calls that change what one user has, each of which the audit trail keeps.
    Change,
    /// Backup codes that are tried for one user, each of which costs a slow hash.
    BackupCode,
    /// Used codes of one user that are posted again, each of which the audit trail keeps.
    Replay,
    /// Messages to one user.
    Message,
    /// Messages to one address.
    Recipient,
    /// Messages to the users of one tenant.
    TenantMessages,
    /// Calls without a valid API key from one client.
    Address,
    /// Nobody's: the question whether the throttle works.
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

    /// What is checked or changed for a user.
    #[must_use]
    pub fn user(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::User, account)
    }

    /// Changes of what one user has.
    #[must_use]
    pub fn change(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Change, account)
    }

    /// Backup codes that are tried for a user.
    #[must_use]
    pub fn backup_code(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::BackupCode, account)
    }

    /// What the trail of a user keeps of used codes.
    #[must_use]
    pub fn replay(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Replay, account)
    }

    /// Messages to a user.
    #[must_use]
    pub fn message(account: &AccountKey) -> Self {
        Self::of_account(ThrottleKind::Message, account)
    }

    /// Messages to an address. What is the same mailbox to most servers is the same to it: neither case, nor what follows a
    /// `+` in the name, nor quotation marks around it (RFC 5321, 4.1.2), nor the form of an international domain (RFC 5891)
    /// tells two apart.
    ///
    /// It holds a digest of the address, so that a throttle's store shows none. That has no key: whoever reads the store
    /// can find out whether an address that they guess got messages within the last hours.
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

    /// Calls without a valid key from an address; of IPv6 its /64, since whoever has one address there
    /// has all of them (RFC 6177).
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        };
        Self { kind: ThrottleKind::Address, tenant: None, subject: network }
    }

    /// The bucket that is charged to see whether the throttle works.
    #[must_use]
    pub const fn probe() -> Self {
        Self { kind: ThrottleKind::Probe, tenant: None, subject: String::new() }
    }

    fn of_account(kind: ThrottleKind, account: &AccountKey) -> Self {
        Self { kind, tenant: Some(account.tenant.clone()), subject: account.user.as_str().to_owned() }
    }

    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> ThrottleKind {
        self.kind
    }
}

/// The name of a mailbox, as most servers read what stands before the `@`: without quotation marks, and without what
/// follows the first `+`. A `+` at the beginning follows no name.
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
