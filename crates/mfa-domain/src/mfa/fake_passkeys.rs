//! Invented credentials, which options ask for where a user has no passkey.
//!
//! Only this installation can tell them from real ones: the end of each id is a keyed hash of the rest. So an invented
//! id is refused like a real one wherever it is submitted, and not called unknown.

use data_encoding::BASE64URL_NOPAD;

use super::{Mfa, Undecided};
use crate::passkey::CredentialId;
use crate::ports::VaultError;
use crate::{AccountKey, TenantId, UserId};

/// A credential that options ask for: one of the user, or an invented one.
pub(super) struct Allowed {
    pub(super) id: CredentialId,
    pub(super) transports: Vec<String>,
}

/// The bytes at the end of an invented id by which it is recognised.
const TAG: usize = 8;

impl Mfa {
    /// One or two invented credentials, always the same for a user: of the lengths and transports that real ones have.
    pub(super) fn fakes(&self, AccountKey { tenant, user }: &AccountKey) -> Result<Vec<Allowed>, Undecided> {
        let pseudonym = |part: &str| {
            let parts = ["fake passkey", part, tenant.as_str(), user.as_str()];
            self.ports.vault.pseudonym(&parts.join("\0").into_bytes())
        };
        let shape = pseudonym("shape");
        let number = if shape[0] % 4 == 0 { 2 } else { 1 };
        let fake = |place: usize| {
            let (length, transports): (usize, &[&str]) = match shape[place + 1] % 4 {
                0 => (16, &["hybrid", "internal"]),
                1 => (20, &["hybrid", "internal"]),
                2 => (32, &["internal"]),
                _ => (48, &["nfc", "usb"]),
            };
            let mut bytes = [pseudonym(&format!("{place} a")), pseudonym(&format!("{place} b"))].concat();
            bytes.truncate(length - TAG);
            let end = self.end_of_fake(tenant, &bytes);
            bytes.extend_from_slice(&end[..TAG]);
            let id = CredentialId::new(bytes).map_err(VaultError::new)?;
            Ok(Allowed { id, transports: transports.iter().map(|name| (*name).to_owned()).collect() })
        };
        (0..number).map(fake).collect()
    }

    /// If this is an invented id: an account to read in place of the owner's, so that the answer takes as long as that
    /// for a real id. It is the account of a user whom nobody can know.
    pub(super) fn decoy(
        &self,
        tenant: &TenantId,
        id: &CredentialId,
    ) -> Result<Option<AccountKey>, Undecided> {
        let bytes = id.as_bytes();
        let (begin, end) = bytes.split_at(bytes.len().saturating_sub(TAG));
        let hash = self.end_of_fake(tenant, begin);
        let (expected, user) = hash.split_at(TAG);
        if end != expected {
            return Ok(None);
        }
        let user = UserId::new(&BASE64URL_NOPAD.encode(user)).map_err(VaultError::new)?;
        Ok(Some(AccountKey::new(tenant.clone(), user)))
    }

    /// The hash of the beginning of an invented id. Its first bytes are the end of the id; nobody can compute them.
    fn end_of_fake(&self, tenant: &TenantId, begin: &[u8]) -> [u8; 32] {
        let parts = [&b"fake passkey tag"[..], tenant.as_str().as_bytes(), begin];
        self.ports.vault.pseudonym(&parts.join(&b'\0'))
    }
}
