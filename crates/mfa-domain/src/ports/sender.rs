//! Sending one message to one address.

use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error;

use crate::{AccountKey, Address, ChallengeId, FactorKind, Purpose, SentCode, Timestamp};

/// A code on its way to its owner.
#[derive(Debug)]
#[non_exhaustive]
pub struct CodeMessage<'a> {
    /// The kind of factor whose address it is, such as `email`.
    pub kind: &'a FactorKind,
    /// Where it goes.
    pub to: &'a Address,
    /// The code. It MUST NOT be kept or logged.
    pub code: &'a SentCode,
    /// What it is good for.
    pub purpose: Purpose,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub account: &'a AccountKey,
    /// Which challenge it answers.
    pub challenge: ChallengeId,
}

impl<'a> CodeMessage<'a> {
    /// A message, for those who test a [`Sender`].
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
    /// Whether an address is one that a factor of that kind can have. Asked before one is enrolled; it sends nothing, and
    /// waits for nobody.
    ///
    /// # Errors
    /// [`InvalidRecipient`] says what is wrong with it, to whoever enrols it.
    fn check(&self, kind: &FactorKind, to: &Address) -> Result<(), InvalidRecipient> {
        let _ = (kind, to);
        Ok(())
    }

    /// Sends a code.
    ///
    /// MUST NOT answer `Ok` if the message may be lost by then, MUST NOT send it anywhere else, and MUST end what it has
    /// begun though nobody waits for it any more. MUST answer within a minute, so that nobody else has claimed the message
    /// by then; and SHOULD log why it failed, without the code and the address. After an error the code stays good.
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError>;
}

/// An address that nothing can be sent to: what is wrong with it, without the address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidRecipient(pub String);

/// A message that is not known to be sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The address or the message was refused: another try would be, too.
    #[error("the message was refused")]
    Refused(#[source] Source),
    /// It was not sent, for a reason that may pass.
    #[error("the message was not sent")]
    NotSent(#[source] Source),
    /// It may have been sent. Whoever tries again may send it twice, so the second has the same code.
    #[error("whether the message was sent is not known")]
    Unknown(#[source] Source),
}

/// An adapter's own error.
type Source = Box<dyn std::error::Error + Send + Sync>;

impl SenderError {
    /// What went wrong, in a word.
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
