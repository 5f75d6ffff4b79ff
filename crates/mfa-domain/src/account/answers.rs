//! Answers that are kept, so that a call that is sent again gets the same one.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::audit::EventKind;
use crate::{KeyId, Sealed, Timestamp};

/// The name of a call that may be sent again: a digest of who calls, of what is called and of the key that the
/// caller chose for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub [u8; 32]);

/// The answer to a call. It is told again until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Which call it answered.
    pub call: CallId,
    /// Whether it holds a secret or backup codes.
    pub secret: bool,
    /// From when on it is not told any more.
    pub expires_at: Timestamp,
    /// What was asked for, as a digest, and what was answered; bound to the account and the call.
    pub sealed: Sealed,
}

/// The kept answers of one account, oldest first.
///
/// Every change leaves out what has expired by then, so that it does not stay longer than until the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptAnswers(Vec<KeptAnswer>);

/// What was read is no list of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of kept answers")]
pub struct NoAnswers;

/// The form of [`KeptAnswers::to_bytes`].
const FORM: u8 = 1;

impl CallId {
    /// The name of what these parts say, in this order.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let hash = parts.iter().fold(Sha256::new(), |hash, part| {
            // With its length in front, no part can pass for two.
            hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
        });
        Self(hash.finalize().into())
    }
}

impl KeptAnswer {
    /// How long an answer is kept.
    pub const KEPT_FOR: Duration = Duration::from_hours(24);

    /// How long an answer with a secret is kept, if nothing ends that earlier.
    pub const SECRET_KEPT_FOR: Duration = Duration::from_mins(10);
}

impl KeptAnswers {
    /// How many bytes an account keeps: about a hundred answers without a body, or forty with a factor. A further
    /// one takes the place of the oldest.
    ///
    /// It is not refused: whoever may change a label could then keep everybody else from calling for a day.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The answer to a call, if it is kept and has not expired.
    #[must_use]
    pub fn to(&self, call: CallId, now: Timestamp) -> Option<&KeptAnswer> {
        self.0.iter().find(|answer| answer.call == call && answer.expires_at > now)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that have not expired.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        Self(self.0.iter().filter(|answer| answer.expires_at > now).cloned().collect())
    }

    /// What happened may end the time of an answer, and this is the one place that says so: once a factor counts
    /// or is gone, nobody needs its secret again, and who is reset may be somebody whom others have read along
    /// with. New backup codes end none: the old ones open nothing by then, and the call that gave them out must
    /// not give out others in the place of the new ones.
    pub(super) fn after(&mut self, event: &EventKind) {
        match event {
            EventKind::FactorActivated
            | EventKind::FactorImported
            | EventKind::FactorRevoked
            | EventKind::EnrolmentAbandoned
            | EventKind::Reset => self.0.retain(|answer| !answer.secret),
            EventKind::Erased => self.0.clear(),
            _ => {}
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &KeptAnswer> {
        self.0.iter()
    }

    /// Puts each in the place of the one to the same call.
    pub(super) fn replace(&mut self, answers: Vec<KeptAnswer>) {
        for answer in answers {
            if let Some(old) = self.0.iter_mut().find(|old| old.call == answer.call) {
                *old = answer;
            }
        }
    }

    pub(super) fn keep(&mut self, answer: KeptAnswer) {
        self.0.retain(|other| other.call != answer.call);
        self.0.push(answer);
        while self.0.len() > 1 && self.to_bytes().len() > Self::MAX_BYTES {
            self.0.remove(0);
        }
    }

    /// As stores keep them; empty if there is none.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.is_empty() {
            bytes.push(FORM);
        }
        for KeptAnswer { call, secret, expires_at, sealed } in &self.0 {
            bytes.extend_from_slice(&call.0);
            bytes.push((*secret).into());
            bytes.extend_from_slice(&expires_at.unix_millis().to_be_bytes());
            for part in [sealed.key.as_str().as_bytes(), &sealed.bytes] {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`NoAnswers`] if it did not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoAnswers> {
        let mut rest = match bytes.split_first() {
            None => return Ok(Self::default()),
            Some((&FORM, rest)) => Bytes(rest),
            Some(_) => return Err(NoAnswers),
        };
        let mut answers = Vec::new();
        while !rest.0.is_empty() {
            answers.push(rest.answer().ok_or(NoAnswers)?);
        }
        Ok(Self(answers))
    }
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn answer(&mut self) -> Option<KeptAnswer> {
        Some(KeptAnswer {
            call: CallId(self.array()?),
            secret: match self.array()? {
                [0] => false,
                [1] => true,
                _ => return None,
            },
            expires_at: Timestamp::from_unix_millis(u64::from_be_bytes(self.array()?)),
            sealed: Sealed {
                key: KeyId::new(str::from_utf8(self.part()?).ok()?),
                bytes: self.part()?.to_vec(),
            },
        })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_be_bytes(self.array()?).try_into().ok()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }
}

/// The beginning of it is enough to tell calls apart.
impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({:02x?}…)", &self.0[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(call: u8, secret: bool, expires_at: u64) -> KeptAnswer {
        KeptAnswer {
            call: CallId([call; 32]),
            secret,
            expires_at: Timestamp::from_unix_seconds(expires_at),
            sealed: Sealed { key: KeyId::new("k1"), bytes: vec![call; usize::from(call)] },
        }
    }

    fn calls(answers: &KeptAnswers) -> Vec<u8> {
        answers.0.iter().map(|answer| answer.call.0[0]).collect()
    }

    #[test]
    fn they_come_back_from_bytes_and_nothing_else_does() {
        let answers = KeptAnswers(vec![answer(1, true, 5), answer(0, false, 1 << 40)]);
        let bytes = answers.to_bytes();
        assert_eq!(KeptAnswers::from_bytes(&bytes), Ok(answers));
        assert_eq!(KeptAnswers::default().to_bytes(), b"");
        assert_eq!(KeptAnswers::from_bytes(b""), Ok(KeptAnswers::default()));
        let whole = [1, KeptAnswers(vec![answer(1, true, 5)]).to_bytes().len()];
        for end in (1..bytes.len()).filter(|end| !whole.contains(end)) {
            assert_eq!(KeptAnswers::from_bytes(&bytes[..end]), Err(NoAnswers), "{end} bytes");
        }
        assert_eq!(KeptAnswers::from_bytes(&[2]), Err(NoAnswers));
    }

    #[test]
    fn calls_differ_wherever_a_part_ends() {
        assert_ne!(CallId::of(&["ab", "c"]), CallId::of(&["a", "bc"]));
        assert_ne!(CallId::of(&["a", ""]), CallId::of(&["a"]));
        assert_eq!(CallId::of(&["a", "b"]), CallId::of(&["a", "b"]));
    }

    #[test]
    fn an_answer_is_told_until_it_expires() {
        let answers = KeptAnswers(vec![answer(1, true, 5), answer(2, false, 9)]);
        let at = Timestamp::from_unix_seconds;
        assert!(answers.to(CallId([1; 32]), at(4)).is_some());
        assert!(answers.to(CallId([1; 32]), at(5)).is_none());
        assert!(answers.to(CallId([3; 32]), at(0)).is_none());
        assert_eq!(calls(&answers.at(at(5))), [2]);
    }

    #[test]
    fn secrets_go_with_a_confirmation_a_removal_and_a_reset_and_everything_with_an_erasure() {
        let answers = KeptAnswers(vec![answer(1, true, 5), answer(2, false, 9)]);
        for (event, left) in [
            (EventKind::FactorActivated, vec![2]),
            (EventKind::FactorImported, vec![2]),
            (EventKind::FactorRevoked, vec![2]),
            (EventKind::EnrolmentAbandoned, vec![2]),
            (EventKind::Reset, vec![2]),
            (EventKind::Erased, vec![]),
            (EventKind::Verified, vec![1, 2]),
            (EventKind::FactorRenamed, vec![1, 2]),
            (EventKind::BackupCodesIssued, vec![1, 2]),
            (EventKind::Unlocked, vec![1, 2]),
        ] {
            let mut answers = answers.clone();
            answers.after(&event);
            assert_eq!(calls(&answers), left, "{event}");
        }
    }

    #[test]
    fn the_oldest_makes_room_and_a_call_has_one_answer() {
        let mut answers = KeptAnswers::default();
        let large = |call, bytes| {
            let answer = answer(call, false, 9);
            KeptAnswer { sealed: Sealed { bytes: vec![call; bytes], ..answer.sealed }, ..answer }
        };
        for call in (0..40).chain([20]) {
            answers.keep(large(call, 1000));
        }
        assert_eq!(calls(&answers), (25..40).chain([20]).skip(1).collect::<Vec<_>>());
        assert!(answers.to_bytes().len() <= KeptAnswers::MAX_BYTES);
        answers.keep(large(50, KeptAnswers::MAX_BYTES));
        assert_eq!(calls(&answers), [50], "the newest stays, whatever it takes");
    }
}
