//! What holds for one caller at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::{
    AccountKey, Challenge, ChallengeData, ChallengeKind, ChallengeState, FactorId, Progress, TenantId,
    Timestamp, UserId, Version,
};

use super::samples::{challenge, data, failed_once_more, now, there, unchanged};
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
        what_was_taken_is_gone(store),
        what_was_never_put_is_not_there(store),
        challenges_do_not_touch_each_other(store),
    ]
}

async fn every_field_comes_back(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let one = challenge("challenge-fields", 0);
    let longest = AccountKey::new(
        TenantId::new(&"t".repeat(TenantId::MAX_LENGTH)).unwrap(),
        UserId::new(&"U\u{1f9ff}".repeat(UserId::MAX_LENGTH / 5)).unwrap(),
    );
    let kinds = [
        ChallengeKind::SmsCode,
        ChallengeKind::Push,
        ChallengeKind::WebauthnRegistration,
        ChallengeKind::WebauthnAuthentication,
        ChallengeKind::Other("new_in_2".to_owned()),
    ];
    let mut all: Vec<_> =
        kinds.into_iter().map(|kind| Challenge { kind, factor: Some(factor()), ..one.clone() }).collect();
    all.push(Challenge { account: longest, ..one.clone() });
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
        let version = unchanged(store, &challenge, now()).await?;
        ensure!(unchanged(store, &challenge, now()).await? == version, "reading gives it another version");
        let taken = store.take(&challenge.id, now()).await?;
        ensure!(taken.as_ref() == Some(&challenge), "what was taken is not what was put: {taken:?}");
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
    ] {
        let version = there(store, &model.id, now()).await?.version;
        model.progress = Progress { state, failures, data };
        let commit = store.swap(&model.id, version, &model.progress, now()).await?;
        ensure!(commit == Commit::Won, "a swap of the stored version did not win");
        unchanged(store, &model, now()).await?;
    }
    let taken = store.take(&model.id, now()).await?;
    ensure!(taken == Some(model), "what was taken is not what it was changed to: {taken:?}");
    Ok(())
}

async fn an_id_is_put_once(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let one = challenge("challenge-once", 0);
    store.put(&one).await?;
    let version = unchanged(store, &one, now()).await?;
    let account = AccountKey::new(TenantId::new("challenge-thief").unwrap(), UserId::new("bob").unwrap());
    for again in [one.clone(), Challenge { account, ..one.clone() }] {
        ensure!(store.put(&again).await.is_err(), "an id that is there was put again");
        ensure!(unchanged(store, &one, now()).await? == version, "a put that was refused changed something");
    }
    Ok(())
}

async fn a_swap_replaces_the_progress_and_nothing_else(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let mut model =
        Challenge { factor: Some(factor()), kind: ChallengeKind::Push, ..challenge("challenge-swap", 0) };
    store.put(&model).await?;
    let later = now().plus(Duration::from_mins(1));
    for state in [ChallengeState::Approved, ChallengeState::Denied, ChallengeState::Open] {
        let version = unchanged(store, &model, later).await?;
        model.progress = Progress { state, ..failed_once_more(&model.progress) };
        let commit = store.swap(&model.id, version, &model.progress, later).await?;
        ensure!(commit == Commit::Won, "a swap of the stored version did not win");
    }
    unchanged(store, &model, later).await?;
    Ok(())
}

/// Not even if what is stored is the same as before.
async fn a_version_never_comes_back(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-versions", 0);
    store.put(&model).await?;
    let mut before = BTreeSet::new();
    for round in 0..5 {
        let version = there(store, &model.id, now()).await?.version;
        ensure!(before.insert(version), "version {version:?} came back");
        let progress = Progress { failures: round % 2, ..model.progress.clone() };
        for old in &before {
            let commit = store.swap(&model.id, *old, &progress, now()).await?;
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
    let version = unchanged(store, &model, now()).await?;
    for wrong in [Version(version.0 + 1), Version(version.0.wrapping_sub(1)), Version(version.0 + 1000)] {
        let next = Progress { state: ChallengeState::Approved, ..failed_once_more(&model.progress) };
        let commit = store.swap(&model.id, wrong, &next, now()).await?;
        ensure!(commit == Commit::Conflict, "a swap of {wrong:?} won, but {version:?} is stored");
        ensure!(unchanged(store, &model, now()).await? == version, "a lost swap made another version");
    }
    Ok(())
}

async fn what_was_taken_is_gone(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-taken", 0);
    store.put(&model).await?;
    let version = unchanged(store, &model, now()).await?;
    let taken = store.take(&model.id, now()).await?;
    ensure!(taken.is_some(), "what is there could not be taken");
    for _ in 0..2 {
        let again = store.take(&model.id, now()).await?;
        ensure!(again.is_none(), "a challenge was handed out twice");
        ensure!(store.get(&model.id, now()).await?.is_none(), "what was taken is there");
        for version in [version, Version(version.0 + 1), Version(0)] {
            let commit = store.swap(&model.id, version, &model.progress, now()).await?;
            ensure!(commit == Commit::Conflict, "what was taken was changed");
        }
    }
    Ok(())
}

async fn what_was_never_put_is_not_there(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let model = challenge("challenge-never", 0);
    ensure!(store.take(&model.id, now()).await?.is_none(), "what was never put was taken");
    for version in [Version(0), Version(1)] {
        let commit = store.swap(&model.id, version, &model.progress, now()).await?;
        ensure!(commit == Commit::Conflict, "what was never put was changed");
    }
    ensure!(store.get(&model.id, now()).await?.is_none(), "what was never put is there");
    Ok(())
}

/// Of one account, too: a second code does not take the place of the first.
async fn challenges_do_not_touch_each_other(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let mut all: Vec<_> = (0..3).map(|number| challenge("challenge-others", number)).collect();
    for (challenge, text) in all.iter_mut().zip(["first", "second", "third"]) {
        challenge.progress.data = data(text);
        store.put(challenge).await?;
    }
    let version = unchanged(store, &all[0], now()).await?;
    all[0].progress = failed_once_more(&all[0].progress);
    let commit = store.swap(&all[0].id, version, &all[0].progress, now()).await?;
    ensure!(commit == Commit::Won, "a swap of the stored version did not win");
    ensure!(store.take(&all[1].id, now()).await?.as_ref() == Some(&all[1]), "another challenge was taken");
    unchanged(store, &all[0], now()).await?;
    unchanged(store, &all[2], now()).await?;
    Ok(())
}

fn factor() -> FactorId {
    FactorId::fresh(now(), &[9; 10])
}
