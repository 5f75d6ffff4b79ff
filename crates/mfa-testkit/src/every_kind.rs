//! An enrolment policy that admits every kind of factor.

use std::time::Duration;

use mfa_domain::policy::{EnrolmentPolicy, GuardedChange, Proof, StandardEnrolment};
use mfa_domain::{Actor, FactorKind};

/// The default policy, but with every kind of factor of this version admitted to enrolment.
#[derive(Clone, Debug, Default)]
pub struct EveryKind(pub StandardEnrolment);

impl EnrolmentPolicy for EveryKind {
    fn admits(&self, kind: &FactorKind) -> bool {
        !matches!(kind, FactorKind::SigningKey | FactorKind::Unknown(_))
    }

    fn max_factors(&self) -> usize {
        self.0.max_factors()
    }

    fn pending_lifetime(&self) -> Duration {
        self.0.pending_lifetime()
    }

    fn proof(&self, change: GuardedChange, actor: &Actor) -> Proof {
        self.0.proof(change, actor)
    }
}
