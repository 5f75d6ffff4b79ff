//! The steps that an open challenge can take.

use super::{Challenge, ChallengeData, ChallengeId, ChallengeState, Progress};
use crate::{Timestamp, Version, Versioned};

/// A challenge that can still be answered, at the version at which it was read.
///
/// Each step consumes it, so only one step follows from one read. There is none for a challenge that is over, so a
/// denied one can never be approved.
#[derive(Debug)]
pub(crate) struct OpenChallenge {
    challenge: Challenge,
    version: Version,
}

/// One step of a challenge, for [`ChallengeStore::swap`](crate::ports::ChallengeStore::swap).
#[derive(Debug)]
#[must_use = "a step has no effect until it is swapped"]
pub(crate) struct Step {
    pub(crate) id: ChallengeId,
    pub(crate) expected: Version,
    pub(crate) next: Progress,
}

impl OpenChallenge {
    /// Wraps a challenge; `None` if it is not open at `now`.
    pub(crate) fn new(read: Versioned<Challenge>, now: Timestamp) -> Option<Self> {
        let Versioned { value: challenge, version } = read;
        let open = challenge.progress.state == ChallengeState::Open && !challenge.is_expired(now);
        open.then_some(Self { challenge, version })
    }

    /// The challenge as it was read.
    pub(crate) const fn get(&self) -> &Challenge {
        &self.challenge
    }

    /// Ends an answered or cancelled challenge, and drops its data.
    pub(crate) fn end(self) -> Step {
        let failures = self.challenge.progress.failures;
        self.step(Progress { state: ChallengeState::Over, failures, data: ChallengeData::default() })
    }

    /// Counts a wrong answer. The last of `max_failures` ends the challenge.
    pub(crate) fn fail(self, max_failures: u32) -> Step {
        let failures = self.challenge.progress.failures.saturating_add(1);
        if failures >= max_failures {
            return self.step(Progress {
                state: ChallengeState::Over,
                failures,
                data: ChallengeData::default(),
            });
        }
        let data = self.challenge.progress.data.clone();
        self.step(Progress { state: ChallengeState::Open, failures, data })
    }

    /// Replaces its data, for example for another code. Keeps the number of wrong answers.
    pub(crate) fn renew(self, data: ChallengeData) -> Step {
        let failures = self.challenge.progress.failures;
        self.step(Progress { state: ChallengeState::Open, failures, data })
    }

    fn step(self, next: Progress) -> Step {
        Step { id: self.challenge.id, expected: self.version, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caller, ChallengeKind, Purpose, TenantId, UserId};

    fn read(progress: Progress) -> Versioned<Challenge> {
        let value = Challenge {
            id: ChallengeId::from_entropy([7; 16]),
            tenant: TenantId::new("acme").unwrap(),
            user: UserId::new("alice").ok(),
            factor: None,
            kind: ChallengeKind::EmailCode,
            purpose: Purpose::Verify,
            caller: Caller::new("shop"),
            nonce: None,
            created_at: Timestamp::default(),
            expires_at: Timestamp::from_unix_millis(1000),
            progress,
        };
        Versioned { value, version: Version(3) }
    }

    #[test]
    fn only_what_is_open_and_in_time_has_a_next_step() {
        let in_time = Timestamp::from_unix_millis(999);
        for state in ChallengeState::ALL {
            let progress = Progress { state, ..Progress::new(ChallengeData::default()) };
            let open = OpenChallenge::new(read(progress.clone()), in_time);
            assert_eq!(open.is_some(), state == ChallengeState::Open, "{state}");
            assert!(OpenChallenge::new(read(progress), Timestamp::from_unix_millis(1000)).is_none());
        }
    }

    #[test]
    fn the_last_failure_ends_it_and_a_new_code_gives_none_back() {
        let data = ChallengeData::new([1]).unwrap();
        let open = |failures| {
            let progress = Progress { failures, ..Progress::new(data.clone()) };
            OpenChallenge::new(read(progress), Timestamp::default()).unwrap()
        };
        let step = open(3).fail(5);
        assert_eq!(
            (step.expected, step.next.state, step.next.failures),
            (Version(3), ChallengeState::Open, 4)
        );
        assert_eq!(step.next.data, data);
        for over in [open(4).fail(5), open(4).end()] {
            assert_eq!(over.next.state, ChallengeState::Over);
            assert_eq!(over.next.data, ChallengeData::default());
        }
        let renewed = open(4).renew(ChallengeData::new([2]).unwrap()).next;
        assert_eq!((renewed.state, renewed.failures), (ChallengeState::Open, 4));
        assert_eq!(renewed.data.as_bytes(), [2]);
    }
}
