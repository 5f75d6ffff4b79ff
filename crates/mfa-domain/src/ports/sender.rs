//! Sending one message to one address.

use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error;

use crate::{AccountKey, Address, ChallengeId, FactorKind, Purpose, SentCode, Timestamp};

/// A code to send, and its recipient.
#[derive(Debug)]
#[non_exhaustive]
pub struct CodeMessage<'a> {
    /// The kind of the factor, such as `email`.
    pub kind: &'a FactorKind,
    /// The address to send it to.
    pub to: &'a Address,
    /// The code. MUST NOT be stored or logged.
    pub code: &'a SentCode,
    /// The purpose of the code.
    pub purpose: Purpose,
    /// When the code expires.
    pub expires_at: Timestamp,
    /// The account of the recipient.
    pub account: &'a AccountKey,
    /// The challenge that the code answers.
    pub challenge: ChallengeId,
}

impl<'a> CodeMessage<'a> {
    /// Makes a message, for tests of a [`Sender`].
    #[must_use]
    pub fn new(
        kind: &'a FactorKind,
        to: &'a Address,
        code: &'a SentCode,
        purpose: Purpose,
        expires_at: Timestamp,
        account: &'a AccountKey,
        challenge: ChallengeId,
    ) -> Self {
        Self { kind, to, code, purpose, expires_at, account, challenge }
    }
}

/// Sends one message to one address.
#[async_trait]
pub trait Sender: Debug + Send + Sync + 'static {
    /// Checks whether a factor of this kind can have this address. Called before enrolment. MUST NOT send anything or
    /// block.
    ///
    /// # Errors
    /// [`InvalidRecipient`] with the reason, which is shown to the caller who enrols the address.
    fn check(&self, kind: &FactorKind, to: &Address) -> Result<(), InvalidRecipient> {
        let _ = (kind, to);
        Ok(())
    }

    /// Sends a code.
    ///
    /// - MUST NOT return `Ok` while the message may still be lost.
    /// - MUST NOT send the message to any other address.
    /// - MUST finish what it has begun even if its future is dropped.
    /// - MUST return within a minute, before another process can claim the message.
    /// - SHOULD log why it failed, without the code and the address.
    ///
    /// After an error the code stays good.
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError>;
}

/// Why nothing can be sent to an address; does not contain the address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidRecipient(pub String);

/// A message that is not known to be sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The server refused the address or the message; retrying does not help.
    #[error("the message was refused")]
    Refused(#[source] Source),
    /// The message was not sent; retrying may help.
    #[error("the message was not sent")]
    NotSent(#[source] Source),
    /// The message may have been sent. A retry may send it twice, so it has the same code.
    #[error("it is not known whether the message was sent")]
    Unknown(#[source] Source),
}

/// An adapter's own error.
type Source = Box<dyn std::error::Error + Send + Sync>;

impl SenderError {
    /// The kind of failure as a stable name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Wraps an adapter's own error as [`Refused`](Self::Refused).
    pub fn refused(source: impl Into<Source>) -> Self {
        Self::Refused(source.into())
    }

    /// Wraps an adapter's own error as [`NotSent`](Self::NotSent).
    pub fn not_sent(source: impl Into<Source>) -> Self {
        Self::NotSent(source.into())
    }

    /// Wraps an adapter's own error as [`Unknown`](Self::Unknown).
    pub fn unknown(source: impl Into<Source>) -> Self {
        Self::Unknown(source.into())
    }
}
