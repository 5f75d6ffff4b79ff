//! Time: a store has none of its own.

use std::time::Duration;

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::{Challenge, Timestamp};

use super::samples::{challenge, failed_once_more, now, unchanged};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn time(store: &dyn ChallengeStore) -> Result<(), Violation> {
    run![
        it_is_open_until_it_expires(store),
        what_expired_is_as_if_it_was_not_there(store),
        a_clock_that_is_ahead_takes_it_from_nobody(store),
        what_others_put_later_takes_it_from_nobody(store),
        an_expired_id_is_still_taken(store),
    ]
}

/// Challenges made at the ends of time and between, and when they expire; none of it is now.
fn lives() -> [(Timestamp, Timestamp); 6] {
    let second = Timestamp::from_unix_seconds;
    let just_before_the_end = Timestamp::from_unix_millis(Timestamp::MAX.unix_millis() - 1);
    [
        (Timestamp::default(), Timestamp::from_unix_millis(1)),
        (second(1_000_000_000), second(1_000_000_600)),
        (second(1 << 31), Timestamp::from_unix_millis((1 << 31) * 1000 + 1)),
        (second(1 << 32), second((1 << 32) + 600)),
        (just_before_the_end, Timestamp::MAX),
        (Timestamp::default(), Timestamp::MAX),
    ]
}

fn of_lives(check: &str) -> impl Iterator<Item = Challenge> {
    let numbered = lives().into_iter().zip(0..);
    numbered.map(move |((created_at, expires_at), number)| Challenge {
        created_at,
        expires_at,
        ..challenge(check, number)
    })
}

fn last_moment(challenge: &Challenge) -> Timestamp {
    Timestamp::from_unix_millis(challenge.expires_at.unix_millis() - 1)
}

async fn it_is_open_until_it_expires(store: &dyn ChallengeStore) -> Result<(), Violation> {
    for mut challenge in of_lives("challenge-open") {
        store.put(&challenge).await?;
        for now in [challenge.created_at, last_moment(&challenge)] {
            let version = unchanged(store, &challenge, now).await?;
            challenge.progress = failed_once_more(&challenge.progress);
            let commit = store.swap(&challenge.id, version, &challenge.progress, now).await?;
            ensure!(
                commit == Commit::Won,
                "what expires at {} cannot be changed at {now}",
                challenge.expires_at
            );
        }
        let taken = store.take(&challenge.id, last_moment(&challenge)).await?;
        ensure!(taken == Some(challenge), "what is open to the last moment cannot be taken then: {taken:?}");
    }
    Ok(())
}

async fn what_expired_is_as_if_it_was_not_there(store: &dyn ChallengeStore) -> Result<(), Violation> {
    for challenge in of_lives("challenge-expired") {
        store.put(&challenge).await?;
        let version = unchanged(store, &challenge, challenge.created_at).await?;
        let soon = challenge.expires_at.plus(Duration::from_millis(1));
        for now in [challenge.expires_at, soon, challenge.expires_at.plus(Duration::from_mins(59))] {
            let expired_at = challenge.expires_at;
            ensure!(
                store.get(&challenge.id, now).await?.is_none(),
                "what expired at {expired_at} is there at {now}"
            );
            let commit = store.swap(&challenge.id, version, &challenge.progress, now).await?;
            ensure!(commit == Commit::Conflict, "what expired at {expired_at} was changed at {now}");
            ensure!(
                store.take(&challenge.id, now).await?.is_none(),
                "what expired at {expired_at} was taken at {now}"
            );
        }
        // Nor has any of that changed it.
        let still = unchanged(store, &challenge, last_moment(&challenge)).await?;
        ensure!(still == version, "one who came too late made another version");
    }
    Ok(())
}

/// Two replicas need not agree what time it is.
async fn a_clock_that_is_ahead_takes_it_from_nobody(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let challenge = challenge("challenge-ahead", 0);
    store.put(&challenge).await?;
    for ahead in [Duration::from_mins(10), Duration::from_mins(12), Duration::from_mins(69)] {
        let late = store.take(&challenge.id, now().plus(ahead)).await?;
        ensure!(late.is_none(), "what expired was taken {ahead:?} after it was made");
        unchanged(store, &challenge, now()).await?;
    }
    let taken = store.take(&challenge.id, now()).await?;
    ensure!(taken.is_some(), "a clock that is ahead has used up a challenge");
    Ok(())
}

/// Whatever is done in passing leaves what expired less than an hour before.
async fn what_others_put_later_takes_it_from_nobody(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let first = challenge("challenge-passing", 0);
    store.put(&first).await?;
    for number in 1..=50 {
        let later = first.expires_at.plus(Duration::from_mins(59));
        let expires_at = later.plus(Duration::from_mins(10));
        let another = challenge("challenge-passing", number);
        store.put(&Challenge { created_at: later, expires_at, ..another }).await?;
    }
    unchanged(store, &first, now()).await?;
    Ok(())
}

async fn an_expired_id_is_still_taken(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let first = challenge("challenge-reuse", 0);
    store.put(&first).await?;
    let later = first.expires_at.plus(Duration::from_mins(1));
    let again =
        Challenge { created_at: later, expires_at: later.plus(Duration::from_mins(10)), ..first.clone() };
    ensure!(store.put(&again).await.is_err(), "the id of an expired challenge was put again");
    unchanged(store, &first, now()).await?;
    Ok(())
}
