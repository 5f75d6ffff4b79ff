//! Following one chain from its base to the head that its account stores.

use mfa_domain::ports::{AccountEntry, AccountStore, Clock, EventPage, EventQuery, StoreError};
use mfa_domain::{AccountKey, AuditHead, Timestamp};

use super::Wrong;
use crate::checkpoint::Then;
use crate::readable;
use crate::retention::Horizon;

/// Events that are read at a time.
const PAGE: u32 = 500;

/// Checks one chain: returns the number of correct events, and the first wrong one.
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
        // The missing events may have been removed by retention since the account was read.
        match readable(accounts.load(key).await)?.map(|now| now.value.audit_base) {
            Some(now) if now != base => base = now,
            _ => return Ok((events, wrong)),
        }
    }
}

/// A chain that was followed as far as it holds.
struct Chain {
    /// The time of the first remaining event.
    first: Option<Timestamp>,
    head: AuditHead,
    wrong: Option<(u64, Wrong)>,
}

/// Follows one chain to its end.
///
/// The account is read after the events, so it includes all events appended meanwhile. An event after its
/// head was therefore inserted outside of this program.
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
                // Retention never removes the last event.
                Some((known.sequence, Wrong::Broken))
            } else {
                let short = known.sequence < then.sequence;
                short.then_some((known.sequence + 1, Wrong::EndGone))
            };
            return Ok(chain);
        }
        // Fewer events than the account states: some were appended just now, or the end is missing.
        let behind = known.sequence > chain.head.sequence;
        let nothing = |page: EventPage| page.last().is_none();
        if !behind || readable(accounts.events(&query).await)?.is_some_and(nothing) {
            let sequence = known.sequence.min(chain.head.sequence) + 1;
            chain.wrong = Some((sequence, Wrong::Broken));
            return Ok(chain);
        }
    }
}

/// What retention may have removed since a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal<'a> {
    /// The time at which the checkpoint was begun.
    pub(super) checkpoint: Timestamp,
    /// The time before which events may be missing; `None` if nothing may be missing.
    pub(super) pruned: Option<Horizon>,
    pub(super) clock: &'a dyn Clock,
}

impl Removal<'_> {
    /// Checks the beginning of a chain that otherwise holds: its base, and the time of the first remaining
    /// event. An attacker who can write to the database can also move the base of an account. So:
    ///
    /// - If more events are missing than at the checkpoint, the first remaining event must itself be old
    ///   enough to be removed. Retention keeps it as a witness that the events before it were older still
    ///   ([`AuditHead::shortened`]), and its hash links it to the signed head.
    /// - If all events of the checkpoint are missing, there is no such link. But then that witness came after
    ///   the checkpoint, so the checkpoint must be old enough as well.
    fn check(self, then: &Then, base: AuditHead, first: Option<Timestamp>) -> Option<(u64, Wrong)> {
        if base.sequence <= then.removed {
            return None;
        }
        let gone = Some((then.removed + 1, Wrong::BeginningGone));
        let Some(pruned) = self.pruned else { return gone };
        // The time is read after the base, so it is not before the decision that moved the base.
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
