//! The contract for one caller at a time.

use std::collections::BTreeSet;

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::signing::Nonce;
use mfa_domain::{
    Caller, Challenge, ChallengeData, ChallengeKind, ChallengeState, FactorId, Progress, Purpose, TenantId,
    Timestamp, UserId, Version,
};

use super::samples::{challenge, data, failed_once_more, now, there, unchanged};
use crate::changes::{end, over};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn basic(store: &dyn ChallengeStore) -> Result<(), Violation> {
    run![
        every_field_comes_back(store),
        every_progress_comes_back(store),
        an_id_is_put_once(store),
        a_swap_replaces_the_progress_and_nothing_else(store),
        a_version_never_comes_back(store),
        a_lost_swap_changes_nothing(store),
        what_is_over_stays(store),
        what_was_never_put_is_not_there(store),
        challenges_do_not_touch_each_other(store),
    ]
}

async fn every_field_comes_back(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let one = challenge("challenge-fields", 0);
    let kinds = [
        ChallengeKind::SmsCode,
        ChallengeKind::Push,
        ChallengeKind::WebauthnRegistration,
        ChallengeKind::WebauthnAuthentication,
        ChallengeKind::Other("new_in_2".to_owned()),
    ];
    let mut all: Vec<_> =
        kinds.into_iter().map(|kind| Challenge { kind, factor: Some(factor()), ..one.clone() }).collect();
    all.extend(Purpose::ALL.map(|purpose| Challenge { purpose, ..one.clone() }));
    all.push(Challenge {
        tenant: TenantId::new(&"t".repeat(TenantId::MAX_LENGTH)).unwrap(),
        user: UserId::new(&"U\u{1f9ff}".repeat(UserId::MAX_LENGTH / 5)).ok(),
        ..one.clone()
    });
    all.push(Challenge { user: None, ..one.clone() });
    all.push(Challenge { caller: Caller::new(&"Ä'(\"".repeat(32)), ..one.clone() });
    let longest: String = ('!'..='~').cycle().take(Nonce::MAX_LENGTH).collect();
    for nonce in [Some(longest.parse().unwrap()), None] {
        all.push(Challenge { nonce, ..one.clone() });
    }
    all.push(Challenge { expires_at: Timestamp::MAX, ..one.clone() });
    all.push(Challenge {
        created_at: Timestamp::default(),
        progress: Progress { state: ChallengeState::Denied, failures: 7, data: ChallengeData::default() },
        ..one
    });
    for (challenge, number) in all.into_iter().zip(0..) {
        let challenge =
            Challenge { id: super::samples::challenge("challenge-fields", number).id, ..challenge };
        store.put(&challenge).await?;
        let version = unchanged(store, &challenge).await?;
        ensure!(unchanged(store, &challenge).await? == version, "reading changed the version");
        let before = end(store, &challenge.id).await?;
        ensure!(before.as_ref() == Some(&challenge), "the ended challenge is not the stored one: {before:?}");
        unchanged(store, &Challenge { progress: over(), ..challenge }).await?;
    }
    Ok(())
}

async fn every_progress_comes_back(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let mut model = challenge("challenge-progress", 0);
    store.put(&model).await?;
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(ChallengeData::MAX_LENGTH).collect();
    for (state, failures, data) in [
        (ChallengeState::Open, 1, data("'quoted', \\ and more")),
        (ChallengeState::Approved, u32::MAX, ChallengeData::new(bytes).unwrap()),
        (ChallengeState::Denied, 0, ChallengeData::default()),
        (ChallengeState::Open, 0, ChallengeData::new([0; 3]).unwrap()),
        (ChallengeState::Over, 5, ChallengeData::default()),
    ] {
        let version = there(store, &model.id).await?.version;
        model.progress = Progress { state, failures, data };
        let commit = store.swap(&model.id, version, &model.progress).await?;
        ensure!(commit == Commit::Won, "a swap of the stored version did not win");
        unchanged(store, &model).await?;
    }
    Ok(())
}

async fn an_id_is_put_once(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let one = challenge("challenge-once", 0);
    store.put(&one).await?;
    let version = unchanged(store, &one).await?;
    let (tenant, user) = (TenantId::new("challenge-thief").unwrap(), UserId::new("bob").ok());
    for again in [one.clone(), Challenge { tenant, user, ..one.clone() }] {
        ensure!(store.put(&again).await.is_err(), "an existing id was put again");
        ensure!(unchanged(store, &one).await? == version, "a rejected put changed the challenge");
    }
    Ok(())
}

async fn a_swap_replaces_the_progress_and_nothing_else(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let mut model =
        Challenge { factor: Some(factor()), kind: ChallengeKind::Push, ..challenge("challenge-swap", 0) };
    store.put(&model).await?;
    for state in [ChallengeState::Approved, ChallengeState::Denied, ChallengeState::Open] {
        let version = unchanged(store, &model).await?;
        model.progress = Progress { state, ..failed_once_more(&model.progress) };
        let commit = store.swap(&model.id, version, &model.progress).await?;
        ensure!(commit == Commit::Won, "a swap of the stored version did not win");
    }
    unchanged(store, &model).await?;
    Ok(())
}

/// Not even if the new content equals the old.
async fn a_version_never_comes_back(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-versions", 0);
    store.put(&model).await?;
    let mut before = BTreeSet::new();
    for round in 0..5 {
        let version = there(store, &model.id).await?.version;
        ensure!(before.insert(version), "version {version:?} was reused");
        let progress = Progress { failures: round % 2, ..model.progress.clone() };
        for old in &before {
            let commit = store.swap(&model.id, *old, &progress).await?;
            ensure!(
                (commit == Commit::Won) == (*old == version),
                "a swap of {old:?} at {version:?}: {commit:?}"
            );
        }
    }
    Ok(())
}

async fn a_lost_swap_changes_nothing(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-lost", 0);
    store.put(&model).await?;
    let version = unchanged(store, &model).await?;
    for wrong in [Version(version.0 + 1), Version(version.0.wrapping_sub(1)), Version(version.0 + 1000)] {
        let next = Progress { state: ChallengeState::Approved, ..failed_once_more(&model.progress) };
        let commit = store.swap(&model.id, wrong, &next).await?;
        ensure!(commit == Commit::Conflict, "a swap of {wrong:?} won, but {version:?} is stored");
        ensure!(unchanged(store, &model).await? == version, "a lost swap made another version");
    }
    Ok(())
}

/// Until the store may forget a challenge, a further answer is rejected as over.
async fn what_is_over_stays(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-over", 0);
    store.put(&model).await?;
    let version = unchanged(store, &model).await?;
    ensure!(end(store, &model.id).await?.is_some(), "an open challenge could not be ended");
    let ended = Challenge { progress: over(), ..model.clone() };
    for _ in 0..2 {
        unchanged(store, &ended).await?;
        ensure!(end(store, &model.id).await?.is_none(), "a challenge was ended twice");
        let commit = store.swap(&model.id, version, &model.progress).await?;
        ensure!(commit == Commit::Conflict, "a challenge that is over was changed at its previous version");
        ensure!(store.put(&model).await.is_err(), "the id of a challenge that is over was put again");
    }
    unchanged(store, &ended).await?;
    Ok(())
}

async fn what_was_never_put_is_not_there(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-never", 0);
    for version in [Version(0), Version(1)] {
        let commit = store.swap(&model.id, version, &model.progress).await?;
        ensure!(commit == Commit::Conflict, "a challenge that was never put was changed");
    }
    ensure!(store.get(&model.id).await?.is_none(), "a challenge that was never put was found");
    Ok(())
}

/// This also holds within one account: a second code does not replace the first.
async fn challenges_do_not_touch_each_other(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let mut all: Vec<_> = (0..3).map(|number| challenge("challenge-others", number)).collect();
    for (challenge, text) in all.iter_mut().zip(["first", "second", "third"]) {
        challenge.progress.data = data(text);
        store.put(challenge).await?;
    }
    let version = unchanged(store, &all[0]).await?;
    all[0].progress = failed_once_more(&all[0].progress);
    let commit = store.swap(&all[0].id, version, &all[0].progress).await?;
    ensure!(commit == Commit::Won, "a swap of the stored version did not win");
    ensure!(end(store, &all[1].id).await?.as_ref() == Some(&all[1]), "another challenge was ended");
    unchanged(store, &all[0]).await?;
    unchanged(store, &all[2]).await?;
    Ok(())
}

fn factor() -> FactorId {
    FactorId::fresh(now(), &[9; 10])
}
