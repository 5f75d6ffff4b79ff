//! Messages to send: their states, claims and retries.
//!
//! The rules are pure. A store keeps a [`Message`] in the same commit as its event
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

/// A message to a user. It is kept from the commit that queues it until an hour after its expiry.
///
/// Only its [`Sending`] changes after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id. A new message with the id of another replaces it.
    pub id: MessageId,
    /// The account of the recipient.
    pub account: AccountKey,
    /// The time from which nobody needs the message any more.
    pub expires_at: Timestamp,
    /// The part that changes.
    pub sending: Sending,
}

/// The progress of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The state.
    pub state: MessageState,
    /// When a queued message is due. A claim sets it to the end of the claim.
    pub due_at: Timestamp,
    /// The number of claims.
    pub tries: u32,
    /// How it failed so far, as a name such as `not_sent`: the result of the last try, or `unknown` from the first
    /// try on that may have delivered the message.
    pub last_failure: Option<String>,
    /// Address and text, sealed; `None` once the message is not to be sent any more.
    pub content: Option<Sealed>,
}

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageState {
    /// Not sent yet, as far as is known.
    Queued,
    /// A server accepted it.
    Sent,
    /// It was given up: it was refused or expired, or its code is no longer needed. It may have arrived if the result
    /// of a try is unknown.
    Failed,
}

/// The id of one message: 128 random bits. The message of a code has the id of the challenge that the code answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; Self::LENGTH]);

/// The name is not a message state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a message state; it must be queued, sent or failed")]
pub struct UnknownMessageState;

/// The wait after each failed try: tries follow at 5 seconds, and at 1, 2, 5.5 and 8.5 minutes. Servers that greylist
/// accept a message 5 minutes after the first try by default. A wait that would end too late ends [`LAST_TRY`] before
/// the expiry.
const WAITS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(55),
    Duration::from_mins(1),
    Duration::from_secs(210),
    Duration::from_mins(3),
];

/// How long before the expiry the last try is made: long enough to type a code that arrives at once.
const LAST_TRY: Duration = Duration::from_secs(10);

/// The name of a failure after which the message may have arrived: that of
/// [`SenderError::Unknown`](crate::ports::SenderError::Unknown).
const UNKNOWN: &str = "unknown";

impl Message {
    /// How long a claim lasts; longer than a try to send.
    pub const CLAIM: Duration = Duration::from_mins(2);

    /// How long a message is kept after its expiry, so that its result can be queried.
    pub const KEPT: Duration = Duration::from_hours(1);

    /// A message that is due at once.
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

    /// Whether the message has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// The sending state after a failed try, with the time of the next try; `None` if that was the last one.
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
    /// The state after a claim until this time.
    #[must_use]
    pub fn claimed(&self, until: Timestamp) -> Self {
        Self { due_at: until, tries: self.tries.saturating_add(1), ..self.clone() }
    }

    /// The state after a server accepted the message.
    #[must_use]
    pub fn sent(&self) -> Self {
        Self { state: MessageState::Sent, last_failure: None, content: None, ..self.clone() }
    }

    /// The state after the message was given up.
    #[must_use]
    pub fn failed(&self, how: &str) -> Self {
        let last_failure = Some(self.failure(how).to_owned());
        Self { state: MessageState::Failed, last_failure, content: None, ..self.clone() }
    }

    /// The result of all tries together, when the current one failed with `how`.
    ///
    /// Once the message may have arrived, the result stays `unknown`. That includes an earlier claim whose result was
    /// never recorded. Exception: a try that was cut off by a crash after a failed one does not count.
    fn failure<'a>(&self, how: &'a str) -> &'a str {
        let before = self.last_failure.as_deref();
        let may_have_arrived = self.tries > 1 && before.is_none_or(|before| before == UNKNOWN);
        if may_have_arrived { UNKNOWN } else { how }
    }
}

impl MessageId {
    /// Random bytes in an id.
    pub const LENGTH: usize = 16;

    /// Makes an id of 16 fresh random bytes.
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

    /// Parses the form of `Display`, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidId { what: "message", rule: "32 lower-case hexadecimal digits" })
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
    /// All states.
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
