//! What somebody shows to prove themselves.

use otp_core::Code;

use crate::{BackupCode, ChallengeKind, SentCode, SubmittedCode};

/// What somebody shows to prove themselves.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Claim<'a> {
    /// A code of an authenticator.
    OneTimePassword(&'a Code),
    /// A code that can only have been sent: it is longer than those of authenticators.
    SentCode(&'a SentCode),
    /// One of the backup codes.
    BackupCode(&'a BackupCode),
    /// An answer to a challenge of that kind.
    Response(&'a ChallengeKind),
}

impl Claim<'_> {
    /// Whether a stranger could come by it by trying, so that a lock stops it. What cannot be guessed, as a signature of
    /// a device, is looked at while an account is locked: else strangers could keep its owner out.
    #[must_use]
    pub const fn can_be_guessed(&self) -> bool {
        match self {
            Self::OneTimePassword(_) | Self::SentCode(_) | Self::BackupCode(_) => true,
            Self::Response(kind) => kind.is_guessable(),
        }
    }
}

impl<'a> From<&'a SubmittedCode> for Claim<'a> {
    fn from(code: &'a SubmittedCode) -> Self {
        match code {
            SubmittedCode::OneTimePassword(code) => Self::OneTimePassword(code),
            SubmittedCode::Sent(code) => Self::SentCode(code),
            SubmittedCode::Backup(code) => Self::BackupCode(code),
        }
    }
}
