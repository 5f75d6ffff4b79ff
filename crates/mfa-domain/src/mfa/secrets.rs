//! The opened secrets of one request; each is opened once, however often the request is retried.

use otp_core::Secret;

use super::{Mfa, Undecided};
use crate::AccountKey;
use crate::account::{Factor, OpenSecret};
use crate::ports::VaultError;
use crate::sealed::{SealContext, Sealed};

/// The secrets that were opened for one request.
#[derive(Debug, Default)]
pub(super) struct OpenSecrets(Vec<OpenSecret>);

impl OpenSecrets {
    /// Opens the secrets that are not open yet. Secrets that are unchanged since an earlier try stay open.
    pub(super) async fn open<'a>(
        &mut self,
        mfa: &Mfa,
        key: &AccountKey,
        factors: impl IntoIterator<Item = &'a Factor>,
    ) -> Result<&[OpenSecret], Undecided> {
        // Only secrets that codes are generated from. The sealed value of an address factor is the address.
        let with_secret =
            |factor: &'a Factor| factor.token().and(factor.sealed.as_ref()).map(|sealed| (factor, sealed));
        for (factor, sealed) in factors.into_iter().filter_map(with_secret) {
            if !self.0.iter().any(|open| open.factor == factor.id && open.sealed == *sealed) {
                self.0.push(mfa.open(key, factor, sealed).await?);
            }
        }
        Ok(&self.0)
    }
}

impl Mfa {
    /// Opens the secret of a factor. Seals it again if a newer key exists.
    async fn open(
        &self,
        account: &AccountKey,
        factor: &Factor,
        sealed: &Sealed,
    ) -> Result<OpenSecret, Undecided> {
        let vault = self.ports.vault.as_ref();
        let context = SealContext::Factor { account, factor: factor.id, kind: &factor.kind() };
        let sealed = sealed.clone();
        let secret = vault.open(&sealed, &context).await?;
        let secret = Secret::from_bytes(&secret).map_err(VaultError::new)?;
        let superseded = vault.supersedes(&sealed.key);
        let resealed = if superseded { Some(vault.seal(secret.expose(), &context).await?) } else { None };
        Ok(OpenSecret { factor: factor.id, sealed, secret, resealed })
    }
}
