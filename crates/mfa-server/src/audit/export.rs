//! Events as JSON Lines, for other systems, and complete enough that each chain can be followed in them.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mfa_domain::ports::{
    AccountPlace, AccountQuery, AccountStore, EventPosition, EventQuery, RecordedEvent, UnreadableEvent,
    Vault,
};
use mfa_domain::{AccountKey, AuditEvent, AuditHead, EventId, EventKind, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::retention::Horizon;
use super::trail::{Checked, Finding, Watch, Wrong};
use crate::walk::{Found, in_order, place};

/// Events that are read at a time.
const PAGE: u32 = 500;

/// An event as the HTTP API shows it, with its tenant and the hash of the event before it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    tenant: String,
    user: String,
    at: String,
    kind: String,
    factor: Option<String>,
    actor: String,
    detail: BTreeMap<String, String>,
    sequence: u64,
    previous: String,
    hash: String,
}

/// Which events to export.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Of all tenants if none, one tenant after the other.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) user: Option<UserId>,
    pub(crate) after: Option<EventPosition>,
    /// Not before.
    pub(crate) since: Option<Timestamp>,
    /// Before.
    pub(crate) until: Option<Timestamp>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exported {
    pub(crate) events: u64,
    /// Events, and tenants, that were left out since they cannot be read. Each was named.
    pub(crate) unreadable: u64,
    /// The last one that was looked at, to go on after it next time. There is none of all tenants: while
    /// one of them is read, others go on.
    pub(crate) last: Option<EventPosition>,
}

/// Writes events in the order of the trail, a page at a time. `unreadable` is told what is left out.
pub(crate) async fn export(
    accounts: &dyn AccountStore,
    vault: &dyn Vault,
    selection: &Selection,
    to: &mut (dyn Write + Send),
    unreadable: &mut (dyn FnMut(&str) + Send),
) -> Result<Exported> {
    let mut exported = Exported { last: selection.after, ..Exported::default() };
    if let Some(tenant) = &selection.tenant {
        of_tenant(accounts, vault, tenant, selection, to, unreadable, &mut exported).await?;
    } else {
        let mut after = None;
        while let Some(next) = next_account(accounts, after).await? {
            let tenant = str::from_utf8(&place(&next).tenant).ok().and_then(|name| TenantId::new(name).ok());
            after = Some(if let Some(tenant) = &tenant {
                of_tenant(accounts, vault, tenant, selection, to, unreadable, &mut exported).await?;
                AccountPlace::after_tenant(tenant)
            } else {
                let place = place(&next);
                unreadable(&format!("the events of {place} are left out: the tenant cannot be read"));
                exported.unreadable += 1;
                place
            });
        }
        exported.last = None;
    }
    to.flush().context("the events cannot be written")?;
    Ok(exported)
}

async fn of_tenant(
    accounts: &dyn AccountStore,
    vault: &dyn Vault,
    tenant: &TenantId,
    selection: &Selection,
    to: &mut (dyn Write + Send),
    unreadable: &mut (dyn FnMut(&str) + Send),
    exported: &mut Exported,
) -> Result<()> {
    let Selection { user, after, since, until, .. } = selection;
    let mut query = EventQuery { tenant: tenant.clone(), user: user.clone(), after: *after, limit: PAGE };
    loop {
        let page = accounts.events(&query).await.context("events cannot be read")?;
        for recorded in &page.events {
            let at = recorded.event.at;
            if since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until) {
                let mut line = serde_json::to_vec(&Line::of(
                    vault.event_id(tenant, recorded.position),
                    tenant,
                    recorded,
                ))?;
                line.push(b'\n');
                to.write_all(&line).context("the events cannot be written")?;
                exported.events += 1;
            }
        }
        for UnreadableEvent { position, place, what } in &page.unreadable {
            unreadable(&format!("the event at position {position} of {place} is left out: {what}"));
            exported.unreadable += 1;
        }
        // Also of what is not wanted: whoever goes on need not look at it again.
        exported.last = page.last().or(exported.last);
        query.after = page.last().or(query.after);
        if !page.more {
            return Ok(());
        }
    }
}

/// The first account after a place.
async fn next_account(accounts: &dyn AccountStore, after: Option<AccountPlace>) -> Result<Option<Found>> {
    let query = AccountQuery { after, not_sealed_with: None, second_event_before: None, limit: 1 };
    let page = accounts.page(&query).await.context("accounts cannot be read")?;
    Ok(in_order(page).into_iter().next())
}

/// Follows every chain in exported files, which are read in the given order: one may go on where the
/// one before it ended. Gives how often a chain begins after its first event, as it does if that was
/// removed by age or not exported.
///
/// It may also begin anew after a gap, if events were removed by age between two pages: as at the
/// beginning of a chain ([`AuditHead::shortened`]), the event after the gap must be old enough itself.
///
/// It keeps the end of each chain in memory.
pub(crate) fn verify(
    files: &[PathBuf],
    pruned: Option<Horizon>,
    watch: &mut dyn Watch,
) -> Result<(Checked, u64)> {
    let pruned = pruned.map(Horizon::now);
    let mut chains: HashMap<AccountKey, Option<AuditHead>> = HashMap::new();
    let (mut checked, mut late) = (Checked::default(), 0);
    for path in files {
        let mut read = || -> Result<()> {
            let mut lines = Lines::of(path)?;
            while let Some(line) = lines.next()? {
                let line: Line = serde_json::from_slice(&line).map_err(|_| lines.unreadable())?;
                let (key, event) = line.read().ok_or_else(|| lines.unreadable())?;
                let chain = chains.entry(key.clone()).or_insert_with(|| {
                    watch.checked();
                    Some(AuditHead::default())
                });
                // What comes after the first thing that is wrong says nothing more.
                let Some(head) = chain else { continue };
                let first = *head == AuditHead::default();
                let begin = AuditHead { sequence: event.sequence.saturating_sub(1), hash: event.previous };
                if begin.sequence > head.sequence && (first || pruned.is_some_and(|before| event.at < before))
                {
                    late += 1;
                    *head = begin;
                }
                match head.extend(&key, &event) {
                    Ok(next) => {
                        *chain = Some(next);
                        checked.events += 1;
                    }
                    Err(broken) => {
                        *chain = None;
                        let place = AccountPlace::from(&key);
                        watch.found(Finding { place, sequence: broken.sequence, what: Wrong::Broken });
                    }
                }
            }
            Ok(())
        };
        read().with_context(|| format!("the export {}", path.display()))?;
    }
    checked.accounts = chains.len() as u64;
    Ok((checked, late))
}

impl Line {
    fn of(id: EventId, tenant: &TenantId, RecordedEvent { user, event, .. }: &RecordedEvent) -> Self {
        Self {
            id: id.to_string(),
            tenant: tenant.to_string(),
            user: user.as_str().to_owned(),
            at: event.at.to_string(),
            kind: event.kind.to_string(),
            factor: event.factor.map(|id| id.to_string()),
            actor: event.actor.clone(),
            detail: event.detail.clone(),
            sequence: event.sequence,
            previous: event.previous.to_string(),
            hash: event.hash.to_string(),
        }
    }

    fn read(self) -> Option<(AccountKey, AuditEvent)> {
        self.id.parse::<EventId>().ok()?;
        let key = AccountKey::new(TenantId::new(&self.tenant).ok()?, UserId::new(&self.user).ok()?);
        let at: Timestamp = self.at.parse().ok()?;
        let event = AuditEvent {
            sequence: self.sequence,
            // Only as it was printed: what can be written in two ways could be altered unseen.
            at: (at.to_string() == self.at).then_some(at)?,
            kind: EventKind::from_name(&self.kind),
            factor: self.factor.map(|id| id.parse()).transpose().ok()?,
            actor: self.actor,
            detail: self.detail,
            previous: self.previous.parse().ok()?,
            hash: self.hash.parse().ok()?,
        };
        Some((key, event))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mfa_store_memory::MemoryStore;
    use mfa_testkit::{FakeVault, changes};

    use super::*;

    #[derive(Default)]
    struct Found(Vec<Finding>);

    impl Watch for Found {
        fn checked(&mut self) {}

        fn found(&mut self, finding: Finding) {
            self.0.push(finding);
        }
    }

    async fn exported(store: &MemoryStore, selection: Selection) -> (Vec<u8>, Exported) {
        let mut text = Vec::new();
        let exported =
            export(store, &FakeVault::default(), &selection, &mut text, &mut |_| ()).await.unwrap();
        (text, exported)
    }

    fn everything() -> Selection {
        Selection { tenant: None, user: None, after: None, since: None, until: None }
    }

    /// Three tenants, of which one is the last and one is not the first in any order of users.
    async fn store() -> MemoryStore {
        let store = MemoryStore::default();
        let longest = "\u{1f9ff}".repeat(UserId::MAX_LENGTH / 4);
        for (tenant, user) in
            [("b", "alice"), ("a", longest.as_str()), ("a", "bob"), ("c", "a"), ("b", "alice")]
        {
            let key = AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
            let reason = |draft: &mut mfa_domain::Draft<'_>| {
                let factor = mfa_domain::FactorId::fresh(changes::now(), &[1; 10]);
                draft.record(EventKind::Reset, Some(factor), [("reason", "lost phone".to_owned())]);
            };
            let _ = changes::change(&store, &key, reason).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn events_of_every_tenant_are_exported_once_and_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let (text, all) = exported(&store().await, everything()).await;
        assert_eq!((all.events, all.last), (10, None));
        fs::write(&path, &text).unwrap();
        let mut found = Found::default();
        let (checked, late) = verify(std::slice::from_ref(&path), None, &mut found).unwrap();
        assert_eq!((checked.accounts, checked.events, late, found.0), (4, 10, 0, vec![]));
    }

    #[tokio::test]
    async fn an_export_goes_on_where_another_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = store().await;
        let tenant = Some(TenantId::new("b").unwrap());
        let (first, after) = {
            let (text, _) = exported(&store, Selection { tenant: tenant.clone(), ..everything() }).await;
            let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec();
            let line: Line = serde_json::from_slice(&first).unwrap();
            let id = line.id.parse().unwrap();
            (first, FakeVault::default().event_position(tenant.as_ref().unwrap(), id))
        };
        let (rest, exported) = exported(&store, Selection { tenant, after, ..everything() }).await;
        assert_eq!(exported.events, 3);
        let again =
            Selection { tenant: Some(TenantId::new("b").unwrap()), after: exported.last, ..everything() };
        let (nothing, then) = super::tests::exported(&store, again).await;
        assert_eq!((nothing.len(), then.events, then.last), (0, 0, exported.last));
        let [one, other] = ["1.jsonl", "2.jsonl"].map(|name| folder.path().join(name));
        fs::write(&one, first).unwrap();
        fs::write(&other, rest).unwrap();
        let mut found = Found::default();
        let (checked, late) = verify(&[one, other.clone()], None, &mut found).unwrap();
        assert_eq!((checked.accounts, checked.events, late), (1, 4, 0));
        assert_eq!(verify(&[other], None, &mut found).unwrap().1, 1);
        assert_eq!(found.0, []);
    }

    /// What retention removes between two pages is a gap, if what comes after it is old enough.
    #[tokio::test]
    async fn a_gap_before_an_event_that_is_old_enough_is_a_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let store = MemoryStore::default();
        let key = changes::key("alice");
        for _ in 0..5 {
            let _ = changes::change(&store, &key, |_| ()).await.unwrap();
        }
        let (text, _) = exported(&store, everything()).await;
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        fs::write(&path, [lines[0], lines[3], lines[4]].concat()).unwrap();
        let now = changes::now();
        let gap = Finding { place: AccountPlace::from(&key), sequence: 2, what: Wrong::Broken };
        for (pruned, expected) in [
            (None, (1, 0, vec![gap.clone()])),
            (Some(Horizon::At(Timestamp::from_unix_seconds(now.unix_seconds() - 600))), (1, 0, vec![gap])),
            (Some(Horizon::At(now)), (3, 1, vec![])),
        ] {
            let mut found = Found::default();
            let (checked, late) = verify(std::slice::from_ref(&path), pruned, &mut found).unwrap();
            assert_eq!((checked.events, late, found.0), expected, "{pruned:?}");
        }
        // Backwards is none.
        fs::write(&path, [lines[1], lines[3], lines[2]].concat()).unwrap();
        let mut found = Found::default();
        verify(std::slice::from_ref(&path), Some(Horizon::At(now)), &mut found).unwrap();
        assert_eq!(found.0.len(), 1);
    }

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
            let (_, exported) = exported(&store, Selection { since, until, ..everything() }).await;
            assert_eq!(exported.events, events, "{since:?} to {until:?}");
        }
    }

    /// But for the id, which is a place in the store and not part of the chain.
    #[tokio::test]
    async fn whatever_byte_is_altered_it_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let (text, _) = exported(&store().await, everything()).await;
        let ids = |place: usize| {
            let line = text[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let prefix = line + b"{\"id\":\"".len();
            let end = text[prefix..].iter().position(|byte| *byte == b'"').unwrap();
            (prefix..prefix + end).contains(&place)
        };
        let (mut altered, mut unseen) = (0, Vec::new());
        for place in (0..text.len()).filter(|place| !ids(*place)) {
            for flip in [0x01, 0x20] {
                let mut other = text.clone();
                other[place] ^= flip;
                fs::write(&path, &other).unwrap();
                let mut found = Found::default();
                let refused = verify(std::slice::from_ref(&path), None, &mut found).is_err();
                if !refused && found.0.is_empty() {
                    unseen
                        .push(String::from_utf8_lossy(&other[place.saturating_sub(20)..=place]).into_owned());
                }
                altered += 1;
            }
        }
        assert!(altered > 2000 && unseen.is_empty(), "of {altered}: {unseen:?}");
    }
}
