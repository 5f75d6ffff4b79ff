//! Checking the trail: every chain against its account, and against a checkpoint.

use std::fmt;

use anyhow::Result;
use mfa_domain::ports::{AccountEntry, AccountStore, EventQuery};
use mfa_domain::{AccountKey, AuditHead};

use super::checkpoint::Checkpoint;
use crate::walk::Walk;

/// Events that are read at a time.
const PAGE: u32 = 500;

/// A chain that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) key: AccountKey,
    /// The first event that it is about.
    pub(crate) sequence: u64,
    pub(crate) what: Wrong,
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The event is missing, was altered, or is one that the account does not know.
    Broken,
    /// The event is another one than at the checkpoint, though its hash is right.
    Rewritten,
    /// The event was there at the checkpoint, and the chain ends before it.
    EndGone,
    /// All of the account was there at the checkpoint.
    AccountGone,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) accounts: u64,
    pub(crate) events: u64,
}

/// What is told while accounts are checked.
pub(crate) trait Watch {
    /// One more account was checked.
    fn checked(&mut self);
    /// Something is wrong.
    fn found(&mut self, finding: Finding);
}

/// Checks every chain. Both accounts and checkpoint come in key order, so that one of each is in
/// memory at a time.
///
/// What is appended meanwhile is no finding: an account is read after its events, and whatever is in
/// a checkpoint was there before.
pub(crate) async fn verify(
    accounts: &dyn AccountStore,
    checkpoint: Option<&Checkpoint>,
    watch: &mut (dyn Watch + Send),
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut expected = checkpoint.map(Checkpoint::accounts).transpose()?;
    let mut next = || expected.as_mut().map_or(Ok(None), |accounts| accounts.next());
    let mut waiting = next()?;
    let mut walk = Walk::over(accounts);
    while let Some(AccountEntry { key, .. }) = walk.next().await? {
        while let Some(gone) = waiting.take_if(|waiting| waiting.key < key) {
            watch.found(account_gone(gone));
            waiting = next()?;
        }
        let then = waiting.take_if(|waiting| waiting.key == key).map(|then| then.audit_head);
        if then.is_some() {
            waiting = next()?;
        }
        let (events, wrong) = chain(accounts, &key, then.unwrap_or_default()).await?;
        checked.accounts += 1;
        checked.events += events;
        watch.checked();
        if let Some((sequence, what)) = wrong {
            watch.found(Finding { key, sequence, what });
        }
    }
    while let Some(gone) = waiting {
        watch.found(account_gone(gone));
        waiting = next()?;
    }
    Ok(checked)
}

fn account_gone(account: AccountEntry) -> Finding {
    Finding { key: account.key, sequence: account.audit_head.sequence, what: Wrong::AccountGone }
}

/// Follows one chain to its end: how many events are right, and the first that is not. `then` is
/// where it ended at the checkpoint.
///
/// The account is read after the events: whatever was appended meanwhile it knows too, so an event
/// that it does not know was put there by somebody else.
async fn chain(
    accounts: &dyn AccountStore,
    key: &AccountKey,
    then: AuditHead,
) -> Result<(u64, Option<(u64, Wrong)>)> {
    let mut head = AuditHead::default();
    let wrong = |head: AuditHead, sequence, what| Ok((head.sequence, Some((sequence, what))));
    let mut query =
        EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: PAGE };
    loop {
        let page = accounts.events(&query).await?;
        query.after = page.events.last().map(|event| event.id).or(query.after);
        for recorded in &page.events {
            head = match head.extend(key, &recorded.event) {
                Ok(next) if next.sequence == then.sequence && next != then => {
                    return wrong(head, next.sequence, Wrong::Rewritten);
                }
                Ok(next) => next,
                Err(broken) => return wrong(head, broken.sequence, Wrong::Broken),
            };
        }
        if page.more {
            continue;
        }
        let known = accounts.load(key).await?.value.audit_head;
        if known == head {
            let short = head.sequence < then.sequence;
            return Ok((head.sequence, short.then_some((head.sequence + 1, Wrong::EndGone))));
        }
        // Fewer events than the account knows: some were appended just now, or the end is gone.
        let appended = known.sequence > head.sequence && !accounts.events(&query).await?.events.is_empty();
        if !appended {
            return wrong(head, known.sequence.min(head.sequence) + 1, Wrong::Broken);
        }
    }
}

impl Wrong {
    /// The name that programs know it by.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Rewritten => "rewritten",
            Self::EndGone => "end_gone",
            Self::AccountGone => "account_gone",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "it is missing or altered, or the account does not know it",
            Self::Rewritten => "at the checkpoint it was another one",
            Self::EndGone => "it was there at the checkpoint",
            Self::AccountGone => "the whole account was there at the checkpoint",
        })
    }
}
