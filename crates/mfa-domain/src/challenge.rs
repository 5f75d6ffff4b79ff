//! Challenges: what was sent to a user or asked of their device, and is open for minutes.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::account::{Claim, Factor};
use crate::identity::InvalidId;
use crate::{AccountKey, Caller, FactorId, TenantId, Timestamp, UserId};

mod code_digest;
mod open;

pub(crate) use code_digest::{CodeDigest, KeptCode};
pub(crate) use open::{OpenChallenge, Step};

/// One first step of an authentication or enrolment that waits for its second: a code that was sent, a
/// `WebAuthn` ceremony, a push prompt.
///
/// What it is for stays as it was made; what becomes of it is its [`Progress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Its id, unique for all time.
    pub id: ChallengeId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Whose challenge it is: nobody else may answer it. `None` where the answer will say who it is, as with a
    /// passkey that names its user.
    pub user: Option<UserId>,
    /// Which factor answers it; `None` if any of the user's of that kind may, as with several passkeys.
    pub factor: Option<FactorId>,
    /// What kind of answer it waits for.
    pub kind: ChallengeKind,
    /// What the answer is good for, and nothing else.
    pub purpose: Purpose,
    /// Who began it. An answer that comes through anybody else is to another challenge.
    pub caller: Caller,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is too late for an answer.
    pub expires_at: Timestamp,
    /// What became of it so far.
    pub progress: Progress,
}

/// What may change in a challenge while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the user said so far.
    pub state: ChallengeState,
    /// How many wrong answers it got. They count in the account's own budget too, which a new challenge
    /// does not set back.
    pub failures: u32,
    /// What its kind needs to know.
    pub data: ChallengeData,
}

/// The opaque id of one challenge: 128 random bits, unique, never used again. It names a challenge and
/// opens nothing.
///
/// ```
/// use mfa_domain::ChallengeId;
/// let id = ChallengeId::from_entropy([0xa5; 16]);
/// assert_eq!(id.to_string(), "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChallengeId([u8; Self::LENGTH]);

/// What kind of answer a challenge waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// A code that was sent by e-mail.
    EmailCode,
    /// A code that was sent by SMS.
    SmsCode,
    /// A prompt on a device of the user, to approve or to deny.
    Push,
    /// The registration ceremony of a new credential (Web Authentication, 7.1).
    WebauthnRegistration,
    /// The authentication ceremony with a credential (Web Authentication, 7.2).
    WebauthnAuthentication,
    /// A kind that this version does not know, as a newer one wrote it. It cannot be answered here.
    Other(String),
}

/// What an answer to a challenge is good for. A name that a version does not know is an error to it, so that
/// an answer never counts for what it was not given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To log in, or to prove oneself once more.
    Verify,
    /// To confirm the factor that is being bound.
    Enrol,
    /// To authorise one change of the account.
    Change,
    /// To regain an account without its factors.
    Recover,
}

/// How far a challenge is. A name that a version does not know is an error to it, so that
/// nothing is taken for approval that it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeState {
    /// Nothing yet.
    Open,
    /// Yes, on the device that was prompted.
    Approved,
    /// No, on the device that was prompted.
    Denied,
    /// It was answered, cancelled, or guessed at too often, and can be answered no more.
    Over,
}

/// What a kind of challenge needs to know of each: the hash of a code, the state of a ceremony.
///
/// 0 to 65,536 bytes, opaque to stores. Whoever puts secrets here seals them, or hashes them if they
/// cannot be guessed; a code of six digits can, in a blink. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChallengeData(Vec<u8>);

impl Challenge {
    /// Whose challenge it is, if that is known.
    #[must_use]
    pub fn account(&self) -> Option<AccountKey> {
        self.user.clone().map(|user| AccountKey::new(self.tenant.clone(), user))
    }

    /// Whose answer it waits for, if that is one factor.
    pub(crate) fn whose(&self) -> Option<(AccountKey, FactorId)> {
        self.account().zip(self.factor)
    }

    /// Whether an answer by that factor of that account is good for `purpose` and fits what is asked.
    pub(crate) fn is_for(&self, account: &AccountKey, factor: &Factor, purpose: Purpose) -> bool {
        self.tenant == account.tenant
            && self.user.as_ref() == Some(&account.user)
            && self.factor == Some(factor.id)
            && self.purpose == purpose
            && factor.takes(&Claim::Response(&self.kind))
    }

    /// Whether it is too late for an answer.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

impl Progress {
    /// Of a challenge that was just made.
    #[must_use]
    pub const fn new(data: ChallengeData) -> Self {
        Self { state: ChallengeState::Open, failures: 0, data }
    }
}

impl ChallengeId {
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

impl FromStr for ChallengeId {
    type Err = InvalidId;

    /// Reads what `Display` printed, and only that form.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidId { what: "challenge", rule: "as it was given out" })
    }
}

impl fmt::Display for ChallengeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ChallengeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChallengeId({self})")
    }
}

/// The kinds and their names, in one place.
const KINDS: [(ChallengeKind, &str); 5] = [
    (ChallengeKind::EmailCode, "email_code"),
    (ChallengeKind::SmsCode, "sms_code"),
    (ChallengeKind::Push, "push"),
    (ChallengeKind::WebauthnRegistration, "webauthn_registration"),
    (ChallengeKind::WebauthnAuthentication, "webauthn_authentication"),
];

impl ChallengeKind {
    /// The stable name, as stores keep it and the API shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => KINDS.iter().find(|(kind, _)| kind == known).map_or("", |(_, name)| name),
        }
    }

    /// Whether its answer is short enough to be guessed. One that this version does not know may be.
    #[must_use]
    pub const fn is_guessable(&self) -> bool {
        match self {
            Self::EmailCode | Self::SmsCode | Self::Other(_) => true,
            Self::Push | Self::WebauthnRegistration | Self::WebauthnAuthentication => false,
        }
    }

    /// The name of the kind of factor that answers it.
    #[must_use]
    pub fn factor_kind(&self) -> &str {
        match self {
            Self::EmailCode => "email",
            Self::SmsCode => "sms",
            Self::WebauthnRegistration | Self::WebauthnAuthentication => "passkey",
            Self::Push | Self::Other(_) => self.as_str(),
        }
    }

    /// Whether a code is sent for it.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        matches!(self, Self::EmailCode | Self::SmsCode)
    }

    /// The kind of that name; [`ChallengeKind::Other`] if this version knows none.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let known = KINDS.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Other(name.to_owned()), |(kind, _)| kind.clone())
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Verify, Self::Enrol, Self::Change, Self::Recover];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Enrol => "enrol",
            Self::Change => "change",
            Self::Recover => "recover",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(name: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name).ok_or(UnknownPurpose)
    }
}

impl ChallengeState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Approved, Self::Denied, Self::Over];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Over => "over",
        }
    }
}

impl fmt::Display for ChallengeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChallengeState {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or(UnknownState)
    }
}

impl ChallengeData {
    /// The most that a challenge may hold, in bytes: the state of a ceremony with every passkey that a
    /// user may have.
    pub const MAX_LENGTH: usize = 65_536;

    /// Takes what a kind needs.
    ///
    /// # Errors
    /// [`TooMuchData`] if it is longer than [`MAX_LENGTH`](Self::MAX_LENGTH).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooMuchData> {
        let bytes = bytes.into();
        if bytes.len() <= Self::MAX_LENGTH { Ok(Self(bytes)) } else { Err(TooMuchData) }
    }

    /// The bytes as they were given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ChallengeData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeData(..)")
    }
}

/// A name that is no state of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a state of a challenge; it must be open, approved, denied or over")]
pub struct UnknownState;

/// A name that is no purpose of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a purpose of a challenge; it must be verify, enrol, change or recover")]
pub struct UnknownPurpose;

/// More than a challenge may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a challenge holds at most 65536 bytes")]
pub struct TooMuchData;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_only_in_the_form_given_out() {
        let id = ChallengeId::from_entropy([0xab; 16]);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        let longer = format!("{text}ab");
        let padded = format!(" {text}");
        for other in ["", &text[2..], &text[1..], &longer, &padded, &text.to_uppercase(), &"x".repeat(32)] {
            assert!(other.parse::<ChallengeId>().is_err(), "{other}");
        }
    }

    #[test]
    fn kinds_and_states_are_read_back_by_name() {
        for (kind, name) in KINDS {
            assert_eq!(ChallengeKind::from_name(name), kind);
            assert_eq!(kind.as_str(), name);
        }
        assert_eq!(ChallengeKind::from_name("new_in_2").as_str(), "new_in_2");
        for state in ChallengeState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("approved_in_2".parse::<ChallengeState>(), Err(UnknownState));
        for purpose in Purpose::ALL {
            assert_eq!(purpose.as_str().parse(), Ok(purpose));
        }
        assert_eq!("verify_in_2".parse::<Purpose>(), Err(UnknownPurpose));
    }

    #[test]
    fn data_is_bounded_and_never_shown() {
        let most = ChallengeData::new(vec![b'7'; ChallengeData::MAX_LENGTH]).unwrap();
        assert_eq!(ChallengeData::new(vec![0; ChallengeData::MAX_LENGTH + 1]), Err(TooMuchData));
        let shown = format!("{:?}", Progress::new(most));
        assert!(!shown.contains('7') && !shown.contains("55"), "{shown}");
    }

    #[test]
    fn the_last_moment_is_too_late() {
        let challenge = Challenge {
            id: ChallengeId::from_entropy([0; 16]),
            tenant: TenantId::new("acme").unwrap(),
            user: UserId::new("alice").ok(),
            factor: None,
            kind: ChallengeKind::Push,
            purpose: Purpose::Verify,
            caller: Caller::new("shop"),
            created_at: Timestamp::default(),
            expires_at: Timestamp::from_unix_millis(1000),
            progress: Progress::new(ChallengeData::default()),
        };
        assert!(!challenge.is_expired(Timestamp::from_unix_millis(999)));
        assert!(challenge.is_expired(Timestamp::from_unix_millis(1000)));
    }
}
