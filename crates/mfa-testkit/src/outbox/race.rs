//! The contract for concurrent callers. `stores` are two handles on the same store.
//!
//! Each check is public, so that a store author can repeat one that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Message, Sending, Version, Versioned};

use super::samples::{claim_all, key, message, now, outbox, put, there, unchanged, until, with_content};
use crate::changes::delta;
use crate::race::{rounds, together};
use crate::violation::run;
use crate::{Violation, ensure};

/// Two handles on one store.
pub type Stores = [Arc<dyn AccountStore>; 2];

pub(super) async fn race(stores: &Stores) -> Result<(), Violation> {
    run![
        each_message_is_given_once(stores),
        one_swap_wins_each_version(stores),
        a_claim_and_a_swap_do_not_both_win(stores),
        what_takes_a_place_is_not_lost(stores),
        of_many_commits_one_puts_its_message(stores),
    ]
}

/// Of concurrent claims exactly one gets each message, and each message is claimed.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn each_message_is_given_once(stores: &Stores) -> Result<(), Violation> {
    const CALLERS: usize = 16;
    const MESSAGES: u32 = 48;
    for round in 0..rounds(2, 4) {
        let check = format!("outbox-given-{round}");
        let all: Vec<_> = (0..MESSAGES).map(|number| message(&check, number)).collect();
        put(stores[0].as_ref(), &all).await?;
        let tenant = all[0].account.tenant.clone();
        let claims = together(CALLERS, |n| {
            let (store, tenant) = (Arc::clone(&stores[n % 2]), tenant.clone());
            async move { claim_all(store.as_ref(), &tenant, (now(), until()), 5).await }
        });
        let mut given = claims.await?.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        // A claim may return nothing while the rest is being claimed by another.
        given.extend(claim_all(stores[1].as_ref(), &tenant, (now(), until()), 100).await?);
        let mut times: BTreeMap<_, usize> = BTreeMap::new();
        for claimed in &given {
            *times.entry(claimed.value.id).or_default() += 1;
        }
        let most = times.values().max().copied().unwrap_or_default();
        ensure!(most <= 1, "one message was given {most} times");
        ensure!(times.len() == all.len(), "of {MESSAGES} messages {} were given", times.len());
        for claimed in given {
            for store in stores {
                let read = there(store.as_ref(), &claimed.value).await?;
                ensure!(read == claimed, "the stored message is not the claimed one: {read:?}");
            }
        }
    }
    Ok(())
}

/// Of concurrent swaps of one version exactly one wins, and the store contains that one.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_swap_wins_each_version(stores: &Stores) -> Result<(), Violation> {
    const TASKS: usize = 16;
    let mut model = message("outbox-swap-race", 0);
    put(stores[0].as_ref(), std::slice::from_ref(&model)).await?;
    for round in 0..rounds(4, 8) {
        let version = unchanged(stores[0].as_ref(), &model).await?;
        let next: Vec<_> = (0..TASKS)
            .map(|n| Sending { last_failure: Some(format!("{round} {n}")), ..model.sending.clone() })
            .collect();
        let commits = together(TASKS, |n| {
            let (store, message, next) = (Arc::clone(&stores[n % 2]), model.clone(), next[n].clone());
            async move { swap(store.as_ref(), &message, version, &next).await }
        });
        let commits = commits.await?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let winners: Vec<_> = (0..TASKS).filter(|n| commits[*n] == Commit::Won).collect();
        ensure!(winners.len() == 1, "{} of {TASKS} swaps of one version won", winners.len());
        model.sending = next[winners[0]].clone();
        for store in stores {
            unchanged(store.as_ref(), &model).await?;
        }
    }
    Ok(())
}

/// Of concurrent claims and changes of a message at one version exactly one wins: a message that another
/// caller marked as sent is not claimed.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_claim_and_a_swap_do_not_both_win(stores: &Stores) -> Result<(), Violation> {
    for round in 0..rounds(4, 8) {
        let model = message("outbox-either", round);
        put(stores[0].as_ref(), std::slice::from_ref(&model)).await?;
        let results = together(8, |n| {
            let (store, model) = (Arc::clone(&stores[n % 2]), model.clone());
            async move {
                if n < 4 {
                    let tenant = &model.account.tenant;
                    let claimed = claim_all(store.as_ref(), tenant, (now(), until()), 100).await?;
                    return Ok(claimed.iter().any(|claimed| claimed.value.id == model.id));
                }
                let commit = swap(store.as_ref(), &model, Version(1), &model.sending.sent()).await?;
                Ok(commit == Commit::Won)
            }
        });
        let results = results.await?.into_iter().collect::<Result<Vec<_>, Violation>>()?;
        let won = results.iter().filter(|won| **won).count();
        ensure!(won == 1, "{won} of 8 have claimed or swapped one message at one version");
        let claimed = results[..4].contains(&true);
        let sending = if claimed { model.sending.claimed(until()) } else { model.sending.sent() };
        for store in stores {
            unchanged(store.as_ref(), &Message { sending: sending.clone(), ..model.clone() }).await?;
        }
    }
    Ok(())
}

/// A message that replaces another, while others claim and change the old one, is stored afterwards and still
/// queued.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_takes_a_place_is_not_lost(stores: &Stores) -> Result<(), Violation> {
    const CHECK: &str = "outbox-place-race";
    // Due messages of other checks would be claimed first.
    claim_all(stores[0].as_ref(), &key(CHECK, "alice").tenant, (now(), until()), 1000).await?;
    for round in 0..rounds(4, 8) {
        let old = message(CHECK, round);
        put(stores[0].as_ref(), std::slice::from_ref(&old)).await?;
        let expires_at = old.expires_at.plus(Duration::from_mins(1));
        let new = Message { expires_at, ..with_content(&old, "another") };
        let Versioned { value, version } = stores[0].load(&old.account).await?;
        let replaces = delta(&value, &old.account, |draft| draft.message(new.clone()));
        let results = together(8, |n| {
            let (store, old, replaces) = (Arc::clone(&stores[n % 2]), old.clone(), replaces.clone());
            async move {
                match n {
                    0 => Ok(store.commit(&old.account, version, &replaces).await? == Commit::Won),
                    1 => {
                        let claimed = outbox(store.as_ref())?.claim(now(), until(), 100).await?.messages;
                        Ok(claimed.iter().any(|claimed| claimed.value.sending.content == old.sending.content))
                    }
                    _ => {
                        let next = old.sending.sent();
                        Ok(swap(store.as_ref(), &old, Version(1), &next).await? == Commit::Won)
                    }
                }
            }
        });
        let results = results.await?.into_iter().collect::<Result<Vec<_>, Violation>>()?;
        ensure!(results[0], "the only commit to an account did not win");
        let read = there(stores[1].as_ref(), &new).await?;
        let claimed = Message { sending: new.sending.claimed(until()), ..new.clone() };
        ensure!(
            read.value == new || read.value == claimed,
            "a message that took the place of another is lost: {:?}",
            read.value
        );
        // Versions that the old message had: 2 after a claim or a swap, otherwise 1.
        let had = if results[1..].contains(&true) { Version(2) } else { Version(1) };
        ensure!(read.version > had, "a message that took the place of another is lost at {:?}", read.version);
    }
    Ok(())
}

/// Of concurrent commits at one version, each with a message of its own and one whose id all share, the
/// winner puts its messages and no other does.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn of_many_commits_one_puts_its_message(stores: &Stores) -> Result<(), Violation> {
    const CHECK: &str = "outbox-commits";
    const TASKS: usize = 16;
    for round in 0..rounds(4_u32, 10) {
        let account = key(CHECK, &format!("user-{round}"));
        let messages: Vec<_> = (round * 100..).take(TASKS).map(|n| message(CHECK, n)).collect();
        let own: Vec<_> =
            messages.into_iter().map(|message| Message { account: account.clone(), ..message }).collect();
        let common = Message { account: account.clone(), ..message(CHECK, round * 100 + 99) };
        let common = |n: usize| with_content(&common, &n.to_string());
        let Versioned { value, version } = stores[0].load(&account).await?;
        let deltas: Vec<_> = own
            .iter()
            .zip(0_usize..)
            .map(|(own, n)| {
                delta(&value, &account, |draft| {
                    draft.message(own.clone());
                    draft.message(common(n));
                })
            })
            .collect();
        let commits = together(TASKS, |n| {
            let (store, account, delta) = (Arc::clone(&stores[n % 2]), account.clone(), deltas[n].clone());
            async move { store.commit(&account, version, &delta).await }
        });
        let commits = commits.await?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut put = Vec::new();
        for (own, n) in own.iter().zip(0_usize..) {
            if outbox(stores[1].as_ref())?.message(&account.tenant, own.id).await?.is_some() {
                put.push(n);
            }
        }
        ensure!(put.len() == 1, "{} of {TASKS} commits at one version have put a message", put.len());
        ensure!(commits[put[0]] == Commit::Won, "a commit that did not win put a message");
        for store in stores {
            unchanged(store.as_ref(), &common(put[0])).await?;
        }
    }
    Ok(())
}

async fn swap(
    store: &dyn AccountStore,
    message: &Message,
    expected: Version,
    next: &Sending,
) -> Result<Commit, Violation> {
    Ok(outbox(store)?.swap(&message.account.tenant, message.id, expected, next).await?)
}
