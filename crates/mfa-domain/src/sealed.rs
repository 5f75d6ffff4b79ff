//! Sealed secrets: encrypted, and bound to their place in the store.

use std::fmt;

use crate::account::CallId;
use crate::signing::Nonce;
use crate::{AccountKey, Challenge, FactorId, FactorKind, MessageId, UserId};

/// An encrypted secret, and the id of the key that opens it.
///
/// Made by [`Vault::seal`](crate::ports::Vault::seal); `bytes` is the vault's own format.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key of the ring that opens it.
    pub key: KeyId,
    /// Nonce, ciphertext and tag, in the vault's layout.
    pub bytes: Vec<u8>,
}

/// The id of an encryption key. It reveals nothing about the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

/// The place of a sealed value. A vault MUST bind it as associated data, so that a ciphertext that was moved to
/// another place does not open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SealContext<'a> {
    /// The secret of a factor.
    Factor {
        /// The account of the factor.
        account: &'a AccountKey,
        /// The factor.
        factor: FactorId,
        /// The kind of the factor.
        kind: &'a FactorKind,
    },
    /// The kept answer to a repeatable call.
    Answer {
        /// The account that the call is about.
        account: &'a AccountKey,
        /// The call.
        call: CallId,
    },
    /// The data of a challenge, such as the digest of a sent code. The context contains everything the challenge is
    /// bound to, but not its progress and its time of creation.
    Challenge(&'a Challenge),
    /// Address and text of a message.
    Message {
        /// The account of the recipient.
        account: &'a AccountKey,
        /// The message.
        id: MessageId,
    },
}

impl SealContext<'_> {
    /// The context as bytes. No two contexts give the same bytes: each begins with its sort, and every part of
    /// variable length is preceded by its length.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        match self {
            Self::Factor { account: AccountKey { tenant, user }, factor, kind } => parts(
                b"mfa secret v1",
                &[
                    tenant.as_str().as_bytes(),
                    user.as_str().as_bytes(),
                    factor.as_bytes(),
                    kind.as_str().as_bytes(),
                ],
            ),
            Self::Answer { account: AccountKey { tenant, user }, call } => {
                parts(b"mfa answer v1", &[tenant.as_str().as_bytes(), user.as_str().as_bytes(), &call.0])
            }
            Self::Message { account: AccountKey { tenant, user }, id } => parts(
                b"mfa message v1",
                &[tenant.as_str().as_bytes(), user.as_str().as_bytes(), id.as_bytes()],
            ),
            Self::Challenge(challenge) => {
                let Challenge { id, tenant, user, factor, kind, purpose, caller, nonce, expires_at, .. } =
                    challenge;
                parts(
                    b"mfa challenge v1",
                    &[
                        tenant.as_str().as_bytes(),
                        id.as_bytes(),
                        // A present value is never empty, so an empty part means `None`.
                        user.as_ref().map_or("", UserId::as_str).as_bytes(),
                        factor.as_ref().map_or(&[], |factor| factor.as_bytes().as_slice()),
                        kind.as_str().as_bytes(),
                        purpose.as_str().as_bytes(),
                        caller.as_str().as_bytes(),
                        nonce.as_ref().map_or("", Nonce::as_str).as_bytes(),
                        &expires_at.unix_millis().to_be_bytes(),
                    ],
                )
            }
        }
    }
}

fn parts(sort: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = sort.to_vec();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl KeyId {
    /// Wraps a key id from the ring or a store.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Caller, ChallengeData, ChallengeId, ChallengeKind, Progress, Purpose, TenantId, Timestamp, UserId,
    };

    #[test]
    fn moving_a_character_from_tenant_to_user_changes_the_associated_data() {
        let data = |tenant: &str, user: &str| {
            let account = AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
            let factor = FactorId::fresh(Timestamp::default(), &[0; 10]);
            let secret = SealContext::Factor { account: &account, factor, kind: &FactorKind::Totp };
            let answer = SealContext::Answer { account: &account, call: CallId([0; 32]) };
            let message = SealContext::Message { account: &account, id: MessageId::from_entropy([0; 16]) };
            [secret, answer, message].map(|context| context.associated_data())
        };
        let (all, others) = (data("ab", "c"), data("a", "bc"));
        let all: Vec<_> = all.iter().chain(&others).collect();
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one), "{place}");
        }
    }

    #[test]
    fn whatever_a_challenge_is_bound_to_is_in_its_associated_data() {
        let one = Challenge {
            id: ChallengeId::from_entropy([7; 16]),
            tenant: TenantId::new("acme").unwrap(),
            user: UserId::new("alice").ok(),
            factor: Some(FactorId::fresh(Timestamp::default(), &[1; 10])),
            kind: ChallengeKind::EmailCode,
            purpose: Purpose::Enrol,
            caller: Caller::new("shop"),
            nonce: "n".parse().ok(),
            created_at: Timestamp::default(),
            expires_at: Timestamp::from_unix_seconds(600),
            progress: Progress::new(ChallengeData::default()),
        };
        let changes: [fn(&mut Challenge); 12] = [
            |_| (),
            |other| other.id = ChallengeId::from_entropy([8; 16]),
            |other| other.tenant = TenantId::new("other").unwrap(),
            |other| other.user = UserId::new("bob").ok(),
            |other| other.user = None,
            |other| other.factor = Some(FactorId::fresh(Timestamp::default(), &[2; 10])),
            |other| other.kind = ChallengeKind::SmsCode,
            |other| other.purpose = Purpose::Verify,
            |other| other.caller = Caller::new("forum"),
            |other| other.nonce = "m".parse().ok(),
            |other| other.nonce = None,
            |other| other.expires_at = Timestamp::from_unix_seconds(601),
        ];
        let bound: Vec<_> = changes
            .iter()
            .map(|change| {
                let mut other = one.clone();
                change(&mut other);
                SealContext::Challenge(&other).associated_data()
            })
            .collect();
        for (place, data) in bound.iter().enumerate() {
            assert!(!bound[place + 1..].contains(data), "{place}");
        }
    }
}
