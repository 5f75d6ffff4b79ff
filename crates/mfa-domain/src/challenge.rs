//! Challenges: sent codes and other prompts that are open for minutes.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::account::{Claim, Factor};
use crate::identity::InvalidId;
use crate::signing::Nonce;
use crate::{AccountKey, Caller, FactorId, TenantId, Timestamp, UserId};

mod code_digest;
mod open;

pub(crate) use code_digest::{CodeDigest, KeptSecret};
pub(crate) use open::{OpenChallenge, Step};

/// The first step of an authentication or enrolment, which waits for its answer: a sent code, a `WebAuthn` ceremony,
/// a push prompt.
///
/// Only its [`Progress`] changes after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The id, unique for all time.
    pub id: ChallengeId,
    /// The tenant.
    pub tenant: TenantId,
    /// The user who may answer it. `None` if the answer identifies the user, as with a passkey.
    pub user: Option<UserId>,
    /// The factor that must answer it. `None` if any factor of that kind of the user may, as with several passkeys.
    pub factor: Option<FactorId>,
    /// The kind of answer that is expected.
    pub kind: ChallengeKind,
    /// The only purpose that an answer has.
    pub purpose: Purpose,
    /// The caller who began it. An answer through any other caller is rejected.
    pub caller: Caller,
    /// The host's session that it was begun for. The assertion about its answer carries it.
    pub nonce: Option<Nonce>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The time from which an answer is too late.
    pub expires_at: Timestamp,
    /// The part that changes.
    pub progress: Progress,
}

/// The part of a challenge that changes while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its state.
    pub state: ChallengeState,
    /// The number of wrong answers. Each also counts in the budget of the account, which a new challenge does not
    /// reset.
    pub failures: u32,
    /// The data that its kind needs.
    pub data: ChallengeData,
}

/// The opaque id of one challenge: 128 random bits, unique, never reused. It identifies a challenge and grants
/// nothing.
///
/// ```
/// use mfa_domain::ChallengeId;
/// let id = ChallengeId::from_entropy([0xa5; 16]);
/// assert_eq!(id.to_string(), "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChallengeId([u8; Self::LENGTH]);

/// The kind of answer that a challenge expects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// A code that was sent by e-mail.
    EmailCode,
    /// A code that was sent by SMS.
    SmsCode,
    /// A prompt on a device of the user, to approve or deny.
    Push,
    /// The registration ceremony of a new credential (Web Authentication, 7.1).
    WebauthnRegistration,
    /// The authentication ceremony with a credential (Web Authentication, 7.2).
    WebauthnAuthentication,
    /// A kind that a newer version wrote and this version does not know. It cannot be answered.
    Other(String),
}

/// The purpose of an answer to a challenge. An unknown name is an error, so that an answer never counts for anything
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To log in, or to verify again.
    Verify,
    /// To confirm the factor that is being enrolled.
    Enrol,
    /// To authorise one change of the account.
    Change,
    /// To recover an account without its factors.
    Recover,
}

/// The state of a challenge. An unknown name is an error, so that it is never taken for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeState {
    /// There is no answer yet.
    Open,
    /// The user approved on the prompted device.
    Approved,
    /// The user denied on the prompted device.
    Denied,
    /// It was answered or cancelled, or failed too often, and cannot be answered any more.
    Over,
}

/// The data of one challenge, as its kind needs them: the hash of a code, the state of a ceremony.
///
/// 0 to 65,536 bytes, opaque to stores. Seal any secret before you put it here; a hash is enough only if the secret
/// cannot be guessed. A code of six digits can be guessed from its hash in an instant. `Debug` shows nothing of the
/// data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChallengeData(Vec<u8>);

impl Challenge {
    /// The account of the user, if known.
    #[must_use]
    pub fn account(&self) -> Option<AccountKey> {
        self.user.clone().map(|user| AccountKey::new(self.tenant.clone(), user))
    }

    /// The account and factor that must answer, if it is one factor.
    pub(crate) fn whose(&self) -> Option<(AccountKey, FactorId)> {
        self.account().zip(self.factor)
    }

    /// Whether this factor of this account may answer it for `purpose`.
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
    /// The progress of a new challenge.
    #[must_use]
    pub const fn new(data: ChallengeData) -> Self {
        Self { state: ChallengeState::Open, failures: 0, data }
    }
}

impl ChallengeId {
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

impl FromStr for ChallengeId {
    type Err = InvalidId;

    /// Parses the form of `Display`, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidId { what: "challenge", rule: "32 lower-case hexadecimal digits" })
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

/// All known kinds and their names.
const KINDS: [(ChallengeKind, &str); 5] = [
    (ChallengeKind::EmailCode, "email_code"),
    (ChallengeKind::SmsCode, "sms_code"),
    (ChallengeKind::Push, "push"),
    (ChallengeKind::WebauthnRegistration, "webauthn_registration"),
    (ChallengeKind::WebauthnAuthentication, "webauthn_authentication"),
];

impl ChallengeKind {
    /// The stable name in stores and the API.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => KINDS.iter().find(|(kind, _)| kind == known).map_or("", |(_, name)| name),
        }
    }

    /// Whether its answer is short enough to be guessed. Unknown kinds count as such.
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

    /// The kind with this name; [`ChallengeKind::Other`] if unknown.
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
    /// All purposes.
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
    /// All states.
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
    /// The most bytes of one challenge: enough for the state of a ceremony with every passkey that a user may have.
    pub const MAX_LENGTH: usize = 65_536;

    /// Wraps the data of a challenge.
    ///
    /// # Errors
    /// [`TooMuchData`] if they are longer than [`MAX_LENGTH`](Self::MAX_LENGTH).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooMuchData> {
        let bytes = bytes.into();
        if bytes.len() <= Self::MAX_LENGTH { Ok(Self(bytes)) } else { Err(TooMuchData) }
    }

    /// The unchanged bytes.
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

/// The name is not a challenge state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a challenge state; it must be open, approved, denied or over")]
pub struct UnknownState;

/// The name is not a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a challenge purpose; it must be verify, enrol, change or recover")]
pub struct UnknownPurpose;

/// The data are too long for a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the data of a challenge must have at most 65536 bytes")]
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
            nonce: None,
            created_at: Timestamp::default(),
            expires_at: Timestamp::from_unix_millis(1000),
            progress: Progress::new(ChallengeData::default()),
        };
        assert!(!challenge.is_expired(Timestamp::from_unix_millis(999)));
        assert!(challenge.is_expired(Timestamp::from_unix_millis(1000)));
    }
}
