//! Factors: the authenticators of a user.

use otp_core::{Code, Digits, Secret, Token};

use super::Claim;
use crate::policy::VerificationPolicy;
use crate::{ChallengeKind, Data, FactorId, Handle, Label, Passkey, Sealed, Timestamp};

mod address;
mod document;
mod hotp;
mod passkey;
mod signing_key;
mod stored;
mod totp;

pub use address::AddressDevice;
pub use hotp::HotpDevice;
pub use passkey::{PasskeyDevice, PasskeyOffer};
pub use signing_key::SigningKeyDevice;
pub use stored::{StoredFactor, UnreadableFactor};
pub use totp::{Drift, TotpDevice};

/// One authenticator of a user, such as a phone or a hardware token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The id, unique for all time.
    pub id: FactorId,
    /// The user's name for the factor.
    pub label: Label,
    /// Whether it is pending, active or removed.
    pub state: FactorState,
    /// When its enrolment began.
    pub created_at: Timestamp,
    /// When it was last used, including its confirmation.
    pub last_used_at: Option<Timestamp>,
    /// Its sealed secret, if it has one.
    pub sealed: Option<Sealed>,
    /// Its kind, parameters and progress.
    pub authenticator: Authenticator,
}

/// The state of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorState {
    /// It waits for its first code and protects nothing yet.
    Pending {
        /// When it expires.
        expires_at: Timestamp,
        /// The factor that is removed when this one is confirmed.
        replaces: Option<FactorId>,
    },
    /// It was confirmed by a first code, or imported.
    Active,
    /// It was removed after it had accepted codes. It is not shown and accepts nothing. It is kept so that its used
    /// codes are not accepted again if its secret is enrolled again.
    Removed,
}

/// Kind, parameters and progress of a factor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authenticator {
    /// A time-based one-time password device (RFC 6238).
    Totp(TotpDevice),
    /// A counter-based one-time password device (RFC 4226).
    Hotp(HotpDevice),
    /// An e-mail address that codes are sent to.
    Email(AddressDevice),
    /// A passkey or security key (Web Authentication Level 3).
    Passkey(PasskeyDevice),
    /// A signing key. Only the account of the installation has them.
    SigningKey(SigningKeyDevice),
    /// A kind or version that this version does not know.
    Unknown(UnknownAuthenticator),
}

/// An authenticator that a newer version wrote. It is kept unchanged, listed, counted as a factor, and can be
/// removed, but verifies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAuthenticator {
    pub(crate) kind: FactorKind,
    pub(crate) data: Data,
    pub(crate) handles: Vec<Handle>,
}

/// The kind of a factor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FactorKind {
    /// Time-based one-time passwords (RFC 6238).
    Totp,
    /// Counter-based one-time passwords (RFC 4226).
    Hotp,
    /// Codes sent by e-mail.
    Email,
    /// Passkeys and security keys (Web Authentication Level 3).
    Passkey,
    /// A signing key, which is no factor of a user. Only the account of the installation has them.
    SigningKey,
    /// A kind that this version does not know, by its stable name.
    Unknown(String),
}

impl Factor {
    /// Whether it is active.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.state, FactorState::Active)
    }

    /// Whether it is pending and has not expired.
    #[must_use]
    pub fn is_pending(&self, now: Timestamp) -> bool {
        matches!(self.state, FactorState::Pending { expires_at, .. } if now < expires_at)
    }

    /// Whether it is pending and has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        matches!(self.state, FactorState::Pending { .. }) && !self.is_pending(now)
    }

    /// Whether it was removed.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        matches!(self.state, FactorState::Removed)
    }

    /// Whether it is shown to its owner: active, or pending and not expired.
    #[must_use]
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.is_active() || self.is_pending(now)
    }

    /// The factor that is removed when this one becomes active.
    pub(crate) const fn replaces(&self) -> Option<FactorId> {
        match self.state {
            FactorState::Pending { replaces, .. } => replaces,
            FactorState::Active | FactorState::Removed => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FactorKind {
        match &self.authenticator {
            Authenticator::Totp(_) => FactorKind::Totp,
            Authenticator::Hotp(_) => FactorKind::Hotp,
            Authenticator::Email(_) => FactorKind::Email,
            Authenticator::Passkey(_) => FactorKind::Passkey,
            Authenticator::SigningKey(_) => FactorKind::SigningKey,
            Authenticator::Unknown(unknown) => unknown.kind.clone(),
        }
    }

    /// Algorithm and parameters, with the next counter of an HOTP factor; `None` if it generates no one-time
    /// passwords.
    #[must_use]
    pub const fn token(&self) -> Option<Token> {
        match &self.authenticator {
            Authenticator::Totp(device) => Some(Token::Totp(device.totp)),
            Authenticator::Hotp(HotpDevice { hotp, counter }) => {
                Some(Token::Hotp { hotp: *hotp, counter: *counter })
            }
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// The number of digits of its one-time passwords; `None` if it generates none.
    #[must_use]
    pub const fn digits(&self) -> Option<Digits> {
        match &self.authenticator {
            Authenticator::Totp(device) => Some(device.totp.digits()),
            Authenticator::Hotp(device) => Some(device.hotp.digits()),
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// Whether `claim` has the form of a claim for this factor. Does not evaluate it.
    #[must_use]
    pub fn takes(&self, claim: &Claim<'_>) -> bool {
        match claim {
            Claim::OneTimePassword(code) => self.digits() == Some(code.digits()),
            Claim::SentCode(_) => self.is_sent_codes(),
            Claim::BackupCode(_) => false,
            Claim::Response(kind) => self.challenge_kind().as_ref() == Some(*kind),
        }
    }

    /// The kind of challenge that its owner answers; `None` if it works without challenges.
    #[must_use]
    pub const fn challenge_kind(&self) -> Option<ChallengeKind> {
        match &self.authenticator {
            Authenticator::Email(_) => Some(ChallengeKind::EmailCode),
            Authenticator::Passkey(PasskeyDevice::Offered(_)) => Some(ChallengeKind::WebauthnRegistration),
            Authenticator::Passkey(PasskeyDevice::Registered(_)) => {
                Some(ChallengeKind::WebauthnAuthentication)
            }
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// The address that its codes are sent to; `None` if no codes are sent.
    #[must_use]
    pub const fn address(&self) -> Option<&AddressDevice> {
        match &self.authenticator {
            Authenticator::Email(device) => Some(device),
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// Whether its owner answers challenges by a code that is sent.
    pub(crate) fn is_sent_codes(&self) -> bool {
        self.challenge_kind().is_some_and(|kind| kind.is_sent())
    }

    /// The passkey; `None` if it is none, or not registered yet.
    #[must_use]
    pub fn passkey(&self) -> Option<&Passkey> {
        match &self.authenticator {
            Authenticator::Passkey(device) => device.passkey(),
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::Email(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// What the browser has been asked for; `None` unless it is a passkey that is not registered yet.
    #[must_use]
    pub const fn passkey_offer(&self) -> Option<&PasskeyOffer> {
        match &self.authenticator {
            Authenticator::Passkey(PasskeyDevice::Offered(offer)) => Some(offer),
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::Email(_)
            | Authenticator::Passkey(PasskeyDevice::Registered(_))
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => None,
        }
    }

    /// The handles that lead from this factor to its account.
    #[must_use]
    pub fn handles(&self) -> &[Handle] {
        match &self.authenticator {
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::Email(_)
            | Authenticator::SigningKey(_) => &[],
            Authenticator::Passkey(device) => {
                device.passkey().map_or(&[], |passkey| passkey.credential_id.handles())
            }
            Authenticator::Unknown(unknown) => &unknown.handles,
        }
    }

    /// The factor after it accepted `code`; `None` if it does not.
    #[must_use]
    pub fn accepting(
        &self,
        code: &Code,
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        let authenticator = match &self.authenticator {
            Authenticator::Totp(device) => Authenticator::Totp(device.accepting(code, secret, now, policy)?),
            Authenticator::Hotp(device) => Authenticator::Hotp(device.accepting(code, secret, policy)?),
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => return None,
        };
        Some(Self { authenticator, last_used_at: Some(now), ..self.clone() })
    }

    /// The factor after it was resynchronised by two consecutive codes; `None` if they are not within the range of
    /// the policy. Both codes and all earlier ones are used up: no step or counter ever decreases.
    #[must_use]
    pub fn synchronised(
        &self,
        codes: [&Code; 2],
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        let authenticator = match &self.authenticator {
            Authenticator::Totp(device) => {
                Authenticator::Totp(device.synchronised(codes, secret, now, policy)?)
            }
            Authenticator::Hotp(device) => Authenticator::Hotp(device.synchronised(codes, secret, policy)?),
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => return None,
        };
        Some(Self { authenticator, ..self.clone() })
    }

    /// Whether `code` was right and is used up: of a step up to the last accepted one, in the current window or in
    /// that of the last step; or of one of the last three counters. No such code is ever accepted again.
    #[must_use]
    pub fn has_used(
        &self,
        code: &Code,
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        match &self.authenticator {
            Authenticator::Totp(device) => device.has_used(code, secret, now, policy),
            Authenticator::Hotp(device) => device.has_used(code, secret),
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => false,
        }
    }

    /// Whether two consecutive codes were right and the first of them, or both, are used up: the first is of a step
    /// up to the last accepted one, in the current window or near that of the last step; or of one of the last three
    /// counters. No such pair is ever accepted. The second code alone may still be. A wrong code makes the pair a
    /// guess.
    #[must_use]
    pub fn has_used_pair(
        &self,
        codes: [&Code; 2],
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        match &self.authenticator {
            Authenticator::Totp(device) => device.has_used_pair(codes, secret, now, policy),
            Authenticator::Hotp(device) => device.has_used_pair(codes, secret),
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => false,
        }
    }

    /// Whether it ever accepted a code.
    pub(super) const fn has_used_codes(&self) -> bool {
        match &self.authenticator {
            Authenticator::Totp(device) => device.last_step.is_some(),
            Authenticator::Hotp(device) => device.counter > 0,
            Authenticator::Email(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => false,
        }
    }

    /// Uses up every code that `removed` has used.
    pub(super) fn skip_codes_of(&mut self, removed: &Self) {
        match (&mut self.authenticator, &removed.authenticator) {
            (Authenticator::Totp(device), Authenticator::Totp(used)) => device.skip_codes_of(used),
            (Authenticator::Hotp(device), Authenticator::Hotp(used)) => device.skip_codes_of(used),
            _ => {}
        }
    }
}

impl FactorKind {
    /// The stable name in stores and the API.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::Email => "email",
            Self::Passkey => "passkey",
            Self::SigningKey => "signing_key",
            Self::Unknown(name) => name,
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "totp" => Self::Totp,
            "hotp" => Self::Hotp,
            "email" => Self::Email,
            "passkey" => Self::Passkey,
            "signing_key" => Self::SigningKey,
            _ => Self::Unknown(name.to_owned()),
        }
    }
}
