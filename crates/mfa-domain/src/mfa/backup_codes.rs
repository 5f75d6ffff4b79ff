//! Giving out backup codes.

use futures_util::future::try_join_all;
use zeroize::Zeroizing;

use super::{ChangeError, Mfa, Undecided};
use crate::account::{BackupCodes, Decision, HashedCode};
use crate::{AccountKey, Actor, BackupCode, Timestamp};

/// Backup codes in the clear: shown to their owner once, and never again.
#[derive(Debug)]
pub struct PlainBackupCodes(Vec<BackupCode>);

impl PlainBackupCodes {
    /// The codes.
    #[must_use]
    pub fn codes(&self) -> &[BackupCode] {
        &self.0
    }
}

impl Mfa {
    /// Gives out new backup codes; the old ones are dead.
    ///
    /// # Errors
    /// [`Refusal`](crate::Refusal) if the user is not enrolled or did not prove themselves lately;
    /// [`Undecided`] if a port failed.
    pub async fn issue_backup_codes(
        &self,
        key: &AccountKey,
        actor: &Actor,
    ) -> Result<PlainBackupCodes, ChangeError> {
        let mut fresh = None;
        let mut change = self.begin(key, actor).await;
        loop {
            let (account, context) = change.load().await?;
            account.admit_backup_codes(context)?;
            let set = self.fresh_backup_codes(&mut fresh, context.now).await?;
            let delta = account.issue_backup_codes(context, set)?;
            if change.commit(Decision { answer: (), delta }).await?.is_some() {
                return Ok(PlainBackupCodes(fresh.map(|(codes, _)| codes).unwrap_or_default()));
            }
        }
    }

    /// Makes a set of codes, once for all tries of a request.
    pub(super) async fn fresh_backup_codes(
        &self,
        fresh: &mut Option<(Vec<BackupCode>, BackupCodes)>,
        now: Timestamp,
    ) -> Result<BackupCodes, Undecided> {
        if let Some((_, set)) = fresh {
            return Ok(set.clone());
        }
        let hasher = self.ports.hasher.as_ref();
        let scheme = hasher.scheme()?;
        let fresh_codes = (0..self.policies.backup_codes.set_size()).map(|_| self.fresh_code());
        let plain = fresh_codes.collect::<Result<Vec<_>, _>>()?;
        // All at once: the hasher bounds how many really are.
        let results = try_join_all(plain.iter().map(|code| hasher.hash(&scheme, code))).await?;
        let codes = results.into_iter().map(|hash| HashedCode { hash, spent_at: None }).collect();
        let set = BackupCodes { scheme, codes, issued_at: now };
        *fresh = Some((plain, set.clone()));
        Ok(set)
    }

    fn fresh_code(&self) -> Result<BackupCode, Undecided> {
        let mut random = Zeroizing::new([0; BackupCode::ENTROPY_BYTES]);
        self.ports.entropy.fill(random.as_mut_slice())?;
        Ok(BackupCode::from_entropy(&random))
    }
}

impl From<Vec<BackupCode>> for PlainBackupCodes {
    fn from(codes: Vec<BackupCode>) -> Self {
        Self(codes)
    }
}
