//! Time: a store uses no clock of its own.

use std::time::Duration;

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::{Challenge, Timestamp};

use super::samples::{challenge, failed_once_more, unchanged};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn time(store: &dyn ChallengeStore) -> Result<(), Violation> {
    run![
        whenever_it_expires_it_is_there(store),
        what_others_put_later_takes_it_from_nobody(store),
        an_expired_id_is_still_taken(store),
    ]
}

/// Creation and expiry of challenges at both ends of time and in between, none of them near the present.
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

async fn whenever_it_expires_it_is_there(store: &dyn ChallengeStore) -> Result<(), Violation> {
    for mut challenge in of_lives("challenge-lives") {
        store.put(&challenge).await?;
        let version = unchanged(store, &challenge).await?;
        challenge.progress = failed_once_more(&challenge.progress);
        let commit = store.swap(&challenge.id, version, &challenge.progress).await?;
        ensure!(
            commit == Commit::Won,
            "a challenge that expires at {} cannot be changed",
            challenge.expires_at
        );
        unchanged(store, &challenge).await?;
    }
    Ok(())
}

/// Incidental cleanup keeps a challenge until one hour after its expiry.
async fn what_others_put_later_takes_it_from_nobody(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let first = challenge("challenge-passing", 0);
    store.put(&first).await?;
    for number in 1..=50 {
        let later = first.expires_at.plus(Duration::from_mins(59));
        let expires_at = later.plus(Duration::from_mins(10));
        let another = challenge("challenge-passing", number);
        store.put(&Challenge { created_at: later, expires_at, ..another }).await?;
    }
    unchanged(store, &first).await?;
    Ok(())
}

async fn an_expired_id_is_still_taken(store: &dyn ChallengeStore) -> Result<(), Violation> {
    let first = challenge("challenge-reuse", 0);
    store.put(&first).await?;
    let later = first.expires_at.plus(Duration::from_mins(1));
    let again =
        Challenge { created_at: later, expires_at: later.plus(Duration::from_mins(10)), ..first.clone() };
    ensure!(store.put(&again).await.is_err(), "the id of an expired challenge was put again");
    unchanged(store, &first).await?;
    Ok(())
}
