//! Sending one message to one address.

use std::fmt::Debug;

use async_trait::async_trait;
use otp_core::Code;

use super::port_error;
use crate::{AccountKey, Address, ChallengeId, FactorKind, Purpose, Timestamp};

/// A code on its way to its owner.
#[derive(Debug)]
#[non_exhaustive]
pub struct CodeMessage<'a> {
    /// The kind of factor whose address it is, such as `email`.
    pub kind: &'a FactorKind,
    /// Where it goes.
    pub to: &'a Address,
    /// The code. It MUST NOT be kept or logged.
    pub code: &'a Code,
    /// What it is good for.
    pub purpose: Purpose,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub account: &'a AccountKey,
    /// Which challenge it answers.
    pub challenge: ChallengeId,
}

/// Sends one message to one address.
#[async_trait]
pub trait Sender: Debug + Send + Sync + 'static {
    /// Sends a code, or queues it where it outlives the process.
    ///
    /// MUST NOT answer `Ok` if the message may be lost by then, and MUST NOT send it anywhere else. After an error it is
    /// unknown whether it was sent, and its code stays good.
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError>;
}

port_error! {
    /// A message could not be sent.
    SenderError, "the message could not be sent"
}
