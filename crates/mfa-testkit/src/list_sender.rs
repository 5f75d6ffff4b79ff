//! A sender whose messages a test reads.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use mfa_domain::ports::{CodeMessage, Sender, SenderError};
use mfa_domain::{AccountKey, ChallengeId, FactorKind, Purpose, Timestamp};

/// Keeps what it is to send in a list, from the first message to the last.
///
/// `Debug` shows how many there are, and nothing of them.
#[derive(Default)]
pub struct ListSender {
    sent: Mutex<Vec<SentMessage>>,
    failure: Mutex<Option<SendFailure>>,
}

/// How a [`ListSender`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// It refuses, and sends nothing.
    Refused,
    /// It sends nothing, for a reason that may pass.
    NotSent,
    /// It sends, and does not know it.
    Unknown,
}

/// A message of a [`ListSender`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The kind of factor whose address it went to.
    pub kind: FactorKind,
    /// Where it went.
    pub to: String,
    /// The code.
    pub code: String,
    /// What it is good for.
    pub purpose: Purpose,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub account: AccountKey,
    /// Which challenge it answers.
    pub challenge: ChallengeId,
}

impl ListSender {
    /// Sends nothing and fails from now on, or works again.
    pub fn fail(&self, fails: bool) {
        self.fail_with(fails.then_some(SendFailure::NotSent));
    }

    /// Fails in that way from now on, or works again.
    pub fn fail_with(&self, failure: impl Into<Option<SendFailure>>) {
        *self.failure.lock().unwrap() = failure.into();
    }

    /// What was sent so far, the latest last.
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
