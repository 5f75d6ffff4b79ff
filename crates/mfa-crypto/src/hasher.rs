//! Hashing of backup codes at rest.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use async_trait::async_trait;
use mfa_domain::BackupCode;
use mfa_domain::account::CodeHash;
use mfa_domain::ports::{CodeHasher, Entropy, EntropyError, HasherError, SystemEntropy};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

mod bounded;
mod scheme;
mod settings;

use bounded::Bounded;
pub use bounded::NotRun;
pub use scheme::InvalidScheme;
use scheme::Scheme;
pub use settings::{Argon2Settings, InvalidSettings};

/// Hashes backup codes with Argon2id (RFC 9106).
///
/// Each evaluation runs on its own thread, never on a thread that drives futures; on Linux with a lower
/// priority. At most [`Argon2Settings::concurrency`] run at a time. Others wait, and the latest caller goes
/// first. A caller that gives up is skipped, and an evaluation that has begun keeps its place until it ends,
/// even if its caller has gone. So no number of callers can use more memory than `concurrency` times
/// `memory_kib`. That memory is wiped and kept for the next evaluation.
pub struct Argon2Hasher {
    settings: Argon2Settings,
    entropy: Arc<dyn Entropy>,
    bounded: Bounded,
    memory: Arc<Memory>,
}

/// Why a code could not be hashed: the source of every [`HasherError`] of this hasher.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HasherFailure {
    /// The settings are invalid.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// No randomness was available for a salt.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The stored scheme was not written by this hasher.
    #[error(transparent)]
    Scheme(#[from] InvalidScheme),
    /// The evaluation did not complete.
    #[error(transparent)]
    NotRun(#[from] NotRun),
    /// Argon2 refused its parameters.
    #[error("Argon2 refused its parameters")]
    Refused,
}

impl Default for Argon2Hasher {
    /// A hasher with the default costs.
    fn default() -> Self {
        Self::new(Argon2Settings::default())
    }
}

impl Argon2Hasher {
    /// A hasher with these costs for new codes. Codes that were hashed with other costs are still checked
    /// with those.
    ///
    /// Call [`Argon2Settings::validate`] first: with invalid settings, [`CodeHasher::scheme`] fails.
    #[must_use]
    pub fn new(settings: Argon2Settings) -> Self {
        let bounded = Bounded::new(settings.concurrency);
        let memory = Arc::new(Memory { spare: Mutex::default(), keep: settings.blocks() });
        Self { settings, entropy: Arc::new(SystemEntropy), bounded, memory }
    }

    /// Replaces the randomness of the operating system.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    fn fresh_scheme(&self) -> Result<Scheme, HasherFailure> {
        self.settings.validate()?;
        let mut salt = [0; Scheme::SALT_LENGTH];
        self.entropy.fill(&mut salt)?;
        let Argon2Settings { memory_kib, iterations, lanes, .. } = self.settings;
        Ok(Scheme { memory_kib, iterations, lanes, salt })
    }

    async fn evaluate(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherFailure> {
        let scheme = Scheme::parse(scheme)?;
        let code = Zeroizing::new(code.expose().to_owned());
        let memory = Arc::clone(&self.memory);
        self.bounded
            .run(move || {
                let mut blocks = memory.take();
                let hash = argon2id(scheme.params()?, &scheme.salt, code.as_bytes(), &mut blocks);
                memory.give_back(blocks);
                Ok(CodeHash(hash?.to_vec()))
            })
            .await?
    }
}

#[async_trait]
impl CodeHasher for Argon2Hasher {
    fn scheme(&self) -> Result<String, HasherError> {
        self.fresh_scheme().map(|scheme| scheme.to_string()).map_err(HasherError::new)
    }

    async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError> {
        self.evaluate(scheme, code).await.map_err(HasherError::new)
    }
}

impl fmt::Debug for Argon2Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argon2Hasher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Bytes of a hash. 128 bits are enough for most uses (RFC 9106, 4), and a code has 80.
const HASH_LENGTH: usize = 16;

/// One evaluation. `blocks` grows as needed and is wiped.
fn argon2id(
    params: Params,
    salt: &[u8],
    code: &[u8],
    blocks: &mut Vec<Block>,
) -> Result<[u8; HASH_LENGTH], HasherFailure> {
    if blocks.len() < params.block_count() {
        blocks.resize(params.block_count(), Block::new());
    }
    let mut hash = [0; HASH_LENGTH];
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        code,
        salt,
        &mut hash,
        blocks.as_mut_slice(),
    );
    blocks.iter_mut().zeroize();
    done.map_err(|_| HasherFailure::Refused)?;
    Ok(hash)
}

/// Memory of finished evaluations, reused by later ones: at most one piece for each concurrent evaluation.
struct Memory {
    spare: Mutex<Vec<Vec<Block>>>,
    /// Kept size in blocks. Larger pieces were for the costs of an earlier configuration, and are freed.
    keep: usize,
}

impl Memory {
    fn take(&self) -> Vec<Block> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, blocks: Vec<Block>) {
        if blocks.len() <= self.keep {
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};
    use data_encoding::HEXLOWER;

    use super::*;

    /// The vector of RFC 9106, 5.3. It uses a secret and associated data, which codes do not have, so it
    /// tests the primitive.
    #[test]
    fn rfc_9106() {
        let params = ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let mut tag = [0; 32];
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .unwrap()
            .hash_password_into(&[1; 32], &[2; 16], &mut tag)
            .unwrap();
        assert_eq!(HEXLOWER.encode(&tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    /// Output of the reference implementation (`argon2 somesalt -id -l 16`), through the function that hashes
    /// codes, in memory that is reused.
    #[test]
    fn reference_implementation() {
        let mut blocks = Vec::new();
        for (memory_kib, iterations, lanes, expected) in [
            (256, 2, 1, "e24df64b97742be45329300aeae1ca35"),
            (256, 2, 2, "3ca15f207978ab2bd83b41f6d8e53808"),
            (65_536, 2, 1, "de686f3fd0b303b36417fd5b5bd631be"),
            (256, 2, 1, "e24df64b97742be45329300aeae1ca35"),
        ] {
            let params = Params::new(memory_kib, iterations, lanes, Some(HASH_LENGTH)).unwrap();
            let hash = argon2id(params, b"somesalt", b"password", &mut blocks).unwrap();
            assert_eq!(HEXLOWER.encode(&hash), expected, "m={memory_kib},t={iterations},p={lanes}");
            assert!(blocks.iter().flat_map(AsRef::<[u64]>::as_ref).all(|word| *word == 0), "wiped");
        }
    }

    #[tokio::test]
    async fn memory_is_used_again_and_none_is_kept_that_is_larger_than_configured() {
        let settings = Argon2Settings { memory_kib: 64, iterations: 1, lanes: 1, concurrency: 2 };
        let costly = Argon2Settings { memory_kib: 128, ..settings.clone() };
        let hasher = Argon2Hasher::new(settings);
        let code = BackupCode::from_entropy(&[7; BackupCode::ENTROPY_BYTES]);
        let kept = || hasher.memory.spare.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>();

        let scheme = hasher.scheme().unwrap();
        for _ in 0..3 {
            hasher.hash(&scheme, &code).await.unwrap();
            assert_eq!(kept(), [64]);
        }
        let earlier = Argon2Hasher::new(costly).scheme().unwrap();
        hasher.hash(&earlier, &code).await.unwrap();
        assert_eq!(kept(), [0; 0]);
    }
}
