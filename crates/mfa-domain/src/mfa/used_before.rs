//! Codes that a factor accepted which is gone: when its secret comes back, they stay used.

use otp_core::Totp;

use super::{Mfa, Undecided};
use crate::account::Account;
use crate::audit::{AuditEvent, EventKind};
use crate::ports::EventQuery;
use crate::{AccountKey, FactorKind};

/// How many events are read at a time.
const PAGE: u32 = 1000;

impl Mfa {
    /// The last step that a TOTP device may not go back to if its secret is given: the furthest one of
    /// the window at the time when a factor of this user that is gone by now accepted its last code.
    ///
    /// Whether it had the same secret nobody can tell any more. So any other token waits for that step
    /// to be over, too: with the default policy a minute and a half at most after that last code.
    pub(super) async fn used_before(
        &self,
        key: &AccountKey,
        account: &Account,
        totp: &Totp,
    ) -> Result<Option<u64>, Undecided> {
        let (tenant, user) = (key.tenant.clone(), Some(key.user.clone()));
        let mut query = EventQuery { tenant, user, after: None, limit: PAGE };
        let mut last = None;
        // Without an event there is nothing to read, as for most imports.
        let mut more = account.audit_head.sequence > 0;
        while more {
            let page = self.events(&query).await?;
            let events = page.events.iter().map(|recorded| &recorded.event);
            let accepted = events.filter(|event| is_accepted_by_one_that_is_gone(event, account));
            last = accepted.map(|event| Some(event.at)).fold(last, Option::max);
            query.after = page.events.last().map(|recorded| recorded.position);
            more = page.more;
        }
        let policy = self.policies.verification.as_ref();
        let ahead = u64::from(policy.window().future()) + u64::from(policy.drift_bound());
        let step = last.and_then(|at| totp.step(at.unix_seconds()).ok());
        Ok(step.map(|step| step.saturating_add(ahead)))
    }
}

/// Whether a TOTP code was accepted by a factor that is gone.
fn is_accepted_by_one_that_is_gone(event: &AuditEvent, account: &Account) -> bool {
    let accepted = matches!(
        event.kind,
        EventKind::Verified | EventKind::FactorActivated | EventKind::FactorResynchronised
    );
    let kind = event.detail.get("factor_kind");
    accepted
        && kind.is_none_or(|kind| kind == FactorKind::Totp.as_str())
        && event.factor.is_some_and(|id| account.factor(id).is_none())
}
