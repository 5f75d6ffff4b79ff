//! A cheap hasher that counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use mfa_domain::BackupCode;
use mfa_domain::account::CodeHash;
use mfa_domain::ports::{CodeHasher, HasherError};
use sha2::{Digest, Sha256};

/// A fast hasher that counts its evaluations, so that a test can measure the cost of an attempt.
#[derive(Debug, Default)]
pub struct FakeHasher {
    schemes: AtomicUsize,
    evaluations: AtomicUsize,
}

impl FakeHasher {
    /// The number of codes hashed so far.
    #[must_use]
    pub fn evaluations(&self) -> usize {
        self.evaluations.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CodeHasher for FakeHasher {
    fn scheme(&self) -> Result<String, HasherError> {
        Ok(format!("fake${}", self.schemes.fetch_add(1, Ordering::SeqCst)))
    }

    async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError> {
        self.evaluations.fetch_add(1, Ordering::SeqCst);
        let hash = Sha256::new().chain_update(scheme).chain_update("$").chain_update(code.expose());
        Ok(CodeHash(hash.finalize().to_vec()))
    }
}
