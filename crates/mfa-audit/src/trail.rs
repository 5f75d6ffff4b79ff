//! Verification of the trail: every chain is compared with its account and with a checkpoint.

use std::pin::pin;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use mfa_domain::ports::{AccountPlace, AccountStore, Clock, StoreError, UnreadableAccount};
use thiserror::Error;

use crate::checkpoint::{Accounts, Checkpoint, CheckpointError, Then};
use crate::retention::Horizon;
use crate::walk::{Found, Walk, place};

mod chain;
mod finding;

pub use finding::{Finding, Wrong};

use chain::Removal;

/// Chains that are followed at the same time: most of that time is waiting for the store.
const AT_ONCE: usize = 8;

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of accounts.
    pub accounts: u64,
    /// Number of correct events.
    pub events: u64,
}

/// Receives progress and findings. A `Vec<Finding>` collects the findings.
pub trait Watch {
    /// One more account was checked.
    fn checked(&mut self);
    /// A defect was found. There is at most one finding per account.
    fn found(&mut self, finding: Finding);
}

impl Watch for Vec<Finding> {
    fn checked(&mut self) {}

    fn found(&mut self, finding: Finding) {
        self.push(finding);
    }
}

/// A checkpoint to compare chains with.
#[derive(Debug)]
pub struct Against<'a> {
    /// The state of the accounts at one time.
    pub checkpoint: &'a mut Checkpoint,
    /// The time before which retention may have removed events since then; `None` if nothing may be missing.
    pub pruned: Option<Horizon>,
    /// Supplies the current time, for the age of events.
    pub clock: &'a dyn Clock,
}

/// Why the verification was not completed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The store failed to list accounts.
    #[error("accounts cannot be read")]
    Accounts(#[source] StoreError),
    /// The store failed to load an account or to list its events.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint could not be read again, or was changed since it was opened.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Checks every chain, and passes findings to `watch`. Accounts and checkpoint are both read in key order, so
/// only a few of each are in memory at a time.
///
/// Events that are appended or removed by retention meanwhile cause no finding: an account is read after its
/// events, and everything in a checkpoint existed before.
///
/// # Errors
/// [`VerifyError`] if the store or the checkpoint fails. Altered data that cannot be read is a finding, not
/// an error.
pub async fn verify(
    accounts: &dyn AccountStore,
    against: Option<Against<'_>>,
    watch: &mut (dyn Watch + Send),
) -> Result<Checked, VerifyError> {
    let (removal, checkpoint) = match against {
        Some(Against { checkpoint, pruned, clock }) => {
            let removal = Removal { checkpoint: checkpoint.begun_at(), pruned, clock };
            (Some(removal), Some(checkpoint.read()?))
        }
        None => (None, None),
    };
    let pairs = Pairs { walk: Walk::over(accounts), checkpoint, now: None, then: None };
    let pairs = stream::try_unfold(pairs, async |mut pairs| {
        let next = pairs.next().await?;
        Ok::<_, VerifyError>(next.map(|pair| (pair, pairs)))
    });
    // The compiler needs the box to see that it is `Send`.
    let pairs = pairs.boxed();
    let mut chains = pin!(pairs.map_ok(|pair| check_pair(accounts, pair, removal)).try_buffered(AT_ONCE));
    let mut checked = Checked::default();
    while let Some((events, finding)) = chains.try_next().await? {
        if let Some(events) = events {
            checked.accounts += 1;
            checked.events += events;
            watch.checked();
        }
        if let Some(finding) = finding {
            watch.found(finding);
        }
    }
    Ok(checked)
}

/// An account now and at the checkpoint; one of them may be missing.
struct Pair {
    now: Option<Found>,
    then: Option<Then>,
}

/// Iterates over accounts and checkpoint side by side.
struct Pairs<'a> {
    walk: Walk<'a>,
    checkpoint: Option<Accounts<'a>>,
    now: Option<Found>,
    then: Option<Then>,
}

impl Pairs<'_> {
    async fn next(&mut self) -> Result<Option<Pair>, VerifyError> {
        if self.now.is_none() {
            self.now = self.walk.next().await.map_err(VerifyError::Accounts)?;
        }
        if let (None, Some(checkpoint)) = (&self.then, &mut self.checkpoint) {
            self.then = checkpoint.next()?;
        }
        let now = self.now.as_ref().map(place);
        let then = self.then.as_ref().map(|then| AccountPlace::from(&then.key));
        let Some(first) = now.iter().chain(&then).min().cloned() else { return Ok(None) };
        let now = self.now.take_if(|_| now.as_ref() == Some(&first));
        let then = self.then.take_if(|_| then.as_ref() == Some(&first));
        Ok(Some(Pair { now, then }))
    }
}

/// Checks one account: the number of correct events, if the account exists, and the finding.
async fn check_pair(
    accounts: &dyn AccountStore,
    Pair { now, then }: Pair,
    removal: Option<Removal<'_>>,
) -> Result<(Option<u64>, Option<Finding>), VerifyError> {
    let now = match now {
        Some(Ok(now)) => now,
        Some(Err(UnreadableAccount { place, .. })) => {
            return Ok((Some(0), Some(Finding { place, sequence: 0, what: Wrong::AccountUnreadable })));
        }
        None => {
            let gone = |then: Then| Finding {
                place: AccountPlace::from(&then.key),
                sequence: then.head.sequence,
                what: Wrong::AccountGone,
            };
            return Ok((None, then.map(gone)));
        }
    };
    let (events, wrong) = chain::check(accounts, &now, then.as_ref(), removal).await?;
    let place = AccountPlace::from(&now.key);
    Ok((Some(events), wrong.map(|(sequence, what)| Finding { place, sequence, what })))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use mfa_crypto::SigningKey;
    use mfa_domain::Timestamp;
    use mfa_domain::ports::SystemClock;
    use mfa_domain::ports::SystemEntropy;
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::changes::{happen, key};
    use mfa_testkit::{FakeVault, ManualClock};

    use super::*;
    use crate::checkpoint::{self, Plan};
    use crate::export::{self, Selection};
    use crate::retention::{Mode, Old, prune};

    const DAY: u64 = 24 * 60 * 60;

    /// A store with events of alice at these times.
    async fn store(times: impl IntoIterator<Item = u64>) -> MemoryStore {
        let store = MemoryStore::default();
        happen(&store, &key("alice"), times).await.unwrap();
        store
    }

    async fn checkpoint(store: &MemoryStore, now: u64) -> Checkpoint {
        let signing = SigningKey::generate(&SystemEntropy).unwrap();
        let (clock, mut text) = (ManualClock::new(Timestamp::from_unix_seconds(now)), Vec::new());
        let plan = Plan { installation: "test", previous: None };
        checkpoint::write(store, &signing, &clock, plan, &mut text, |_| ()).await.unwrap();
        Checkpoint::open(Cursor::new(text), &signing.public_key(), "test").unwrap()
    }

    /// The findings for alice.
    async fn found(
        store: &MemoryStore,
        checkpoint: &mut Checkpoint,
        pruned: Option<Horizon>,
    ) -> Option<(u64, Wrong)> {
        let against = Against { checkpoint, pruned, clock: &SystemClock };
        let mut findings = Vec::new();
        verify(store, Some(against), &mut findings).await.unwrap();
        assert!(findings.iter().all(|finding| finding.place == AccountPlace::from(&key("alice"))));
        assert!(findings.len() <= 1, "{findings:?}");
        findings.first().map(|finding| (finding.sequence, finding.what))
    }

    #[test]
    fn all_futures_are_send() {
        fn send(_: impl Send) {}
        let (store, vault, signer) =
            (MemoryStore::default(), FakeVault::default(), SigningKey::generate(&SystemEntropy).unwrap());
        let plan = Plan { installation: "test", previous: None };
        send(verify(&store, None, &mut Vec::new()));
        send(prune(&store, Old::than(Timestamp::default()), Mode::Count, || ()));
        send(checkpoint::write(&store, &signer, &SystemClock, plan, &mut Vec::new(), |_| ()));
        send(export::write(&store, &vault, &Selection::default(), &mut Vec::new(), |_| ()));
    }

    #[tokio::test]
    async fn what_differs_from_the_checkpoint_is_found() {
        let mut checkpoint = checkpoint(&store([0, 1, 2]).await, DAY).await;
        for (times, expected) in [
            (vec![0, 1, 2], None),
            (vec![0, 1, 2, 3], None),
            (vec![0, 1], Some((3, Wrong::EndGone))),
            (vec![0, 1, 3], Some((3, Wrong::Rewritten))),
            (vec![1, 1, 2, 3], Some((3, Wrong::Rewritten))),
            (vec![], Some((3, Wrong::AccountGone))),
        ] {
            let store = store(times.clone()).await;
            assert_eq!(found(&store, &mut checkpoint, None).await, expected, "{times:?}");
            // Without the checkpoint the chain holds.
            let mut findings = Vec::new();
            let checked = verify(&store, None, &mut findings).await.unwrap();
            assert_eq!((checked.events, findings), (times.len() as u64, vec![]), "{times:?}");
        }
    }

    #[tokio::test]
    async fn events_may_be_gone_that_were_old_enough() {
        let store = store([0, DAY, 2 * DAY, 3 * DAY]).await;
        let mut checkpoint = checkpoint(&store, 4 * DAY).await;
        let day = |n: u64| Timestamp::from_unix_seconds(n * DAY);
        prune(&store, Old::than(day(2)), Mode::Remove, || ()).await.unwrap();
        let gone = Some((1, Wrong::BeginningGone));
        for (pruned, expected) in [
            (None, gone),
            (Some(Horizon::At(Timestamp::from_unix_seconds(DAY - 3600))), gone),
            (Some(Horizon::At(day(2))), None),
            (Some(Horizon::Behind(Duration::from_hours(24))), None),
            (Some(Horizon::Behind(Duration::MAX)), gone),
        ] {
            assert_eq!(found(&store, &mut checkpoint, pruned).await, expected, "{pruned:?}");
        }
    }
}
