//! Following the chains of an export, without a database.

use std::collections::HashMap;
use std::io::BufRead;

use mfa_domain::ports::AccountPlace;
use mfa_domain::{AccountKey, AuditHead, Timestamp};

use super::Line;
use crate::LineError;
use crate::lines::Lines;
use crate::trail::{Checked, Finding, Watch, Wrong};

/// The chains of exported events, each followed as far as it holds. Keeps the head of each in memory.
///
/// A chain may begin after its first event, if the events before were removed by retention or not exported.
/// It may also continue after a gap, if retention removed events between two pages: the event after the gap
/// must then be old enough itself, as at the beginning of a chain ([`AuditHead::shortened`]).
#[derive(Debug)]
pub struct Chains {
    /// The head of each chain; `None` if the chain does not hold.
    ends: HashMap<AccountKey, Option<AuditHead>>,
    pruned: Option<Timestamp>,
    events: u64,
    late: u64,
}

impl Chains {
    /// No chains yet. `pruned` is the time before which retention may have removed events, as
    /// [`Horizon::gone_before`] returns it; `None` if nothing may be missing.
    ///
    /// [`Horizon::gone_before`]: crate::retention::Horizon::gone_before
    #[must_use]
    pub fn new(pruned: Option<Timestamp>) -> Self {
        Self { ends: HashMap::new(), pruned, events: 0, late: 0 }
    }

    /// Follows the chains through one more export, which may continue where the previous one ended.
    ///
    /// # Errors
    /// [`LineError`] if it cannot be read, or a line is not an event.
    pub fn follow(&mut self, export: impl BufRead, watch: &mut dyn Watch) -> Result<(), LineError> {
        let mut lines = Lines::of(export);
        while let Some(line) = lines.next()? {
            let line: Line = serde_json::from_slice(&line).map_err(|_| lines.altered())?;
            let (key, event) = line.read().ok_or_else(|| lines.altered())?;
            let chain = self.ends.entry(key.clone()).or_insert_with(|| {
                watch.checked();
                Some(AuditHead::default())
            });
            // Events after the first mismatch prove nothing.
            let Some(head) = chain else { continue };
            let first = *head == AuditHead::default();
            let begin = AuditHead { sequence: event.sequence.saturating_sub(1), hash: event.previous };
            let gone = first || self.pruned.is_some_and(|before| event.at < before);
            if begin.sequence > head.sequence && gone {
                self.late += 1;
                *head = begin;
            }
            match head.extend(&key, &event) {
                Ok(next) => {
                    *chain = Some(next);
                    self.events += 1;
                }
                Err(broken) => {
                    *chain = None;
                    let place = AccountPlace::from(&key);
                    watch.found(Finding { place, sequence: broken.sequence, what: Wrong::Broken });
                }
            }
        }
        Ok(())
    }

    /// The number of accounts and events that were followed.
    #[must_use]
    pub fn checked(&self) -> Checked {
        Checked { accounts: self.ends.len() as u64, events: self.events }
    }

    /// How many times a chain began after its first event, or continued after a gap.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::TenantId;
    use mfa_domain::ports::Vault;
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::{FakeVault, changes};

    use super::super::Selection;
    use super::super::tests::{exported, store};
    use super::*;

    /// The counts of these exports, how many beginnings are late, and the findings.
    fn verify(
        exports: &[&[u8]],
        pruned: Option<Timestamp>,
    ) -> Result<(Checked, u64, Vec<Finding>), LineError> {
        let (mut chains, mut found) = (Chains::new(pruned), Vec::new());
        for export in exports {
            chains.follow(*export, &mut found)?;
        }
        Ok((chains.checked(), chains.late(), found))
    }

    #[tokio::test]
    async fn events_of_every_tenant_are_exported_once_and_hold() {
        let (text, all) = exported(&store().await, Selection::default()).await;
        assert_eq!((all.events, all.last), (10, None));
        let checked = Checked { accounts: 4, events: 10 };
        assert_eq!(verify(&[&text], None).unwrap(), (checked, 0, vec![]));
    }

    #[tokio::test]
    async fn an_export_goes_on_where_another_ended() {
        let store = store().await;
        let tenant = TenantId::new("b").unwrap();
        let of_tenant = |after| Selection { tenant: Some(tenant.clone()), after, ..Selection::default() };
        let (text, _) = exported(&store, of_tenant(None)).await;
        let one = text.split_inclusive(|byte| *byte == b'\n').next().unwrap();
        let line: Line = serde_json::from_slice(one).unwrap();
        let after = FakeVault::default().event_position(&tenant, line.id.parse().unwrap());
        let (other, rest) = exported(&store, of_tenant(after)).await;
        assert_eq!(rest.events, 3);
        let (nothing, then) = exported(&store, of_tenant(rest.last)).await;
        assert_eq!((nothing.len(), then.events, then.last), (0, 0, rest.last));
        let checked = Checked { accounts: 1, events: 4 };
        assert_eq!(verify(&[one, &other], None).unwrap(), (checked, 0, vec![]));
        let checked = Checked { accounts: 1, events: 3 };
        assert_eq!(verify(&[&other], None).unwrap(), (checked, 1, vec![]));
    }

    /// A gap that retention leaves between two pages is accepted if the event after it is old enough.
    #[tokio::test]
    async fn a_gap_before_an_event_that_is_old_enough_is_a_beginning() {
        let store = MemoryStore::default();
        let key = changes::key("alice");
        for _ in 0..5 {
            let _ = changes::change(&store, &key, |_| ()).await.unwrap();
        }
        let (text, _) = exported(&store, Selection::default()).await;
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let now = changes::now();
        let later = Timestamp::from_unix_millis(now.unix_millis() + 1);
        let gap = Finding { place: AccountPlace::from(&key), sequence: 2, what: Wrong::Broken };
        for (pruned, expected) in
            [(None, (1, 0, vec![gap.clone()])), (Some(now), (1, 0, vec![gap])), (Some(later), (3, 1, vec![]))]
        {
            let (checked, late, found) = verify(&[lines[0], lines[3], lines[4]], pruned).unwrap();
            assert_eq!((checked.events, late, found), expected, "{pruned:?}");
        }
        // Events in reverse order are not a chain.
        let (_, _, found) = verify(&[lines[1], lines[3], lines[2]], Some(later)).unwrap();
        assert_eq!(found.len(), 1);
    }

    /// Except for the id, which is a place in the store and not part of the chain.
    #[tokio::test]
    async fn whatever_byte_is_altered_it_is_found() {
        let (text, _) = exported(&store().await, Selection::default()).await;
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
                if verify(&[&other], None).is_ok_and(|(_, _, found)| found.is_empty()) {
                    unseen
                        .push(String::from_utf8_lossy(&other[place.saturating_sub(20)..=place]).into_owned());
                }
                altered += 1;
            }
        }
        assert!(altered > 2000 && unseen.is_empty(), "of {altered}: {unseen:?}");
    }
}
