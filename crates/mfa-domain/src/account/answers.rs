//! Kept answers: a repeated call gets the same answer again.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::audit::EventKind;
use crate::{KeyId, Sealed, Timestamp};

/// The id of a repeatable call: a digest of the caller, the operation, and the key that the caller chose.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub [u8; 32]);

/// The answer to a call, which repeated calls get until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The call that was answered.
    pub call: CallId,
    /// Whether the answer holds a secret or backup codes.
    pub secret: bool,
    /// The time from which the answer is no longer returned.
    pub expires_at: Timestamp,
    /// The digest of the request and the answer, sealed for the account and the call.
    pub sealed: Sealed,
}

/// The kept answers of one account, oldest first.
///
/// Every change drops the expired ones, so none stays longer than until the first change after its expiry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptAnswers(Vec<KeptAnswer>);

/// The bytes are not a list of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored answers cannot be read")]
pub struct NoAnswers;

/// The format version of [`KeptAnswers::to_bytes`].
const FORM: u8 = 1;

impl CallId {
    /// Derives an id from these parts, in this order.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let hash = parts.iter().fold(Sha256::new(), |hash, part| {
            // The length prefix keeps parts apart: no two lists give the same bytes.
            hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
        });
        Self(hash.finalize().into())
    }
}

impl KeptAnswer {
    /// How long an answer is kept.
    pub const KEPT_FOR: Duration = Duration::from_hours(24);

    /// How long an answer with a secret is kept, unless an event ends it earlier.
    pub const SECRET_KEPT_FOR: Duration = Duration::from_mins(10);
}

impl KeptAnswers {
    /// The most bytes that an account keeps: about 100 answers without a body, or 40 with a factor. A further answer
    /// replaces the oldest.
    ///
    /// It is not refused: a caller who may change a label could otherwise block everybody else's calls for a day.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The answer to a call, if it is kept and has not expired.
    #[must_use]
    pub fn to(&self, call: CallId, now: Timestamp) -> Option<&KeptAnswer> {
        self.0.iter().find(|answer| answer.call == call && answer.expires_at > now)
    }

    /// The number of answers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answers that have not expired.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        Self(self.0.iter().filter(|answer| answer.expires_at > now).cloned().collect())
    }

    /// Drops the answers that an event ends. This is the only place that decides it.
    ///
    /// Once a factor is active or gone, nobody needs its secret again. A reset may mean that somebody else has read
    /// the user's messages. New backup codes end no answer: the old codes no longer work, and a repetition of the
    /// call that issued them must not issue others in place of the new ones.
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

    /// All answers, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &KeptAnswer> {
        self.0.iter()
    }

    /// Replaces the answers to the same calls.
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

    /// The bytes for a store; empty if there is no answer.
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

    /// Parses the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`NoAnswers`] for any other bytes.
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

/// The bytes still to be parsed.
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

/// Shows the first bytes only; they are enough to tell calls apart.
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
