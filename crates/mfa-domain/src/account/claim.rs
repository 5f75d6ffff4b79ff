//! What a user submits to authenticate.

use otp_core::Code;

use crate::{BackupCode, ChallengeKind, SentCode, SubmittedCode};

/// What a user submits to authenticate.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Claim<'a> {
    /// A one-time password of an authenticator.
    OneTimePassword(&'a Code),
    /// A sent code that is longer than the codes of authenticators.
    SentCode(&'a SentCode),
    /// A backup code.
    BackupCode(&'a BackupCode),
    /// An answer to a challenge of this kind.
    Response(&'a ChallengeKind),
}

impl Claim<'_> {
    /// Whether it can be guessed, so that a lock stops it. An answer that cannot be guessed, such as a signature of a
    /// device, is evaluated while an account is locked: otherwise strangers could lock the owner out.
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
