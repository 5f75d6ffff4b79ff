//! An operator's word in the place of a proof: it counts, and the trail tells.

use std::collections::BTreeMap;
use std::time::Duration;

use mfa_domain::account::GivenProof;
use mfa_domain::policy::{EnrolmentPolicy, GuardedChange, Proof, ProofScope, StandardEnrolment};
use mfa_domain::{Actor, Assurance, AuditEvent, EventKind, FactorKind};

use super::{Change, GUARDED, MISSING, World, operator, reason, web};

/// Guards every change, also those of operators.
#[derive(Debug)]
struct Strict;

impl EnrolmentPolicy for Strict {
    fn admits(&self, _: &FactorKind) -> bool {
        true
    }

    fn max_factors(&self) -> usize {
        10
    }

    fn pending_lifetime(&self) -> Duration {
        Duration::from_mins(10)
    }

    fn proof(&self, _: GuardedChange, _: &Actor) -> Proof {
        Proof::OfSession { age: Duration::from_mins(5), at_least: Assurance::Low }
    }
}

fn word() -> GivenProof {
    GivenProof::Operator(reason())
}

impl World {
    /// An operator makes a change, which must succeed in one commit. The events of it.
    async fn make_as_operator(&self, change: Change, proof: &GivenProof) -> Vec<AuditEvent> {
        let (before, version) = (self.events().await.len(), self.account().await.version);
        assert_eq!(self.make(change, &operator(), Some(proof)).await, Ok(()), "{change:?}");
        assert_eq!(self.account().await.version, version.next(), "{change:?}");
        self.events().await.split_off(before)
    }
}

fn kinds(events: &[AuditEvent]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind.clone()).collect()
}

#[tokio::test]
async fn an_operator_who_gives_a_reason_needs_no_proof_and_the_trail_says_so_before_the_change() {
    for (change, name, made) in [
        (Change::Add, "add_factor", &[EventKind::EnrolmentStarted][..]),
        (Change::AddAddress, "add_factor", &[EventKind::EnrolmentStarted, EventKind::CodeSent]),
        (Change::AddPasskey, "add_factor", &[EventKind::EnrolmentStarted]),
        (Change::Replace, "add_factor", &[EventKind::EnrolmentStarted]),
        (Change::IssueBackupCodes, "issue_backup_codes", &[EventKind::BackupCodesIssued]),
    ] {
        let world = World::new().await;
        assert_eq!(world.make(change, &operator(), None).await, Err(MISSING), "{change:?}");
        let events = world.make_as_operator(change, &word()).await;
        assert_eq!(kinds(&events[1..]), made, "{change:?}");
        let overridden = &events[0];
        assert_eq!((&overridden.kind, overridden.factor), (&EventKind::ProofOverridden, None), "{change:?}");
        assert_eq!(overridden.actor, "admin ops");
        let detail = [("change", name), ("reason", reason().as_str())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(overridden.detail, BTreeMap::from(detail), "{change:?}");
    }
}

#[tokio::test]
async fn the_word_of_anybody_else_counts_for_nothing() {
    for change in GUARDED {
        let world = World::new().await;
        let before = (world.account().await, world.events().await);
        assert_eq!(world.make(change, &web(), Some(&word())).await, Err(MISSING), "{change:?}");
        assert_eq!((world.account().await, world.events().await), before, "{change:?}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_needed_leaves_no_event() {
    // Operators may do this without a proof, and so may anybody with the factors of a user who has none.
    let world = World::new().await;
    for (change, made) in [
        (Change::Rename, EventKind::FactorRenamed),
        (Change::Import, EventKind::FactorImported),
        (Change::Revoke, EventKind::FactorRevoked),
    ] {
        assert_eq!(kinds(&world.make_as_operator(change, &word()).await), [made], "{change:?}");
    }
    let world = World::new().await;
    world.make_as_operator(Change::Revoke, &word()).await;
    let added = world.make_as_operator(Change::Add, &word()).await;
    assert_eq!(kinds(&added), [EventKind::EnrolmentStarted], "not enrolled");

    // There is a proof.
    let world = World::new().await;
    let proof = GivenProof::Session(world.log_in().await);
    let added = world.make_as_operator(Change::Add, &proof).await;
    assert_eq!(kinds(&added), [EventKind::EnrolmentStarted], "in the session");
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    let world = World::under(enrolment).await;
    world.log_in().await;
    let added = world.make_as_operator(Change::Add, &word()).await;
    assert_eq!(kinds(&added), [EventKind::EnrolmentStarted], "in any session");
}

#[tokio::test]
async fn no_change_that_a_policy_guards_is_made_on_a_word_without_its_event() {
    for (change, names, made) in [
        (Change::Add, &["add_factor"][..], EventKind::EnrolmentStarted),
        (Change::Import, &["import_factor"], EventKind::FactorImported),
        (Change::Replace, &["revoke_factor", "add_factor"], EventKind::EnrolmentStarted),
        (Change::Revoke, &["revoke_factor"], EventKind::FactorRevoked),
        (Change::IssueBackupCodes, &["issue_backup_codes"], EventKind::BackupCodesIssued),
        (Change::Rename, &["rename_factor"], EventKind::FactorRenamed),
    ] {
        let world = World::under(Strict).await;
        assert_eq!(world.make(change, &operator(), None).await, Err(MISSING), "{change:?}");
        let mut events = world.make_as_operator(change, &word()).await;
        assert_eq!(events.pop().map(|event| event.kind), Some(made), "{change:?}");
        assert!(events.iter().all(|event| event.kind == EventKind::ProofOverridden), "{events:?}");
        let told: Vec<_> = events.iter().map(|event| event.detail["change"].as_str()).collect();
        assert_eq!(told, names, "{change:?}");
    }
}
