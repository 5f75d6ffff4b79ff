//! The factors, backup codes and locks of a user.

use std::collections::BTreeMap;

use super::{AcceptedPasskeys, Mfa, Undecided};
use crate::account::{Account, BackupCodes, Factor};
use crate::policy::Standing;
use crate::ports::StoreError;
use crate::{AccountKey, FactorId, Timestamp};

/// The factors, backup codes and locks of a user. Holds no secret in plain text.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether the user has an active factor.
    pub enrolled: bool,
    /// The active factors, and the pending ones that have not expired.
    pub factors: Vec<Factor>,
    /// The factors whose last step is in the future, and the time before which each accepts no code.
    pub ahead: BTreeMap<FactorId, Timestamp>,
    /// The number of unspent backup codes.
    pub backup_codes_remaining: usize,
    /// The number of backup codes in the set, spent or not.
    pub backup_codes_total: usize,
    /// Whether to tell the user to get new backup codes.
    pub backup_codes_low: bool,
    /// When the lock of the account ends; `None` if it is not locked.
    pub locked_until: Option<Timestamp>,
    /// Whether the factors are disabled until they are bound again, for example after a reset.
    pub disabled: bool,
    /// How many more wrong codes in a row are evaluated before the account is locked or disabled, at most 100. For
    /// the host only: a rejection does not contain it, since it would tell an attacker which codes counted as
    /// guesses.
    pub attempts_left: u32,
    /// The accepted passkeys, for the signal methods of browsers; `None` if no passkey was ever registered.
    pub passkeys: Option<AcceptedPasskeys>,
}

impl Mfa {
    /// Checks that the store answers and accepts changes, and that the vault has every key that a secret needs.
    ///
    /// The check for changes uses the latest commit of this `Mfa`: if that failed within the last 10 seconds, for
    /// example because the disk is full, this method fails too.
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

    /// Returns the status of a user; that of an unknown user is empty.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn status(&self, key: &AccountKey) -> Result<Status, Undecided> {
        let now = self.ports.clock.now();
        let account: Account = self.ports.accounts.load(key).await?.value;
        let passkeys = self.accepted_passkeys_of(key, &account)?;
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
            passkeys,
        })
    }
}
