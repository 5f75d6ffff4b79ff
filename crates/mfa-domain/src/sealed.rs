//! Secrets as they are stored: encrypted, and bound to the place they belong to.

use std::fmt;

use crate::account::CallId;
use crate::{AccountKey, ChallengeId, FactorId, FactorKind, TenantId};

/// An encrypted secret, and the name of the key that opens it.
///
/// Made by [`Vault::seal`](crate::ports::Vault::seal); `bytes` is the vault's own format.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key of the ring opens it.
    pub key: KeyId,
    /// Nonce, ciphertext and tag, as the vault lays them out.
    pub bytes: Vec<u8>,
}

/// The name of an encryption key. It says nothing about the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

/// Where something sealed belongs. A vault MUST bind it as associated data, so that a ciphertext that was
/// moved to another place does not open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SealContext<'a> {
    /// The secret of a factor.
    Factor {
        /// Whose secret.
        account: &'a AccountKey,
        /// Of which factor.
        factor: FactorId,
        /// Of which kind.
        kind: &'a FactorKind,
    },
    /// The answer to a call that may be sent again.
    Answer {
        /// Whose account it is about.
        account: &'a AccountKey,
        /// To which call.
        call: CallId,
    },
    /// What a challenge holds, such as the digest of the code that was sent.
    Challenge {
        /// Of which tenant.
        tenant: &'a TenantId,
        /// Which challenge.
        challenge: ChallengeId,
    },
}

impl SealContext<'_> {
    /// The context as bytes: no two contexts give the same ones, since each begins with its sort, and every
    /// part that can vary in length is preceded by its length.
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
            Self::Challenge { tenant, challenge } => {
                parts(b"mfa challenge v1", &[tenant.as_str().as_bytes(), challenge.as_bytes()])
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
    /// Takes a key's name as the ring or a store gives it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name as text.
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
    use crate::{Timestamp, UserId};

    #[test]
    fn moving_a_character_from_tenant_to_user_changes_the_associated_data() {
        let data = |tenant: &str, user: &str| {
            let account = AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
            let factor = FactorId::fresh(Timestamp::default(), &[0; 10]);
            let secret = SealContext::Factor { account: &account, factor, kind: &FactorKind::Totp };
            let answer = SealContext::Answer { account: &account, call: CallId([0; 32]) };
            let challenge = ChallengeId::from_entropy([7; 16]);
            let code = SealContext::Challenge { tenant: &account.tenant, challenge };
            [secret, answer, code].map(|context| context.associated_data())
        };
        let (all, others) = (data("ab", "c"), data("a", "bc"));
        let all: Vec<_> = all.iter().chain(&others).collect();
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one), "{place}");
        }
    }
}
