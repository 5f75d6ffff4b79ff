//! Writing an export.

use std::fmt;
use std::io::{self, Write};

use mfa_domain::ports::{
    AccountPlace, AccountQuery, AccountStore, EventPosition, EventQuery, StoreError, UnreadableEvent, Vault,
};
use mfa_domain::{TenantId, Timestamp, UserId};
use thiserror::Error;

use super::Line;
use crate::walk::{Found, in_order, place};

/// Events that are read at a time.
const PAGE: u32 = 500;

/// The events to export; default all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Of this tenant; `None` for all tenants, one after the other.
    pub tenant: Option<TenantId>,
    /// Of this user; `None` for all users.
    pub user: Option<UserId>,
    /// Only events after this one. Its tenant must be selected: positions of other tenants need not be
    /// comparable.
    pub after: Option<EventPosition>,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
}

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of written events.
    pub events: u64,
    /// Number of events and tenants that were left out because they cannot be read. Each was reported.
    pub unreadable: u64,
    /// The last examined event, after which the next export can continue. `None` for all tenants: others get
    /// new events while one is read.
    pub last: Option<EventPosition>,
}

/// An unreadable item that an export leaves out. `Display` gives a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// An event.
    Event(UnreadableEvent),
    /// All events of the tenant of this account, because the tenant cannot be read.
    Tenant(AccountPlace),
}

/// Why an export was not completed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store failed to list accounts.
    #[error("accounts cannot be read")]
    Accounts(#[source] StoreError),
    /// The store failed to list events.
    #[error("events cannot be read")]
    Events(#[source] StoreError),
    /// Writing failed.
    #[error("the events cannot be written")]
    Io(#[from] io::Error),
}

/// Writes events in the order of the trail, a page at a time, and passes unreadable items to `left_out`. The
/// vault makes the ids by which tenants know events.
///
/// It makes many small blocking writes, so `to` should be buffered. It is flushed at the end.
///
/// # Errors
/// [`ExportError`] if the store or `to` fails.
pub async fn write(
    accounts: &dyn AccountStore,
    vault: &dyn Vault,
    selection: &Selection,
    to: &mut (dyn Write + Send),
    left_out: impl FnMut(LeftOut),
) -> Result<Exported, ExportError> {
    let exported = Exported { last: selection.after, ..Exported::default() };
    let mut export = Export { accounts, vault, selection, to, left_out, exported };
    match &selection.tenant {
        Some(tenant) => export.tenant(tenant).await?,
        None => export.every_tenant().await?,
    }
    export.to.flush()?;
    Ok(export.exported)
}

struct Export<'a, F> {
    accounts: &'a dyn AccountStore,
    vault: &'a dyn Vault,
    selection: &'a Selection,
    to: &'a mut (dyn Write + Send),
    left_out: F,
    exported: Exported,
}

impl<F: FnMut(LeftOut)> Export<'_, F> {
    async fn every_tenant(&mut self) -> Result<(), ExportError> {
        let mut after = None;
        while let Some(next) = next_account(self.accounts, after).await? {
            let place = place(&next);
            let tenant = str::from_utf8(&place.tenant).ok().and_then(|name| TenantId::new(name).ok());
            after = Some(if let Some(tenant) = &tenant {
                self.tenant(tenant).await?;
                AccountPlace::after_tenant(tenant)
            } else {
                self.leave_out(LeftOut::Tenant(place.clone()));
                place
            });
        }
        self.exported.last = None;
        Ok(())
    }

    async fn tenant(&mut self, tenant: &TenantId) -> Result<(), ExportError> {
        let Selection { user, after, since, until, .. } = self.selection;
        let mut query = EventQuery { tenant: tenant.clone(), user: user.clone(), after: *after, limit: PAGE };
        loop {
            let page = self.accounts.events(&query).await.map_err(ExportError::Events)?;
            let last = page.last();
            for recorded in &page.events {
                let at = recorded.event.at;
                if since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until) {
                    let id = self.vault.event_id(tenant, recorded.position);
                    let mut line =
                        serde_json::to_vec(&Line::of(id, tenant, recorded)).map_err(io::Error::from)?;
                    line.push(b'\n');
                    self.to.write_all(&line)?;
                    self.exported.events += 1;
                }
            }
            for event in page.unreadable {
                self.leave_out(LeftOut::Event(event));
            }
            // Includes events that do not match: the next export need not examine them again.
            self.exported.last = last.or(self.exported.last);
            query.after = last.or(query.after);
            if !page.more {
                return Ok(());
            }
        }
    }

    fn leave_out(&mut self, what: LeftOut) {
        (self.left_out)(what);
        self.exported.unreadable += 1;
    }
}

/// The first account after a place.
async fn next_account(
    accounts: &dyn AccountStore,
    after: Option<AccountPlace>,
) -> Result<Option<Found>, ExportError> {
    let query = AccountQuery { after, not_sealed_with: None, second_event_before: None, limit: 1 };
    let page = accounts.page(&query).await.map_err(ExportError::Accounts)?;
    Ok(in_order(page).into_iter().next())
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(UnreadableEvent { position, place, what }) => {
                write!(f, "the event at position {position} of {place} is left out: {what}")
            }
            Self::Tenant(place) => {
                write!(f, "the events of {place} are left out: the tenant cannot be read")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mfa_testkit::changes;

    use super::super::tests::{exported, store};
    use super::*;

    #[tokio::test]
    async fn times_select() {
        let store = store().await;
        let now = changes::now();
        let later = Timestamp::from_unix_millis(now.unix_millis() + 1);
        for (since, until, events) in [
            (Some(now), None, 10),
            (Some(later), None, 0),
            (None, Some(now), 0),
            (None, Some(later), 10),
            (Some(now), Some(later), 10),
        ] {
            let (_, exported) = exported(&store, Selection { since, until, ..Selection::default() }).await;
            assert_eq!(exported.events, events, "{since:?} to {until:?}");
        }
    }
}
