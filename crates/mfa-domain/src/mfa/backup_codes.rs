//! Issuing backup codes.

use std::sync::Arc;

use futures_util::future::try_join_all;
use zeroize::Zeroizing;

use super::{Call, ChangeError, Mfa, Undecided};
use crate::account::{BackupCodes, HashedCode};
use crate::ports::Commit;
use crate::{AccountKey, BackupCode, Timestamp};

/// Backup codes in plain text. Show them to their owner once.
#[derive(Debug)]
pub struct PlainBackupCodes(Arc<Vec<BackupCode>>);

/// New codes in plain text, and their hashes.
pub(super) type Fresh = (PlainBackupCodes, BackupCodes);

impl PlainBackupCodes {
    /// The codes.
    #[must_use]
    pub fn codes(&self) -> &[BackupCode] {
        &self.0
    }

    /// Shares the codes without copying them.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Mfa {
    /// Issues new backup codes. The old ones stop working.
    ///
    /// # Errors
    /// [`PolicyDenial`](crate::PolicyDenial) if the user has no active factor or no recent verification;
    /// [`Undecided`] if a port failed.
    pub async fn issue_backup_codes(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, PlainBackupCodes>>,
    ) -> Result<PlainBackupCodes, ChangeError> {
        let call = call.into();
        let mut fresh = None;
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            account.admit_backup_codes(context)?;
            let (codes, set) = self.fresh_backup_codes(&mut fresh, context.now).await?;
            let delta = account.issue_backup_codes(context, set)?;
            if change.commit_delta(delta, &codes, call.keep.as_ref()).await? == Commit::Won {
                return Ok(codes);
            }
        }
    }

    /// Generates one set of codes per request; retries reuse it.
    pub(super) async fn fresh_backup_codes(
        &self,
        fresh: &mut Option<Fresh>,
        now: Timestamp,
    ) -> Result<Fresh, Undecided> {
        if let Some((codes, set)) = fresh {
            return Ok((codes.share(), set.clone()));
        }
        let hasher = self.ports.hasher.as_ref();
        let scheme = hasher.scheme()?;
        let fresh_codes = (0..self.policies.backup_codes.set_size()).map(|_| self.fresh_code());
        let plain = fresh_codes.collect::<Result<Vec<_>, _>>()?;
        // Submitted all at once; the hasher limits how many run in parallel.
        let results = try_join_all(plain.iter().map(|code| hasher.hash(&scheme, code))).await?;
        let codes = results.into_iter().map(|hash| HashedCode { hash, spent_at: None }).collect();
        let set = BackupCodes { scheme, codes, issued_at: now };
        let plain = PlainBackupCodes(Arc::new(plain));
        *fresh = Some((plain.share(), set.clone()));
        Ok((plain, set))
    }

    fn fresh_code(&self) -> Result<BackupCode, Undecided> {
        let mut random = Zeroizing::new([0; BackupCode::ENTROPY_BYTES]);
        self.ports.entropy.fill(random.as_mut_slice())?;
        Ok(BackupCode::from_entropy(&random))
    }
}
