//! What a user has.

use std::collections::BTreeMap;

use super::{Mfa, Undecided};
use crate::account::{Account, BackupCodes, Factor};
use crate::policy::Standing;
use crate::ports::StoreError;
use crate::{AccountKey, FactorId, Timestamp};

/// What a user has. It holds no secret in the clear.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether there is an active factor.
    pub enrolled: bool,
    /// The active factors and those that still wait for their first code.
    pub factors: Vec<Factor>,
    /// Those of them that accept no code before that time, since their last step lies ahead of the present.
    pub ahead: BTreeMap<FactorId, Timestamp>,
    /// Backup codes that are not spent.
    pub backup_codes_remaining: usize,
    /// Backup codes in the set.
    pub backup_codes_total: usize,
    /// Whether the user should be told to get new backup codes.
    pub backup_codes_low: bool,
    /// Until when the account is locked, if it is.
    pub locked_until: Option<Timestamp>,
    /// Whether factors must be bound anew.
    pub disabled: bool,
    /// How many wrong codes in a row are evaluated before the account is locked or disabled; 100 stands
    /// for any larger number. For the host: no refusal tells it, since it would say which codes were
    /// guesses.
    pub attempts_left: u32,
}

impl Mfa {
    /// Whether the store answers and takes changes, and no secret needs a key that the vault lacks.
    ///
    /// A store that takes no changes, as on a full disk, is noticed by the latest change that this `Mfa` tried to make: if
    /// that failed within the last ten seconds, this fails, too.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn check_ready(&self) -> Result<(), Undecided> {
        if self.latest_commit.failed(self.ports.clock.now()) {
            return Err(StoreError::new("the latest change could not be stored").into());
        }
        for key in self.ports.accounts.keys_in_use().await? {
            self.ports.vault.check(&key).await?;
        }
        Ok(())
    }

    /// What a user has; a user never seen has nothing.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn status(&self, key: &AccountKey) -> Result<Status, Undecided> {
        let now = self.ports.clock.now();
        let account: Account = self.ports.accounts.load(key).await?.value;
        let standing = self.policies.lockout.judge(&account.attempts).at(now);
        let enrolled = account.is_enrolled();
        let remaining = account.backup_codes.as_ref().map_or(0, BackupCodes::remaining);
        let policy = self.policies.verification.as_ref();
        let factors: Vec<_> = account.factors.into_iter().filter(|factor| factor.is_known(now)).collect();
        let ahead = factors.iter().filter_map(|factor| Some((factor.id, factor.ahead_until(now, policy)?)));
        Ok(Status {
            ahead: ahead.collect(),
            enrolled,
            backup_codes_remaining: remaining,
            backup_codes_total: account.backup_codes.as_ref().map_or(0, |set| set.codes.len()),
            backup_codes_low: enrolled && self.policies.backup_codes.is_low(remaining),
            locked_until: match standing {
                Standing::LockedUntil(until) => Some(until),
                Standing::Open | Standing::Disabled => None,
            },
            disabled: standing == Standing::Disabled,
            attempts_left: self.policies.lockout.attempts_left(&account.attempts, now),
            factors,
        })
    }
}
