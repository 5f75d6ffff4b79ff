//! Messages on their way: what is queued, whose turn it is to send it, and when it is tried again.
//!
//! The rules are pure. A store keeps a [`Message`] in the same commit as the event that tells of it
//! ([`Outbox`](crate::ports::Outbox)); [`Mfa::claim_messages`](crate::Mfa::claim_messages) and
//! [`Mfa::deliver`](crate::Mfa::deliver) send it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::identity::InvalidId;
use crate::{AccountKey, ChallengeId, Sealed, Timestamp};

mod content;

pub(crate) use content::{Content, OpenContent};

/// A message to a user, from the commit that queues it until an hour after it expired.
///
/// Who it is for stays as it was made; how far it is, is its [`Sending`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id. A message that is put under the id of another takes its place.
    pub id: MessageId,
    /// Whose it is.
    pub account: AccountKey,
    /// From when on nobody needs it any more.
    pub expires_at: Timestamp,
    /// How far it is.
    pub sending: Sending,
}

/// How far a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Whether it was sent.
    pub state: MessageState,
    /// Of a queued one: before that time nobody sends it. Whoever claims it sets this to the end of the claim.
    pub due_at: Timestamp,
    /// How often it was claimed.
    pub tries: u32,
    /// How it failed so far, in a word such as `not_sent`: the last try, or `unknown` from the first one on after which it
    /// may have arrived.
    pub last_failure: Option<String>,
    /// Where it goes and what it says, sealed; gone as soon as nobody is to send it any more.
    pub content: Option<Sealed>,
}

/// Whether a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageState {
    /// Not yet, as far as is known.
    Queued,
    /// A server took it.
    Sent,
    /// It was given up: refused, its time was over, or nobody waits for it. Where the end of a try is not known, it may
    /// have arrived.
    Failed,
}

/// The id of one message: 128 random bits. That of a code is the id of the challenge that it answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; Self::LENGTH]);

/// A name that is no state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a state of a message; it must be queued, sent or failed")]
pub struct UnknownMessageState;

/// After each failed try, how long to wait before the next: at 5 seconds, and at 1, 2, 5.5 and 8.5 minutes. Servers
/// that greylist take a message after 5 minutes, and their defaults are counted from the first try. A wait that would end
/// too late ends [`LAST_TRY`] before the message does.
const WAITS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(55),
    Duration::from_mins(1),
    Duration::from_secs(210),
    Duration::from_mins(3),
];

/// How long before a message expires it is tried for the last time: long enough to type what arrives at once.
const LAST_TRY: Duration = Duration::from_secs(10);

/// How a try failed after which the message may have arrived: that of
/// [`SenderError::Unknown`](crate::ports::SenderError::Unknown).
const UNKNOWN: &str = "unknown";

impl Message {
    /// How long a claim lasts: longer than any try to send.
    pub const CLAIM: Duration = Duration::from_mins(2);

    /// For so long a message is kept after it expired: whoever asks is told what became of it.
    pub const KEPT: Duration = Duration::from_hours(1);

    /// One that is to be sent at once.
    #[must_use]
    pub fn queued(
        id: MessageId,
        account: AccountKey,
        now: Timestamp,
        expires_at: Timestamp,
        content: Sealed,
    ) -> Self {
        let sending = Sending {
            state: MessageState::Queued,
            due_at: now,
            tries: 0,
            last_failure: None,
            content: Some(content),
        };
        Self { id, account, expires_at, sending }
    }

    /// Whether nobody needs it any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// What follows from a try that failed: when it is tried again; `None` if that was the last try.
    #[must_use]
    pub fn after_failure(&self, how: &str, now: Timestamp) -> Option<Sending> {
        let tries = usize::try_from(self.sending.tries).unwrap_or(usize::MAX);
        let wait = WAITS.get(tries.saturating_sub(1)).or(WAITS.last()).copied().unwrap_or_default();
        let due_at = now.plus(wait).min(self.expires_at.minus(LAST_TRY));
        let last_failure = Some(self.sending.failure(how).to_owned());
        let again = Sending { due_at, last_failure, ..self.sending.clone() };
        (due_at > now).then_some(again)
    }
}

impl Sending {
    /// Claimed until then by whoever sends it.
    #[must_use]
    pub fn claimed(&self, until: Timestamp) -> Self {
        Self { due_at: until, tries: self.tries.saturating_add(1), ..self.clone() }
    }

    /// A server took it.
    #[must_use]
    pub fn sent(&self) -> Self {
        Self { state: MessageState::Sent, last_failure: None, content: None, ..self.clone() }
    }

    /// It was given up.
    #[must_use]
    pub fn failed(&self, how: &str) -> Self {
        let last_failure = Some(self.failure(how).to_owned());
        Self { state: MessageState::Failed, last_failure, content: None, ..self.clone() }
    }

    /// How it failed, all its tries together, once the one that it is claimed for has ended like that: a message that may
    /// have arrived is never again told to be one that did not. Nor is one that was claimed before by somebody who never
    /// said what became of it. Only a try that dies with its server after one that failed counts as failed like that.
    fn failure<'a>(&self, how: &'a str) -> &'a str {
        let before = self.last_failure.as_deref();
        let may_have_arrived = self.tries > 1 && before.is_none_or(|before| before == UNKNOWN);
        if may_have_arrived { UNKNOWN } else { how }
    }
}

impl MessageId {
    /// Random bytes in an id.
    pub const LENGTH: usize = 16;

    /// The id of sixteen fresh random bytes.
    #[must_use]
    pub const fn from_entropy(random: [u8; Self::LENGTH]) -> Self {
        Self(random)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl From<ChallengeId> for MessageId {
    fn from(challenge: ChallengeId) -> Self {
        Self(*challenge.as_bytes())
    }
}

impl FromStr for MessageId {
    type Err = InvalidId;

    /// Reads what `Display` printed, and only that form.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidId { what: "message", rule: "as it was given out" })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl MessageState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Sent, Self::Failed];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MessageState {
    type Err = UnknownMessageState;

    fn from_str(name: &str) -> Result<Self, UnknownMessageState> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or(UnknownMessageState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SenderError;
    use crate::{KeyId, TenantId, UserId};

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + second)
    }

    fn queued_for(seconds: u64) -> Message {
        let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
        let content = Sealed { key: KeyId::new("k1"), bytes: vec![7] };
        Message::queued(MessageId::from_entropy([7; 16]), account, at(0), at(seconds), content)
    }

    fn queued() -> Message {
        queued_for(600)
    }

    #[test]
    fn tries_come_in_time_for_greylisting_and_end_with_the_message() {
        for (lifetime, expected) in [
            (600, &[0, 5, 60, 120, 330, 510, 590][..]),
            (240, &[0, 5, 60, 120, 230]),
            (60, &[0, 5, 50]),
            (15, &[0, 5]),
            (10, &[0]),
        ] {
            let (mut message, mut now, mut tried) = (queued_for(lifetime), at(0), Vec::new());
            loop {
                tried.push(now.since(at(0)).as_secs());
                message.sending = message.sending.claimed(now.plus(Message::CLAIM));
                let Some(next) = message.after_failure("not_sent", now) else { break };
                assert_eq!(
                    (next.state, next.last_failure.as_deref()),
                    (MessageState::Queued, Some("not_sent"))
                );
                assert!(next.content.is_some());
                now = next.due_at;
                message.sending = next;
            }
            assert_eq!(tried, expected, "{lifetime}");
        }
        let mut message = queued();
        message.sending.tries = u32::MAX;
        assert!(message.after_failure("unknown", at(0)).is_some());
    }

    #[test]
    fn what_may_have_arrived_is_never_told_to_be_not_sent() {
        let claimed = |sending: &Sending| sending.claimed(at(120));
        let again = |sending: &Sending, how: &str| {
            Message { sending: claimed(sending), ..queued() }.after_failure(how, at(0)).unwrap()
        };
        let failure = |sending: &Sending| claimed(sending).failed("expired").last_failure.unwrap();
        let first = queued().sending;
        assert_eq!(failure(&first), "expired");
        assert_eq!(failure(&again(&first, "not_sent")), "expired");
        assert_eq!(failure(&again(&first, "unknown")), "unknown");
        assert_eq!(failure(&again(&again(&first, "unknown"), "not_sent")), "unknown");
        assert_eq!(failure(&claimed(&first)), "unknown", "whoever had claimed it is gone");
        assert_eq!(SenderError::unknown("hung up").as_str(), UNKNOWN);
    }

    #[test]
    fn what_is_over_holds_nothing() {
        let sending = queued().sending.claimed(at(120));
        assert_eq!((sending.tries, sending.due_at), (1, at(120)));
        let (sent, failed) = (sending.sent(), sending.failed("refused"));
        assert_eq!((sent.state, sent.content, sent.last_failure), (MessageState::Sent, None, None));
        assert_eq!((failed.state, failed.content), (MessageState::Failed, None));
        assert_eq!(failed.last_failure.as_deref(), Some("refused"));
    }

    #[test]
    fn ids_and_states_are_read_back_and_nothing_else() {
        let id = MessageId::from(ChallengeId::from_entropy([0xab; 16]));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<MessageId>().is_err());
        for state in MessageState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("lost".parse::<MessageState>(), Err(UnknownMessageState));
    }
}
