//! Delivery of the audit trail to the endpoint of another system: its progress, and when the next attempt may be
//! made.
//!
//! The rules are pure. A store keeps a [`Delivery`] and swaps it at its version
//! ([`DeliveryStore`](crate::ports::DeliveryStore)); the sender follows the stored state.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Timestamp;
use crate::identity::{InvalidId, MAX_NAME, plain_name};
use crate::ports::EventPosition;

/// The operator's name for an endpoint that events are delivered to.
///
/// 1 to 64 characters of `a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// ```
/// use mfa_domain::delivery::EndpointId;
/// assert!(EndpointId::new("siem").is_ok());
/// assert!(EndpointId::new("https://siem.example.com").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(String);

/// The progress of an endpoint in the trail, and who may send.
///
/// Events are delivered in the order of the trail, in batches. A batch is claimed before it is sent, and `position`
/// moves only after the endpoint accepted it. So each event is delivered at least once. Only one replica sends at a
/// time while clocks agree; with any clocks, no event is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Every event up to this one was delivered, or was not for this endpoint.
    pub position: EventPosition,
    /// The last event of the batch that was claimed and not yet delivered. A retry sends the same batch, so that the
    /// endpoint can recognise it.
    pub through: Option<EventPosition>,
    /// The end of the claim, until which no other replica may send; the epoch if there is no claim.
    pub claimed_until: Timestamp,
    /// The time before which nobody may send, after a failure; the epoch if there was none.
    pub not_before: Timestamp,
    /// Failed attempts in a row.
    pub failures: u32,
    /// How the last attempt failed, as a name such as `timeout` or `status_503`.
    pub last_failure: Option<String>,
    /// The endpoint answered that it is gone. Nothing is sent until an operator resumes it.
    pub stopped: bool,
    /// The number of events that were skipped because they cannot be read, since delivery began at this position.
    pub unreadable: u64,
}

/// Whether a delivery may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimable {
    /// It may be claimed now.
    Free,
    /// Claimed or backing off for this long.
    Wait(Duration),
    /// Stopped until an operator resumes it.
    Stopped,
}

impl Delivery {
    /// The longest time between two attempts, whatever the endpoint asks for, and the longest claim. A time further
    /// in the future was written by a wrong clock and is ignored.
    pub const LONGEST_WAIT: Duration = Duration::from_hours(1);

    /// The longest time between two attempts that this program chooses itself.
    pub const LONGEST_BACKOFF: Duration = Duration::from_mins(10);

    /// A delivery that begins with the first event after `position`.
    #[must_use]
    pub fn starting_after(position: EventPosition) -> Self {
        Self {
            position,
            through: None,
            claimed_until: Timestamp::default(),
            not_before: Timestamp::default(),
            failures: 0,
            last_failure: None,
            stopped: false,
            unreadable: 0,
        }
    }

    /// Whether it may be claimed at `now`.
    #[must_use]
    pub fn turn(&self, now: Timestamp) -> Claimable {
        let waits = [self.claimed_until, self.not_before].map(|until| until.since(now));
        let wait = waits.into_iter().filter(|wait| *wait <= Self::LONGEST_WAIT).max().unwrap_or_default();
        match wait {
            _ if self.stopped => Claimable::Stopped,
            Duration::ZERO => Claimable::Free,
            wait => Claimable::Wait(wait),
        }
    }

    /// The state after a claim until `until`, to send the events after `position` up to `through`.
    #[must_use]
    pub fn claimed(&self, through: EventPosition, until: Timestamp) -> Self {
        Self { through: Some(through), claimed_until: until, ..self.clone() }
    }

    /// The state after the endpoint accepted the batch, or nothing up to this event was for it. The position never
    /// moves back.
    #[must_use]
    pub fn delivered(&self, up_to: EventPosition) -> Self {
        Self { unreadable: self.unreadable, ..Self::starting_after(self.position.max(up_to)) }
    }

    /// Adds to the number of skipped unreadable events.
    #[must_use]
    pub fn passing_over(self, unreadable: u64) -> Self {
        Self { unreadable: self.unreadable.saturating_add(unreadable), ..self }
    }

    /// The state after the endpoint did not accept the batch. It is sent again, not before `retry_at`.
    #[must_use]
    pub fn failed(&self, how: &str, retry_at: Timestamp) -> Self {
        Self {
            claimed_until: Timestamp::default(),
            not_before: retry_at,
            failures: self.failures.saturating_add(1),
            last_failure: Some(how.to_owned()),
            ..self.clone()
        }
    }

    /// The state after the endpoint rejected the batch and is not to be asked again.
    #[must_use]
    pub fn stopped(&self, how: &str) -> Self {
        Self { stopped: true, ..self.failed(how, Timestamp::default()) }
    }

    /// The state after the claim was released without knowing whether the endpoint accepted the batch.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { claimed_until: Timestamp::default(), ..self.clone() }
    }

    /// The state after an operator resumed it: the next attempt may be made at once.
    #[must_use]
    pub fn resumed(&self) -> Self {
        Self { through: self.through, ..self.delivered(self.position) }
    }

    /// The wait before the next attempt after this many failures in a row. It doubles each time, from 1 second to
    /// [`Delivery::LONGEST_BACKOFF`], less up to half of it by `random`, so that endpoints that failed together are
    /// not retried together.
    #[must_use]
    pub fn backoff(failures: u32, random: u16) -> Duration {
        let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(16));
        let half = doubled.min(Self::LONGEST_BACKOFF) / 2;
        half + half * u32::from(random) / u32::from(u16::MAX)
    }
}

impl EndpointId {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = MAX_NAME;

    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or contains another character.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        plain_name("endpoint", text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + second)
    }

    #[test]
    fn a_claim_keeps_the_others_off_until_it_ends() {
        let claimed = Delivery::starting_after(EventPosition(7)).claimed(EventPosition(9), at(20));
        assert_eq!(claimed.turn(at(0)), Claimable::Wait(Duration::from_secs(20)));
        assert_eq!(claimed.turn(at(20)), Claimable::Free);
        assert_eq!((claimed.position, claimed.through), (EventPosition(7), Some(EventPosition(9))));
        assert_eq!(claimed.released().turn(at(0)), Claimable::Free);
        assert_eq!(claimed.released().through, Some(EventPosition(9)));
    }

    #[test]
    fn a_failure_waits_counts_and_keeps_the_batch() {
        let failed =
            Delivery::starting_after(EventPosition(7)).claimed(EventPosition(9), at(20)).failed("x", at(5));
        assert_eq!(failed.turn(at(0)), Claimable::Wait(Duration::from_secs(5)));
        assert_eq!(failed.turn(at(5)), Claimable::Free);
        assert_eq!(
            (failed.position, failed.through, failed.failures),
            (EventPosition(7), Some(EventPosition(9)), 1)
        );
        assert_eq!(failed.failed("y", at(9)).failures, 2);
        assert_eq!(failed.delivered(EventPosition(9)), Delivery::starting_after(EventPosition(9)));
        assert_eq!(failed.delivered(EventPosition(3)).position, EventPosition(7), "it moved back");
    }

    #[test]
    fn who_is_gone_is_left_alone_until_resumed() {
        let stopped =
            Delivery::starting_after(EventPosition(7)).claimed(EventPosition(9), at(20)).stopped("gone");
        assert_eq!(stopped.turn(Timestamp::MAX), Claimable::Stopped);
        let resumed = stopped.resumed();
        assert_eq!((resumed.turn(at(0)), resumed.position), (Claimable::Free, EventPosition(7)));
        assert_eq!((resumed.through, resumed.failures), (Some(EventPosition(9)), 0));
    }

    #[test]
    fn a_clock_that_was_far_ahead_stops_nothing_for_longer_than_the_longest_wait() {
        let delivery = Delivery::starting_after(EventPosition(0));
        for stuck in [delivery.claimed(EventPosition(1), at(3601)), delivery.failed("x", Timestamp::MAX)] {
            assert_eq!(stuck.turn(at(0)), Claimable::Free);
        }
        let both = delivery.claimed(EventPosition(1), at(30));
        let both = Delivery { not_before: Timestamp::MAX, ..both };
        assert_eq!(both.turn(at(0)), Claimable::Wait(Duration::from_secs(30)));
        assert_eq!(delivery.failed("x", at(3600)).turn(at(0)), Claimable::Wait(Delivery::LONGEST_WAIT));
    }

    #[test]
    fn the_wait_doubles_up_to_a_cap_and_is_never_nothing() {
        for (failures, longest) in [(0, 1), (1, 1), (2, 2), (5, 16), (10, 512), (11, 600), (u32::MAX, 600)] {
            let longest = Duration::from_secs(longest);
            assert_eq!(Delivery::backoff(failures, u16::MAX), longest, "{failures}");
            assert_eq!(Delivery::backoff(failures, 0), longest / 2, "{failures}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(EndpointId::new("siem-2.eu_west").unwrap().to_string(), "siem-2.eu_west");
        for text in ["", "-siem", "Siem", "a b", &"x".repeat(65)] {
            assert!(EndpointId::new(text).is_err(), "{text}");
        }
    }
}
