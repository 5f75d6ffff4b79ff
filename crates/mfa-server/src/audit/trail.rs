//! Checking the trail: every chain against its account, and against a checkpoint.

use std::fmt;
use std::pin::pin;

use anyhow::Result;
use futures_util::stream::{self, TryStreamExt};
use mfa_domain::ports::{
    AccountEntry, AccountPlace, AccountStore, EventPage, EventPosition, EventQuery, UnreadableAccount,
};
use mfa_domain::{AccountKey, AuditHead, Timestamp};

use super::checkpoint::{Accounts, Checkpoint, Then};
use super::retention::Horizon;
use crate::failure::readable;
use crate::walk::{Found, Walk, place};

/// Events that are read at a time.
const PAGE: u32 = 500;

/// Chains that are followed at the same time: most of it is waiting for the store.
const AT_ONCE: usize = 8;

/// A chain that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) place: AccountPlace,
    /// The first event that it is about; 0 if it is about the account itself.
    pub(crate) sequence: u64,
    pub(crate) what: Wrong,
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The event is missing, was altered, or is one that the account does not know.
    Broken,
    /// The event is nothing that was ever written like that. It is at that position of the trail.
    Unreadable(Option<EventPosition>),
    /// The account is nothing that was ever written like that.
    AccountUnreadable,
    /// The event is another one than at the checkpoint, though its hash is right.
    Rewritten,
    /// The event was there at the checkpoint, and the chain ends before it.
    EndGone,
    /// The event was there at the checkpoint, and is too young to have been removed by age.
    BeginningGone,
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

/// What chains are checked against, besides their accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Against<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    /// Until when events may have been removed by age since then; none may if none.
    pub(crate) pruned: Option<Horizon>,
}

/// Checks every chain. Both accounts and checkpoint come in key order, so that a few of each are in
/// memory at a time.
///
/// What is appended or removed by age meanwhile is no finding: an account is read after its events,
/// and whatever is in a checkpoint was there before.
pub(crate) async fn verify(
    accounts: &dyn AccountStore,
    against: Option<Against<'_>>,
    watch: &mut (dyn Watch + Send),
) -> Result<Checked> {
    let pairs = Pairs {
        walk: Walk::over(accounts),
        checkpoint: against.map(|against| against.checkpoint.accounts()).transpose()?,
        now: None,
        then: None,
    };
    let pairs = stream::try_unfold(pairs, async |mut pairs| {
        let next = pairs.next().await?;
        Ok::<_, anyhow::Error>(next.map(|pair| (pair, pairs)))
    });
    let mut chains = pin!(pairs.map_ok(|pair| check_pair(accounts, pair, against)).try_buffered(AT_ONCE));
    let mut checked = Checked::default();
    while let Some((events, finding)) = chains.try_next().await? {
        if let Some(events) = events {
            checked.accounts += 1;
            checked.events += events;
            watch.checked();
        }
        if let Some(finding) = finding {
            watch.found(finding);
        }
    }
    Ok(checked)
}

/// An account as it is and as it was at the checkpoint; one of them may be missing.
struct Pair {
    now: Option<Found>,
    then: Option<Then>,
}

/// Goes through the accounts and the checkpoint side by side.
struct Pairs<'a> {
    walk: Walk<'a>,
    checkpoint: Option<Accounts>,
    now: Option<Found>,
    then: Option<Then>,
}

impl Pairs<'_> {
    async fn next(&mut self) -> Result<Option<Pair>> {
        if self.now.is_none() {
            self.now = self.walk.next().await?;
        }
        if let (None, Some(checkpoint)) = (&self.then, &mut self.checkpoint) {
            self.then = checkpoint.next()?;
        }
        let now = self.now.as_ref().map(place);
        let then = self.then.as_ref().map(|then| AccountPlace::from(&then.key));
        let Some(first) = now.iter().chain(&then).min().cloned() else { return Ok(None) };
        let now = self.now.take_if(|_| now.as_ref() == Some(&first));
        let then = self.then.take_if(|_| then.as_ref() == Some(&first));
        Ok(Some(Pair { now, then }))
    }
}

/// Checks one account: how many events are right, if it is there, and what is wrong.
async fn check_pair(
    accounts: &dyn AccountStore,
    Pair { now, then }: Pair,
    against: Option<Against<'_>>,
) -> Result<(Option<u64>, Option<Finding>)> {
    let now = match now {
        Some(Ok(now)) => now,
        Some(Err(UnreadableAccount { place, .. })) => {
            return Ok((Some(0), Some(Finding { place, sequence: 0, what: Wrong::AccountUnreadable })));
        }
        None => {
            let gone = |then: Then| Finding {
                place: AccountPlace::from(&then.key),
                sequence: then.head.sequence,
                what: Wrong::AccountGone,
            };
            return Ok((None, then.map(gone)));
        }
    };
    let (events, wrong) = check(accounts, &now, then.as_ref(), against).await?;
    let place = AccountPlace::from(&now.key);
    Ok((Some(events), wrong.map(|(sequence, what)| Finding { place, sequence, what })))
}

/// Checks one chain: how many events are right, and the first that is not.
async fn check(
    accounts: &dyn AccountStore,
    account: &AccountEntry,
    then: Option<&Then>,
    against: Option<Against<'_>>,
) -> Result<(u64, Option<(u64, Wrong)>)> {
    let key = &account.key;
    let mut base = account.audit_base;
    loop {
        let chain = follow(accounts, key, base, then).await?;
        let events = chain.head.sequence.saturating_sub(base.sequence);
        let wrong = chain.wrong.or_else(|| against?.removal(then?, base, chain.first));
        if wrong.is_none() {
            return Ok((events, None));
        }
        // What is missing may have been removed by age since the account was read.
        match readable(accounts.load(key).await)?.map(|now| now.value.audit_base) {
            Some(now) if now != base => base = now,
            _ => return Ok((events, wrong)),
        }
    }
}

/// A chain that was followed as far as it holds.
struct Chain {
    /// When the first event that is left happened.
    first: Option<Timestamp>,
    head: AuditHead,
    wrong: Option<(u64, Wrong)>,
}

/// Follows one chain to its end.
///
/// The account is read after the events: whatever was appended meanwhile it knows too, so an event
/// that it does not know was put there by somebody else.
async fn follow(
    accounts: &dyn AccountStore,
    key: &AccountKey,
    base: AuditHead,
    then: Option<&Then>,
) -> Result<Chain> {
    let then = then.map(|then| then.head).unwrap_or_default();
    let mut chain = Chain { first: None, head: base, wrong: None };
    let mut query =
        EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: PAGE };
    loop {
        let Some(page) = readable(accounts.events(&query).await)? else {
            chain.wrong = Some((chain.head.sequence + 1, Wrong::Unreadable(None)));
            return Ok(chain);
        };
        query.after = page.last().or(query.after);
        let spoilt = page.unreadable.first().map(|event| event.position);
        for recorded in
            page.events.iter().take_while(|event| spoilt.is_none_or(|spoilt| event.position < spoilt))
        {
            chain.first.get_or_insert(recorded.event.at);
            match chain.head.extend(key, &recorded.event) {
                Ok(next) if next.sequence == then.sequence && next != then => {
                    chain.wrong = Some((next.sequence, Wrong::Rewritten));
                    return Ok(chain);
                }
                Ok(next) => chain.head = next,
                Err(broken) => {
                    chain.wrong = Some((broken.sequence, Wrong::Broken));
                    return Ok(chain);
                }
            }
        }
        if spoilt.is_some() {
            chain.wrong = Some((chain.head.sequence + 1, Wrong::Unreadable(spoilt)));
            return Ok(chain);
        }
        if page.more {
            continue;
        }
        let Some(account) = readable(accounts.load(key).await)? else {
            chain.wrong = Some((0, Wrong::AccountUnreadable));
            return Ok(chain);
        };
        let known = account.value.audit_head;
        if known == chain.head {
            chain.wrong = if chain.first.is_none() && known.sequence > 0 {
                // Whatever its age, the last event is never removed.
                Some((known.sequence, Wrong::Broken))
            } else {
                let short = known.sequence < then.sequence;
                short.then_some((known.sequence + 1, Wrong::EndGone))
            };
            return Ok(chain);
        }
        // Fewer events than the account knows: some were appended just now, or the end is gone.
        let behind = known.sequence > chain.head.sequence;
        let nothing = |page: EventPage| page.last().is_none();
        if !behind || readable(accounts.events(&query).await)?.is_some_and(nothing) {
            let sequence = known.sequence.min(chain.head.sequence) + 1;
            chain.wrong = Some((sequence, Wrong::Broken));
            return Ok(chain);
        }
    }
}

impl Against<'_> {
    /// What is wrong with how a chain that holds begins now, after `base` and with an event of the
    /// time `first`. Whoever can write the database can move the base of an account too, so:
    ///
    /// - If more was removed than at the checkpoint, then the first event that is left must be old
    ///   enough to be removed itself. It stays as a witness that what was before it was older still
    ///   ([`AuditHead::shortened`]), and is bound by its hash to the head that was signed.
    /// - If all was removed that was there at the checkpoint, there is no such bond. But then that
    ///   witness came after the checkpoint, so the checkpoint must be old enough as well.
    fn removal(self, then: &Then, base: AuditHead, first: Option<Timestamp>) -> Option<(u64, Wrong)> {
        if base.sequence <= then.removed {
            return None;
        }
        let gone = Some((then.removed + 1, Wrong::BeginningGone));
        // Asked now that the base was read: what moved it was not decided later than that.
        let Some(before) = self.pruned.map(Horizon::now) else { return gone };
        if first.is_none_or(|first| first >= before) {
            return gone;
        }
        if base.sequence == then.head.sequence && base != then.head {
            return Some((base.sequence, Wrong::Rewritten));
        }
        let all = base.sequence >= then.head.sequence;
        if all && self.checkpoint.begun_at >= before { gone } else { None }
    }
}

impl Wrong {
    /// The name that programs know it by.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unreadable(_) => "unreadable",
            Self::AccountUnreadable => "account_unreadable",
            Self::Rewritten => "rewritten",
            Self::EndGone => "end_gone",
            Self::BeginningGone => "beginning_gone",
            Self::AccountGone => "account_gone",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "it is missing or altered, or the account does not know it",
            Self::Unreadable(None) => "it cannot be read",
            Self::Unreadable(Some(position)) => {
                return write!(f, "it cannot be read; its position in the trail is {position}");
            }
            Self::AccountUnreadable => "the account itself cannot be read",
            Self::Rewritten => "at the checkpoint it was another one",
            Self::EndGone => "it was there at the checkpoint",
            Self::BeginningGone => "it was there at the checkpoint, and was removed before its time",
            Self::AccountGone => "the whole account was there at the checkpoint",
        })
    }
}
