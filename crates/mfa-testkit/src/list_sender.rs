//! A sender whose messages a test can read.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use mfa_domain::ports::{CodeMessage, Sender, SenderError};
use mfa_domain::{AccountKey, ChallengeId, FactorKind, Purpose, Timestamp};

/// A sender that keeps its messages in a list, oldest first.
///
/// `Debug` shows only their number.
#[derive(Default)]
pub struct ListSender {
    sent: Mutex<Vec<SentMessage>>,
    failure: Mutex<Option<SendFailure>>,
}

/// The ways in which a [`ListSender`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// It sends nothing and refuses the message for good.
    Refused,
    /// It sends nothing, for a temporary reason.
    NotSent,
    /// It sends the message but reports that the result is unknown.
    Unknown,
}

/// A message of a [`ListSender`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The kind of factor with the recipient's address.
    pub kind: FactorKind,
    /// The recipient's address.
    pub to: String,
    /// The code.
    pub code: String,
    /// The purpose of the code.
    pub purpose: Purpose,
    /// The expiry of the code.
    pub expires_at: Timestamp,
    /// The account of the recipient.
    pub account: AccountKey,
    /// The challenge that the code answers.
    pub challenge: ChallengeId,
}

impl ListSender {
    /// Sets whether sending fails; while it does, nothing is sent.
    pub fn fail(&self, fails: bool) {
        self.fail_with(fails.then_some(SendFailure::NotSent));
    }

    /// Sets how sending fails; `None` ends the failure.
    pub fn fail_with(&self, failure: impl Into<Option<SendFailure>>) {
        *self.failure.lock().unwrap() = failure.into();
    }

    /// All messages sent so far, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<SentMessage> {
        self.sent.lock().unwrap().clone()
    }

    /// The latest message to `account`.
    #[must_use]
    pub fn latest(&self, account: &AccountKey) -> Option<SentMessage> {
        self.sent().into_iter().rev().find(|message| message.account == *account)
    }
}

#[async_trait]
impl Sender for ListSender {
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        let failure = *self.failure.lock().unwrap();
        match failure {
            Some(SendFailure::Refused) => return Err(SenderError::refused("told to refuse")),
            Some(SendFailure::NotSent) => return Err(SenderError::not_sent("told to fail")),
            Some(SendFailure::Unknown) | None => {}
        }
        self.sent.lock().unwrap().push(SentMessage {
            kind: message.kind.clone(),
            to: message.to.expose().to_owned(),
            code: message.code.as_str().to_owned(),
            purpose: message.purpose,
            expires_at: message.expires_at,
            account: message.account.clone(),
            challenge: message.challenge,
        });
        if failure.is_some() { Err(SenderError::unknown("told not to know")) } else { Ok(()) }
    }
}

impl fmt::Debug for ListSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListSender").field("sent", &self.sent.lock().unwrap().len()).finish_non_exhaustive()
    }
}
