//! Sample challenges, and assertions about stored ones.

use mfa_domain::ports::ChallengeStore;
use mfa_domain::{Challenge, ChallengeData, ChallengeId, Progress, TenantId, Timestamp, Version, Versioned};
use sha2::{Digest, Sha256};

use crate::{Violation, changes, ensure};

/// The creation time of challenges for which the time does not matter. They are open for ten minutes.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123)
}

/// A challenge for a check; `number` determines its id.
pub(super) fn challenge(check: &str, number: u32) -> Challenge {
    Challenge {
        id: id(check, number),
        tenant: TenantId::new(check).unwrap(),
        progress: Progress::new(data(check)),
        ..changes::challenge(0, now())
    }
}

pub(super) fn data(text: &str) -> ChallengeData {
    ChallengeData::new(text).unwrap()
}

/// The same progress after one more wrong answer.
pub(super) fn failed_once_more(progress: &Progress) -> Progress {
    Progress { failures: progress.failures + 1, ..progress.clone() }
}

/// The stored challenge, which must exist.
pub(super) async fn there(
    store: &dyn ChallengeStore,
    id: &ChallengeId,
) -> Result<Versioned<Challenge>, Violation> {
    let found = store.get(id).await?;
    found.ok_or_else(|| Violation::new(format!("{id:?} is not there, although it was put")))
}

/// Checks that the stored challenge is this one; returns its version.
pub(super) async fn unchanged(
    store: &dyn ChallengeStore,
    challenge: &Challenge,
) -> Result<Version, Violation> {
    let Versioned { value, version } = there(store, &challenge.id).await?;
    ensure!(
        value == *challenge,
        "the stored challenge is not the expected one\n  stored: {value:?}\nexpected: {challenge:?}"
    );
    Ok(version)
}

fn id(check: &str, number: u32) -> ChallengeId {
    let hash = Sha256::new().chain_update(check).chain_update(number.to_be_bytes()).finalize();
    let mut random = [0; ChallengeId::LENGTH];
    random.copy_from_slice(&hash[..ChallengeId::LENGTH]);
    ChallengeId::from_entropy(random)
}
