//! The contract for concurrent callers. `stores` are two handles on the same challenges.
//!
//! Each check is public, so that a store author can repeat one that fails.

use std::sync::Arc;

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::{Challenge, Progress};

use super::samples::{challenge, data, failed_once_more, there, unchanged};
use crate::changes::{end, over};
use crate::race::{rounds, together};
use crate::violation::run;
use crate::{Violation, ensure};

/// Two handles on one store.
pub type Stores = [Arc<dyn ChallengeStore>; 2];

pub(super) async fn race(stores: &Stores) -> Result<(), Violation> {
    run![
        one_of_many_ends_it(stores),
        one_swap_wins_each_version(stores),
        every_failure_is_counted(stores),
        no_swap_brings_back_what_is_over(stores),
        an_id_is_put_by_one_of_many(stores),
        what_one_does_the_other_sees_at_once(stores),
    ]
}

/// Of concurrent callers that end a challenge exactly one does.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_of_many_ends_it(stores: &Stores) -> Result<(), Violation> {
    for round in 0..rounds(4, 10) {
        let challenge = challenge("challenge-end-race", round);
        stores[0].put(&challenge).await?;
        let ended = together(32, |n| {
            let (store, id) = (Arc::clone(&stores[n % 2]), challenge.id);
            async move { end(store.as_ref(), &id).await }
        })
        .await?;
        let ended: Vec<_> = ended.into_iter().collect::<Result<_, _>>()?;
        let ended: Vec<_> = ended.into_iter().flatten().collect();
        ensure!(ended.len() == 1, "one challenge was ended {} times", ended.len());
        ensure!(ended[0] == challenge, "the ended challenge is not the stored one: {:?}", ended[0]);
        is_over(stores, &challenge).await?;
    }
    Ok(())
}

/// Of concurrent swaps of one version exactly one wins, and the store contains that one.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_swap_wins_each_version(stores: &Stores) -> Result<(), Violation> {
    const TASKS: usize = 16;
    let mut model = challenge("challenge-swap-race", 0);
    stores[0].put(&model).await?;
    for round in 0..rounds(8, 20) {
        let version = unchanged(stores[0].as_ref(), &model).await?;
        let next: Vec<_> = (0..TASKS)
            .map(|n| Progress { data: data(&format!("{round} {n}")), ..failed_once_more(&model.progress) })
            .collect();
        let commits = together(TASKS, |n| {
            let (store, id, next) = (Arc::clone(&stores[n % 2]), model.id, next[n].clone());
            async move { store.swap(&id, version, &next).await }
        })
        .await?;
        let commits: Vec<_> = commits.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<_> = (0..TASKS).filter(|n| commits[*n] == Commit::Won).collect();
        ensure!(winners.len() == 1, "{} of {TASKS} swaps of one version won", winners.len());
        model.progress = next[winners[0]].clone();
        for store in stores {
            unchanged(store.as_ref(), &model).await?;
        }
    }
    Ok(())
}

/// If concurrent callers each record a wrong answer and retry until their swap wins, every answer is counted.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn every_failure_is_counted(stores: &Stores) -> Result<(), Violation> {
    const TASKS: u32 = 16;
    let challenge = challenge("challenge-failures", 0);
    stores[0].put(&challenge).await?;
    let counted = together(TASKS as usize, |n| {
        let (store, id) = (Arc::clone(&stores[n % 2]), challenge.id);
        async move {
            // In every round one swap wins, so no caller loses more often than there are other callers.
            for _ in 0..TASKS {
                let read = there(store.as_ref(), &id).await?;
                let next = failed_once_more(&read.value.progress);
                if store.swap(&id, read.version, &next).await? == Commit::Won {
                    return Ok(());
                }
            }
            Err(Violation::new("a swap lost more often than others won"))
        }
    });
    counted.await?.into_iter().collect::<Result<(), Violation>>()?;
    let failures = there(stores[1].as_ref(), &challenge.id).await?.value.progress.failures;
    ensure!(failures == TASKS, "{TASKS} wrong answers were counted, and {failures} are stored");
    Ok(())
}

/// A challenge that ends while others count wrong answers ends with the last count, and stays over.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn no_swap_brings_back_what_is_over(stores: &Stores) -> Result<(), Violation> {
    for round in 0..rounds(8, 20) {
        let challenge = challenge("challenge-back", round);
        stores[0].put(&challenge).await?;
        let version = unchanged(stores[1].as_ref(), &challenge).await?;
        let changed = failed_once_more(&challenge.progress);
        let results = together(8, |n| {
            let (store, id, next) = (Arc::clone(&stores[n % 2]), challenge.id, changed.clone());
            async move {
                // One task ends it, through each handle in every other round.
                if n == (round % 2) as usize {
                    return Ok((end(store.as_ref(), &id).await?, Commit::Conflict));
                }
                Ok((None, store.swap(&id, version, &next).await?))
            }
        });
        let results = results.await?.into_iter().collect::<Result<Vec<_>, Violation>>()?;
        let won = results.iter().filter(|(_, commit)| *commit == Commit::Won).count();
        ensure!(won <= 1, "{won} swaps of one version won");
        let progress = if won == 1 { changed } else { challenge.progress.clone() };
        let expected = Challenge { progress, ..challenge };
        let ended = results.into_iter().find_map(|(ended, _)| ended);
        ensure!(
            ended.as_ref() == Some(&expected),
            "{won} swaps won, and the ended challenge has {:?} failures",
            ended.map(|ended| ended.progress.failures)
        );
        is_over(stores, &expected).await?;
    }
    Ok(())
}

/// Of concurrent puts of one id exactly one is reported as successful, and the store contains that one.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn an_id_is_put_by_one_of_many(stores: &Stores) -> Result<(), Violation> {
    for round in 0..rounds(4, 10) {
        let of = |n: usize| {
            let challenge = challenge("challenge-put-race", round);
            Challenge { progress: Progress::new(data(&n.to_string())), ..challenge }
        };
        let put = together(16, |n| {
            let (store, challenge) = (Arc::clone(&stores[n % 2]), of(n));
            async move { store.put(&challenge).await.is_ok() }
        })
        .await?;
        let winners: Vec<_> = (0..16).filter(|n| put[*n]).collect();
        ensure!(winners.len() == 1, "{} puts of one id were answered as made", winners.len());
        for store in stores {
            unchanged(store.as_ref(), &of(winners[0])).await?;
        }
    }
    Ok(())
}

/// A change that one handle reported is visible to the other at once, under load.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_one_does_the_other_sees_at_once(stores: &Stores) -> Result<(), Violation> {
    let seen = together(8, |n| {
        let (one, other) = (Arc::clone(&stores[n % 2]), Arc::clone(&stores[(n + 1) % 2]));
        async move {
            for round in 0..rounds(4, 10) {
                let number = u32::try_from(n * 100 + round).unwrap();
                let mut challenge = challenge("challenge-fresh", number);
                one.put(&challenge).await?;
                let version = unchanged(other.as_ref(), &challenge).await?;
                challenge.progress = failed_once_more(&challenge.progress);
                let commit = one.swap(&challenge.id, version, &challenge.progress).await?;
                ensure!(commit == Commit::Won, "the only writer did not win");
                unchanged(other.as_ref(), &challenge).await?;
                let ended = end(other.as_ref(), &challenge.id).await?;
                ensure!(
                    ended.as_ref() == Some(&challenge),
                    "the other handle did not end the changed challenge"
                );
                unchanged(one.as_ref(), &Challenge { progress: over(), ..challenge }).await?;
            }
            Ok(())
        }
    });
    seen.await?.into_iter().collect()
}

async fn is_over(stores: &Stores, challenge: &Challenge) -> Result<(), Violation> {
    let ended = Challenge { progress: over(), ..challenge.clone() };
    for store in stores {
        unchanged(store.as_ref(), &ended).await?;
        ensure!(end(store.as_ref(), &challenge.id).await?.is_none(), "a challenge was ended twice");
    }
    Ok(())
}
