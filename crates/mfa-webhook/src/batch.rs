//! The choice of events for one message.

use std::collections::HashSet;

use mfa_domain::ports::{EventPosition, TrailEvent, TrailPage, UnreadableEvent};
use mfa_domain::{EventKind, TenantId};

/// The events that an endpoint receives. An empty set matches everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these tenants.
    pub tenants: HashSet<TenantId>,
    /// Of these kinds.
    pub kinds: HashSet<EventKind>,
}

impl Filter {
    fn takes(&self, event: &TrailEvent) -> bool {
        (self.tenants.is_empty() || self.tenants.contains(&event.tenant))
            && (self.kinds.is_empty() || self.kinds.contains(&event.recorded.event.kind))
    }

    /// Whether an unreadable event may be one for the endpoint.
    fn may_take(&self, event: &UnreadableEvent) -> bool {
        let tenant = str::from_utf8(&event.place.tenant).ok().and_then(|tenant| TenantId::new(tenant).ok());
        self.tenants.is_empty() || tenant.is_none_or(|tenant| self.tenants.contains(&tenant))
    }
}

/// The contents of one message: events in the order of the trail, and the position up to which the trail is
/// done once they are accepted, which may be beyond the last event.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<TrailEvent>,
    /// Unreadable events in this range, which are skipped.
    pub(crate) unreadable: Vec<UnreadableEvent>,
    pub(crate) through: EventPosition,
}

impl Batch {
    /// This many events make about 20 kB, the size that receivers are asked to expect. More than one, since
    /// each message costs a round trip to the endpoint and two durable writes.
    pub(crate) const MOST: usize = 50;

    /// The batch at the beginning of a page; `None` if the page is empty. `again` is the end of a batch that
    /// was tried before: the same events then make the same message. If retention has removed all of them,
    /// the batch begins with the next events.
    pub(crate) fn next(page: TrailPage, filter: &Filter, again: Option<EventPosition>) -> Option<Self> {
        let TrailPage { mut events, mut unreadable, .. } = page;
        let positions = events
            .iter()
            .map(|event| event.recorded.position)
            .chain(unreadable.iter().map(|event| event.position));
        let first = positions.clone().min()?;
        let again = again.filter(|again| first <= *again);
        let mut through = positions.filter(|position| again.is_none_or(|again| *position <= again)).max()?;
        events.retain(|event| event.recorded.position <= through && filter.takes(event));
        if events.len() > Self::MOST {
            events.truncate(Self::MOST);
            through = events.last()?.recorded.position;
        }
        unreadable.retain(|event| event.position <= through && filter.may_take(event));
        Some(Self { events, unreadable, through })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mfa_domain::ports::RecordedEvent;
    use mfa_domain::{AccountKey, Actor, AuditHead, Timestamp, UserId};

    use super::*;

    /// Events 1 to `count`. Every third is a failure; every second belongs to tenant `b`.
    fn page(count: u64) -> TrailPage {
        let event = |position: u64| {
            let tenant = TenantId::new(if position.is_multiple_of(2) { "b" } else { "a" }).unwrap();
            let key = AccountKey::new(tenant.clone(), UserId::new("alice").unwrap());
            let kind =
                if position.is_multiple_of(3) { EventKind::VerificationFailed } else { EventKind::Verified };
            let (at, by) = (Timestamp::default(), Actor::user("web"));
            let event = AuditHead::default().next(&key, at, &by, kind, None, BTreeMap::new());
            TrailEvent {
                tenant,
                recorded: RecordedEvent { position: EventPosition(position), user: key.user, event },
            }
        };
        TrailPage { events: (1..=count).map(event).collect(), more: true, ..TrailPage::default() }
    }

    fn positions(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.recorded.position.0).collect()
    }

    #[test]
    fn a_batch_is_the_first_events_and_no_more_than_a_message_holds() {
        let batch = Batch::next(page(7), &Filter::default(), None).unwrap();
        assert_eq!((positions(&batch), batch.through), ((1..=7).collect(), EventPosition(7)));
        let batch = Batch::next(page(200), &Filter::default(), None).unwrap();
        assert_eq!((positions(&batch), batch.through), ((1..=50).collect(), EventPosition(50)));
        assert!(Batch::next(page(0), &Filter::default(), None).is_none());
    }

    #[test]
    fn what_is_not_wanted_is_passed_over() {
        let tenants = HashSet::from([TenantId::new("b").unwrap()]);
        let filter = Filter { tenants, kinds: HashSet::from([EventKind::Verified]) };
        let batch = Batch::next(page(11), &filter, None).unwrap();
        assert_eq!((positions(&batch), batch.through), (vec![2, 4, 8, 10], EventPosition(11)));
        let batch = Batch::next(page(200), &filter, None).unwrap();
        assert_eq!((batch.events.len(), batch.through), (Batch::MOST, EventPosition(148)));
        let nothing = Filter { kinds: HashSet::from([EventKind::Erased]), ..Filter::default() };
        let batch = Batch::next(page(9), &nothing, None).unwrap();
        assert_eq!((batch.events.len(), batch.through), (0, EventPosition(9)));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_told() {
        let spoil = |page: TrailPage, which: &[u64]| {
            let (spoilt, events) =
                page.events.into_iter().partition(|event| which.contains(&event.recorded.position.0));
            let unreadable = |TrailEvent { tenant, recorded }: TrailEvent| UnreadableEvent {
                position: recorded.position,
                place: (&AccountKey::new(tenant, recorded.user)).into(),
                what: String::new(),
            };
            let spoilt: Vec<_> = spoilt;
            TrailPage { events, unreadable: spoilt.into_iter().map(unreadable).collect(), more: true }
        };
        let told = |batch: &Batch| batch.unreadable.iter().map(|event| event.position.0).collect::<Vec<_>>();
        let batch = Batch::next(spoil(page(7), &[1, 4, 7]), &Filter::default(), None).unwrap();
        assert_eq!((positions(&batch), told(&batch)), (vec![2, 3, 5, 6], vec![1, 4, 7]));
        assert_eq!(batch.through, EventPosition(7));
        // The page contains nothing else.
        let batch = Batch::next(spoil(page(2), &[1, 2]), &Filter::default(), None).unwrap();
        assert_eq!((positions(&batch), told(&batch), batch.through), (vec![], vec![1, 2], EventPosition(2)));
        // Events after a full message, or outside of a batch that is tried again, come later.
        let batch = Batch::next(spoil(page(200), &[3, 60]), &Filter::default(), None).unwrap();
        assert_eq!((told(&batch), batch.through), (vec![3], EventPosition(51)));
        let batch = Batch::next(spoil(page(9), &[3, 8]), &Filter::default(), Some(EventPosition(5))).unwrap();
        assert_eq!(
            (positions(&batch), told(&batch), batch.through),
            (vec![1, 2, 4, 5], vec![3], EventPosition(5))
        );
        // Events of other tenants are not for this endpoint.
        let filter = Filter { tenants: HashSet::from([TenantId::new("b").unwrap()]), ..Filter::default() };
        assert_eq!(told(&Batch::next(spoil(page(5), &[1, 2]), &filter, None).unwrap()), [2]);
    }

    #[test]
    fn a_batch_that_is_tried_again_is_the_same_though_more_has_happened() {
        let batch = Batch::next(page(20), &Filter::default(), Some(EventPosition(7))).unwrap();
        assert_eq!((positions(&batch), batch.through), ((1..=7).collect(), EventPosition(7)));
        // A program with smaller pages must not skip events that it has not seen.
        let batch = Batch::next(page(5), &Filter::default(), Some(EventPosition(7))).unwrap();
        assert_eq!(batch.through, EventPosition(5));
    }
}
