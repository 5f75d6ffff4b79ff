//! Re-encryption of secrets of older keys with the newest key.
//!
//! The position of a walk is not stored. A re-encrypted account is not found again, so a walk that was stopped
//! resumes with the accounts that are left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use futures_util::StreamExt;
use futures_util::stream;
use mfa_audit::walk::{Found, in_order, place};
use mfa_domain::ports::{AccountPlace, AccountQuery, UnreadableAccount};
use mfa_domain::{Actor, KeyId, Mfa, Undecided};
use tracing::{error, info, warn};

use crate::failure::describe;

/// One walk over the accounts that have a secret under another key than the newest.
pub(crate) struct ReEncryption<'a> {
    mfa: &'a Mfa,
    actor: &'a Actor,
    newest: KeyId,
    after: Option<AccountPlace>,
    /// Whether the last page was read.
    done: bool,
    /// Accounts read in one step.
    page: u32,
    /// Accounts that are re-encrypted in parallel.
    at_once: usize,
}

/// The result for one account: whether it was changed.
pub(crate) type Resealed = (AccountPlace, Result<bool>);

impl<'a> ReEncryption<'a> {
    /// A walk as fast as possible.
    pub(crate) fn new(mfa: &'a Mfa, actor: &'a Actor) -> Self {
        Self {
            mfa,
            actor,
            newest: mfa.ports().vault.newest(),
            after: None,
            done: false,
            page: 500,
            at_once: 16,
        }
    }

    /// A walk that leaves resources to other work: one account after the other.
    fn unhurried(mfa: &'a Mfa, actor: &'a Actor) -> Self {
        Self { page: 50, at_once: 1, ..Self::new(mfa, actor) }
    }

    /// The key that encrypts every secret after the walk.
    pub(crate) const fn newest(&self) -> &KeyId {
        &self.newest
    }

    /// The number of accounts to re-encrypt.
    pub(crate) async fn count(&self) -> Result<u64, Undecided> {
        let mut walk = Self { after: None, done: false, newest: self.newest.clone(), ..*self };
        let mut total = 0;
        while let Some(found) = walk.next_page().await? {
            total += found.len() as u64;
        }
        Ok(total)
    }

    /// Re-encrypts the next accounts; `None` after the last one.
    pub(crate) async fn step(&mut self) -> Result<Option<Vec<Resealed>>, Undecided> {
        let Some(found) = self.next_page().await? else { return Ok(None) };
        let (mfa, actor) = (self.mfa, self.actor);
        let resealed = stream::iter(found).map(async |found| {
            let place = place(&found);
            let resealed = match found {
                Ok(account) => mfa.reseal(&account.key, actor).await.map_err(Into::into),
                Err(UnreadableAccount { what, .. }) => Err(anyhow!(what)),
            };
            (place, resealed)
        });
        Ok(Some(resealed.buffer_unordered(self.at_once).collect().await))
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Found>>, Undecided> {
        while !self.done {
            let not_sealed_with = Some(self.newest.clone());
            let after = self.after.clone();
            let query = AccountQuery { after, not_sealed_with, second_event_before: None, limit: self.page };
            let page = self.mfa.ports().accounts.page(&query).await?;
            self.done = page.next.is_none();
            self.after.clone_from(&page.next);
            let found = in_order(page);
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// How often to check for secrets of older keys.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Time until failed accounts are tried again, unless the newest key changes.
const RETRY_EVERY: Duration = Duration::from_hours(1);

/// The length of a pause, as a multiple of the work before it.
const PAUSE_RATIO: u32 = 4;

/// Accounts between two lines in the log.
const LOG_EVERY: u64 = 10_000;

/// Re-encrypts secrets of older keys whenever there are any, until the task is dropped.
///
/// Several servers may do so at the same time: an account that one has done is skipped by the others.
pub(crate) async fn in_background(mfa: Arc<Mfa>) {
    let mut failed: Option<(KeyId, Instant)> = None;
    loop {
        let newest = mfa.ports().vault.newest();
        let too_soon = failed.as_ref().is_some_and(|(key, at)| *key == newest && at.elapsed() < RETRY_EVERY);
        if !too_soon {
            failed = match walk(&mfa).await {
                Ok(0) => None,
                Ok(_) => Some((newest, now())),
                Err(error) => {
                    warn!("could not check for secrets of older keys: {}", describe(&error.into()));
                    None
                }
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "measures pauses; decides nothing about codes")]
fn now() -> Instant {
    Instant::now()
}

/// Walks once, if a secret of an older key exists; returns how many accounts failed.
async fn walk(mfa: &Mfa) -> Result<u64, Undecided> {
    let vault = mfa.ports().vault.as_ref();
    let older = mfa.ports().accounts.keys_in_use().await?;
    let older = older.iter().filter(|key| vault.supersedes(key)).count();
    metrics::gauge!("mfa_older_keys_in_use").set(f64::from(u32::try_from(older).unwrap_or(u32::MAX)));
    if older == 0 {
        return Ok(0);
    }
    let actor = Actor::admin("server:re-encryption");
    let mut re_encryption = ReEncryption::unhurried(mfa, &actor);
    info!(newest = %re_encryption.newest(), "re-encrypting secrets of older keys with the newest key");
    let (mut sealed, mut failed) = (0_u64, 0_u64);
    loop {
        let begin = now();
        let Some(done) = re_encryption.step().await? else { break };
        for (account, resealed) in done {
            match resealed {
                Ok(true) => {
                    sealed += 1;
                    metrics::counter!("mfa_resealed_accounts_total").increment(1);
                    if sealed.is_multiple_of(LOG_EVERY) {
                        info!(accounts = sealed, "accounts re-encrypted so far");
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    failed += 1;
                    error!(%account, "the secrets of an account were not re-encrypted: {}", describe(&error));
                }
            }
        }
        tokio::time::sleep(begin.elapsed() * PAUSE_RATIO).await;
    }
    info!(newest = %re_encryption.newest(), accounts = sealed, failed, "re-encryption is complete");
    Ok(failed)
}
