//! Following one chain from its beginning to the end that its account knows.

use mfa_domain::ports::{AccountEntry, AccountStore, Clock, EventPage, EventQuery, StoreError};
use mfa_domain::{AccountKey, AuditHead, Timestamp};

use super::Wrong;
use crate::checkpoint::Then;
use crate::readable;
use crate::retention::Horizon;

/// Events that are read at a time.
const PAGE: u32 = 500;

/// Checks one chain: how many events are right, and the first that is not.
pub(super) async fn check(
    accounts: &dyn AccountStore,
    account: &AccountEntry,
    then: Option<&Then>,
    removal: Option<Removal<'_>>,
) -> Result<(u64, Option<(u64, Wrong)>), StoreError> {
    let key = &account.key;
    let mut base = account.audit_base;
    loop {
        let chain = follow(accounts, key, base, then).await?;
        let events = chain.head.sequence.saturating_sub(base.sequence);
        let wrong = chain.wrong.or_else(|| removal?.check(then?, base, chain.first));
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
) -> Result<Chain, StoreError> {
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

/// What may have been removed by age since a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal<'a> {
    /// When the checkpoint was begun.
    pub(super) checkpoint: Timestamp,
    /// Until when events may be gone; none may if none.
    pub(super) pruned: Option<Horizon>,
    pub(super) clock: &'a dyn Clock,
}

impl Removal<'_> {
    /// What is wrong with how a chain that holds begins now, after `base` and with an event of the
    /// time `first`. Whoever can write the database can move the base of an account too, so:
    ///
    /// - If more was removed than at the checkpoint, then the first event that is left must be old
    ///   enough to be removed itself. It stays as a witness that what was before it was older still
    ///   ([`AuditHead::shortened`]), and is bound by its hash to the head that was signed.
    /// - If all was removed that was there at the checkpoint, there is no such bond. But then that
    ///   witness came after the checkpoint, so the checkpoint must be old enough as well.
    fn check(self, then: &Then, base: AuditHead, first: Option<Timestamp>) -> Option<(u64, Wrong)> {
        if base.sequence <= then.removed {
            return None;
        }
        let gone = Some((then.removed + 1, Wrong::BeginningGone));
        let Some(pruned) = self.pruned else { return gone };
        // Asked now that the base was read: what moved it was not decided later than that.
        let before = pruned.gone_before(self.clock.now());
        if first.is_none_or(|first| first >= before) {
            return gone;
        }
        if base.sequence == then.head.sequence && base != then.head {
            return Some((base.sequence, Wrong::Rewritten));
        }
        let all = base.sequence >= then.head.sequence;
        if all && self.checkpoint >= before { gone } else { None }
    }
}
