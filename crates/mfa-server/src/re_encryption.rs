//! Sealing with the newest key what older keys sealed.
//!
//! Where a walk is, is nowhere written down: whatever was sealed anew is not found again, so one that
//! was stopped, by whatever, goes on where it was.

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
    /// Accounts of one step.
    page: u32,
    /// Accounts that are sealed at the same time.
    at_once: usize,
}

/// What became of one account: whether there was anything to do.
pub(crate) type Resealed = (AccountPlace, Result<bool>);

impl<'a> ReEncryption<'a> {
    /// As fast as it goes.
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

    /// One after the other, beside other work.
    fn unhurried(mfa: &'a Mfa, actor: &'a Actor) -> Self {
        Self { page: 50, at_once: 1, ..Self::new(mfa, actor) }
    }

    /// The key that everything is sealed with in the end.
    pub(crate) const fn newest(&self) -> &KeyId {
        &self.newest
    }

    /// How many accounts there are to do.
    pub(crate) async fn count(&self) -> Result<u64, Undecided> {
        let mut walk = Self { after: None, done: false, newest: self.newest.clone(), ..*self };
        let mut total = 0;
        while let Some(found) = walk.next_page().await? {
            total += found.len() as u64;
        }
        Ok(total)
    }

    /// Does the next accounts; `None` after the last.
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

/// How often it is asked whether there is anything to do.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How long secrets that could not be sealed anew are left alone, unless the newest key changes.
const RETRY_EVERY: Duration = Duration::from_hours(1);

/// How much longer a pause is than the work before it.
const PAUSE_RATIO: u32 = 4;

/// Accounts between two lines in the log.
const LOG_EVERY: u64 = 10_000;

/// Seals what older keys sealed whenever there is such a key in use, until the task is dropped.
///
/// Several replicas may do so at once: an account that another one has done is no work.
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
                    warn!("older keys could not be looked for: {}", describe(&error.into()));
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

/// Walks once, if there is anything to do; how many accounts could not be done.
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
    info!(newest = %re_encryption.newest(), "sealing with the newest key what older ones sealed");
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
                        info!(accounts = sealed, "sealed with the newest key so far");
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    failed += 1;
                    error!(%account, "not sealed anew: {}", describe(&error));
                }
            }
        }
        tokio::time::sleep(begin.elapsed() * PAUSE_RATIO).await;
    }
    info!(newest = %re_encryption.newest(), accounts = sealed, failed, "everything was looked at");
    Ok(failed)
}
