//! The contract for concurrent callers. `stores` are two handles on the same store.
//!
//! Each check is public, so that a store author can repeat one that fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Clock, Commit, EventQuery};
use mfa_domain::{
    Account, AccountKey, Actor, AuditHead, Authenticator, CodeRejection, EventKind, Factor, Mfa, TenantId,
    Verdict, Versioned,
};

use super::handles::handle;
use super::samples::hotp;
use super::subject::{chain, delta, key, now, walk};
use crate::race::{rounds, together};
use crate::violation::run;
use crate::{HotpUser, ManualClock, TotpUser, Violation, ensure, ports, submitted};

/// Two handles on one store.
pub type Stores = [Arc<dyn AccountStore>; 2];

pub(super) async fn race(stores: &Stores) -> Result<(), Violation> {
    run![
        one_commit_wins_each_version(stores),
        reads_are_whole_and_fresh(stores),
        no_event_appears_behind_a_page(stores),
        one_trim_wins_and_the_chain_goes_on(stores),
        one_account_wins_each_handle(stores),
        a_totp_code_is_accepted_once(stores),
        an_hotp_code_is_accepted_once(stores),
        a_backup_code_is_accepted_once(stores),
        backup_codes_at_the_same_time_are_all_spent(stores),
        logins_that_are_posted_twice_cost_nothing(stores),
        every_wrong_code_is_counted(stores),
    ]
}

/// Of concurrent commits at one version exactly one wins, and the store contains that one.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_commit_wins_each_version(stores: &Stores) -> Result<(), Violation> {
    const TASKS: usize = 16;
    for account in 0..rounds(2, 3) {
        let key = key("one-wins", &format!("user-{account}"));
        let mut model = Versioned::<Account>::default();
        // The first round races to create the account.
        for _ in 0..rounds(5, 10) {
            let deltas: Vec<_> = (1..=TASKS)
                .map(|n| {
                    delta(&model.value, &key, now(), |draft| {
                        draft.put(with_counter(n as u64));
                        draft.record(EventKind::Verified, None, [("task", n.to_string())]);
                    })
                })
                .collect();
            let commits = together(TASKS, |n| {
                let (store, key, delta) = (Arc::clone(&stores[n % 2]), key.clone(), deltas[n].clone());
                let expected = model.version;
                async move { store.commit(&key, expected, &delta).await }
            })
            .await?;
            let mut winners = Vec::new();
            for (commit, delta) in commits.into_iter().zip(&deltas) {
                if commit? == Commit::Won {
                    winners.push(delta);
                }
            }
            let [winner] = winners[..] else {
                return Err(Violation::new(format!(
                    "{} of {TASKS} commits at one version won",
                    winners.len()
                )));
            };
            model.value.apply(winner);
            model.version = model.version.next();
            for store in stores {
                ensure!(store.load(&key).await? == model, "the store does not contain the commit that won");
            }
        }
        chain(stores[0].as_ref(), &key).await?;
    }
    Ok(())
}

/// A read returns one state, never parts of two, and none older than a commit that was answered before the
/// read.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn reads_are_whole_and_fresh(stores: &Stores) -> Result<(), Violation> {
    let commits = rounds(40, 100);
    let key = key("whole", "alice");
    let done = Arc::new(AtomicBool::new(false));
    let results = together(4, |n| {
        let (store, other) = (Arc::clone(&stores[n % 2]), Arc::clone(&stores[(n + 1) % 2]));
        let (key, done) = (key.clone(), Arc::clone(&done));
        async move {
            if n == 0 {
                let written = count_up(store.as_ref(), other.as_ref(), &key, commits).await;
                done.store(true, Ordering::SeqCst);
                return written;
            }
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                for read in [store.load(&key).await?, store.load_without_backup_codes(&key).await?] {
                    let version = counted(&read)?;
                    ensure!(version >= last, "version {version} was read after version {last}");
                    last = version;
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    })
    .await?;
    results.into_iter().collect()
}

/// A reader that pages along while others write sees every event exactly once.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn no_event_appears_behind_a_page(stores: &Stores) -> Result<(), Violation> {
    const WRITERS: usize = 8;
    let commits = rounds(10, 20);
    let tenant = TenantId::new("behind").unwrap();
    let writing = Arc::new(AtomicBool::new(true));
    let follower = {
        let (store, tenant, writing) = (Arc::clone(&stores[1]), tenant.clone(), Arc::clone(&writing));
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let last_look = !writing.load(Ordering::SeqCst);
                let after = seen.last().copied();
                let query = EventQuery { tenant: tenant.clone(), user: None, after, limit: 3 };
                let page = store.events(&query).await?;
                let caught_up = page.events.is_empty();
                seen.extend(page.events.into_iter().map(|recorded| recorded.position));
                if last_look && caught_up {
                    return Ok::<_, Violation>(seen);
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let written = together(WRITERS, |n| {
        let (store, key) = (Arc::clone(&stores[n % 2]), key(tenant.as_str(), &format!("user-{n}")));
        async move { count_up(store.as_ref(), store.as_ref(), &key, commits).await }
    })
    .await;
    writing.store(false, Ordering::SeqCst);
    let seen = follower.await??;
    written?.into_iter().collect::<Result<(), _>>()?;
    let there: Vec<_> = walk(stores[0].as_ref(), &tenant, None, 1000).await?;
    let there: Vec<_> = there.into_iter().map(|recorded| recorded.position).collect();
    ensure!(seen == there, "of {} events, a paging reader saw {}", there.len(), seen.len());
    Ok(())
}

/// Of concurrent trims of one trail exactly one succeeds, while others append to it.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_trim_wins_and_the_chain_goes_on(stores: &Stores) -> Result<(), Violation> {
    const TASKS: usize = 8;
    for round in 0..rounds(2, 5) {
        let key = key("trim-race", &format!("user-{round}"));
        count_up(stores[0].as_ref(), stores[1].as_ref(), &key, 20).await?;
        let events = chain(stores[0].as_ref(), &key).await?;
        let trims = together(TASKS + 1, |n| {
            let (store, key) = (Arc::clone(&stores[n % 2]), key.clone());
            let from = AuditHead::default();
            let to = events[n + 2].event.head();
            async move {
                if n < TASKS {
                    return Ok(Some(store.trim(&key, from, to).await?));
                }
                for _ in 0..10 {
                    let Versioned { value, version } = store.load(&key).await?;
                    let delta = delta(&value, &key, now(), |_| ());
                    let commit = store.commit(&key, version, &delta).await?;
                    ensure!(commit == Commit::Won, "a trim changed the version");
                }
                Ok(None)
            }
        })
        .await?;
        let trims = trims.into_iter().collect::<Result<Vec<_>, Violation>>()?;
        let won = trims.iter().filter(|trim| **trim == Some(Commit::Won)).count();
        ensure!(won == 1, "{won} of {TASKS} trims of one trail won");
        let winner = trims.iter().position(|trim| *trim == Some(Commit::Won)).unwrap_or_default();
        let kept = chain(stores[1].as_ref(), &key).await?;
        let removed = winner + 3;
        ensure!(
            kept.len() == 30 - removed,
            "{removed} of 30 events were removed, and {} are left",
            kept.len()
        );
    }
    Ok(())
}

/// Of 64 parallel posts of one TOTP code on two replicas exactly one is verified.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_totp_code_is_accepted_once(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    for round in 0..rounds(2, 5) {
        let user = TotpUser::enrol(&replicas.mfas[0], &key("totp-race", &format!("user-{round}"))).await?;
        replicas.clock.advance(Duration::from_secs(30));
        let code = user.code(replicas.clock.now());
        replicas.one_is_verified(&user.key, &vec![code; 64]).await?;
    }
    Ok(())
}

/// Of 64 parallel posts of one HOTP code on two replicas exactly one is verified.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn an_hotp_code_is_accepted_once(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    for round in 0..rounds(2, 5) {
        let user = HotpUser::enrol(&replicas.mfas[0], &key("hotp-race", &format!("user-{round}"))).await?;
        replicas.one_is_verified(&user.key, &vec![user.code(1); 64]).await?;
    }
    Ok(())
}

/// Of 50 parallel uses of one backup code on two replicas exactly one is verified.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_backup_code_is_accepted_once(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    for round in 0..rounds(2, 5) {
        let user = TotpUser::enrol(&replicas.mfas[0], &key("backup-race", &format!("user-{round}"))).await?;
        replicas.one_is_verified(&user.key, &vec![user.backup_codes[3].clone(); 50]).await?;
        let left = stores[0].load(&user.key).await?.value.backup_codes.map_or(0, |set| set.remaining());
        ensure!(left == user.backup_codes.len() - 1, "one code was used, and {left} are left");
    }
    Ok(())
}

/// Different backup codes used at the same time are all accepted and all spent.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn backup_codes_at_the_same_time_are_all_spent(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    for round in 0..rounds(3, 10) {
        let user = TotpUser::enrol(&replicas.mfas[0], &key("two-codes", &format!("user-{round}"))).await?;
        let codes = &user.backup_codes[..4];
        let verdicts = replicas.post(&user.key, codes).await?;
        let verified = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
        ensure!(verified == 4, "of four right codes {verified} were accepted");
        for code in codes {
            let again = replicas.post(&user.key, std::slice::from_ref(code)).await?;
            ensure!(
                again == [Verdict::Rejected(CodeRejection::Replayed { factor: None })],
                "a backup code is still good: {again:?}"
            );
        }
        chain(stores[0].as_ref(), &user.key).await?;
    }
    Ok(())
}

/// Twenty logins that are each posted twice, as forms and password managers do, charge nothing to the budget
/// of failures: a used code is not a guess. A wrong code is charged, before and after.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn logins_that_are_posted_twice_cost_nothing(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    let user = TotpUser::enrol(&replicas.mfas[0], &key("twice", "alice")).await?;
    for login in 0..20 {
        replicas.clock.advance(Duration::from_secs(30));
        let code = match login % 4 {
            3 => user.backup_codes[login / 4].clone(),
            _ => user.code(replicas.clock.now()),
        };
        let verdicts = replicas.post(&user.key, &vec![code; 2]).await?;
        let verified = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
        let replayed = verdicts.iter().filter(|verdict| is_replayed(verdict)).count();
        ensure!(
            (verified, replayed) == (1, 1),
            "of two posts {verified} were accepted and {replayed} found used"
        );
        let replayed = verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::Rejected(CodeRejection::Replayed { factor }) => Some(factor),
            _ => None,
        });
        let recorder = &replicas.mfas[login % 4];
        recorder.record_replay(&user.key, &Actor::user("race"), replayed.flatten()).await?;
    }
    let attempts = stores[1].load(&user.key).await?.value.attempts;
    ensure!(attempts.recent.is_empty(), "{} of twenty used codes were charged", attempts.recent.len());
    let events = chain(stores[0].as_ref(), &user.key).await?;
    let recorded = events.iter().filter(|event| event.event.kind == EventKind::Replayed).count();
    ensure!(recorded == 20, "twenty used codes were recorded, and {recorded} are in the trail");

    let wrong = user.wrong_codes(replicas.clock.now(), 1);
    let verdicts = replicas.post(&user.key, &wrong).await?;
    ensure!(verdicts == [Verdict::Rejected(CodeRejection::Invalid)], "a wrong code: {verdicts:?}");
    let failures = stores[0].load(&user.key).await?.value.attempts.failures;
    ensure!(failures == 1, "one wrong code was evaluated, and {failures} counted");
    Ok(())
}

/// Of 200 parallel wrong codes on two replicas exactly five are evaluated. After that the account is locked,
/// for a right code as well.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn every_wrong_code_is_counted(stores: &Stores) -> Result<(), Violation> {
    let replicas = Replicas::new(stores);
    for round in 0..rounds(1, 3) {
        let user = TotpUser::enrol(&replicas.mfas[0], &key("guessing", &format!("user-{round}"))).await?;
        replicas.clock.advance(Duration::from_secs(30));
        let wrong = user.wrong_codes(replicas.clock.now(), 200);
        let verdicts = replicas.post(&user.key, &wrong).await?;
        let evaluated =
            verdicts.iter().filter(|verdict| **verdict == Verdict::Rejected(CodeRejection::Invalid)).count();
        let locked = verdicts
            .iter()
            .filter(|verdict| matches!(verdict, Verdict::Rejected(CodeRejection::Locked { .. })));
        ensure!(
            evaluated == 5 && locked.count() == 195,
            "{evaluated} of 200 wrong codes were evaluated before the account was locked"
        );
        let events = chain(stores[0].as_ref(), &user.key).await?;
        let counted = events.iter().filter(|event| event.event.kind == EventKind::VerificationFailed).count();
        ensure!(counted == 5, "five wrong codes were evaluated, and {counted} are in the trail");
        let failures = stores[1].load(&user.key).await?.value.attempts.failures;
        ensure!(failures == 5, "five wrong codes were evaluated, and {failures} counted");
        let right = user.code(replicas.clock.now());
        let verdicts = replicas.post(&user.key, &[right]).await?;
        let locked = matches!(verdicts[..], [Verdict::Rejected(CodeRejection::Locked { .. })]);
        ensure!(locked, "a right code on a locked account was not rejected as locked: {verdicts:?}");
    }
    Ok(())
}

/// Use cases as separate processes have them: each has its own queue for an account. There are two per
/// handle, so that commits of one account also compete within one handle.
struct Replicas {
    clock: Arc<ManualClock>,
    mfas: [Arc<Mfa>; 4],
}

impl Replicas {
    fn new([one, other]: &Stores) -> Self {
        let first = ports(Arc::clone(one));
        let second = first.with_accounts(Arc::clone(other));
        let mfas = [first.mfa(), second.mfa(), first.mfa(), second.mfa()];
        Self { mfas: mfas.map(Arc::new), clock: first.clock }
    }

    /// Posts all codes at the same time, alternating between the replicas.
    async fn post(&self, key: &AccountKey, codes: &[String]) -> Result<Vec<Verdict>, Violation> {
        let verdicts = together(codes.len(), |n| {
            let (mfa, key, code) = (Arc::clone(&self.mfas[n % 4]), key.clone(), submitted(&codes[n]));
            async move { mfa.verify(&key, &Actor::user("race"), &code, None).await }
        })
        .await?;
        Ok(verdicts.into_iter().collect::<Result<_, _>>()?)
    }

    /// Posts one code many times at once: one post is verified, the others are rejected as used at no cost,
    /// and the trail records the same.
    async fn one_is_verified(&self, key: &AccountKey, codes: &[String]) -> Result<(), Violation> {
        let verdicts = self.post(key, codes).await?;
        let verified = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
        ensure!(verified == 1, "one code was accepted {verified} times");
        let replayed = verdicts.iter().filter(|verdict| is_replayed(verdict)).count();
        ensure!(
            replayed == codes.len() - 1,
            "only {replayed} of the others were rejected as used: {verdicts:?}"
        );
        let store = self.mfas[0].ports().accounts.as_ref();
        let events = chain(store, key).await?;
        let count = |kind: EventKind| events.iter().filter(|recorded| recorded.event.kind == kind).count();
        ensure!(
            count(EventKind::Verified) == 1,
            "one verification has {} events",
            count(EventKind::Verified)
        );
        let failures = store.load(key).await?.value.attempts.recent.len();
        let failed = count(EventKind::VerificationFailed);
        ensure!(
            (failures, failed) == (0, 0),
            "{failures} used codes were charged, and {failed} recorded as failures"
        );
        Ok(())
    }
}

/// Of concurrent accounts that claim one handle exactly one gets it. After it releases the handle, another
/// can claim it.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn one_account_wins_each_handle(stores: &Stores) -> Result<(), Violation> {
    const TASKS: usize = 16;
    let keys: Vec<_> = (0..TASKS).map(|n| key("one-handle", &format!("user-{n}"))).collect();
    let tenant = &keys[0].tenant;
    for round in 0..rounds(4_u8, 10) {
        let handles = [[round, 0], [round, 1]].map(handle);
        let claims = together(TASKS, |n| {
            let (store, key) = (Arc::clone(&stores[n % 2]), keys[n].clone());
            // Each account claims both handles, in either order.
            let mut handles = handles.clone();
            handles.rotate_left(n / 2 % 2);
            async move {
                let account = store.load(&key).await?;
                let delta = delta(&account.value, &key, now(), |draft| {
                    for handle in handles {
                        draft.claim(handle);
                    }
                });
                store.commit(&key, account.version, &delta).await
            }
        });
        let claims: Vec<_> = claims.await?.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<_> = (0..TASKS).filter(|n| claims[*n] == Commit::Won).collect();
        ensure!(winners.len() == 1, "{winners:?} of {TASKS} accounts won one handle: {claims:?}");
        let taken = claims.iter().filter(|claim| **claim == Commit::HandleTaken).count();
        ensure!(
            taken == TASKS - 1,
            "the losers of a handle were not all answered that it is taken: {claims:?}"
        );
        let winner = &keys[winners[0]];
        for handle in &handles {
            for store in stores {
                let found = store.find(tenant, handle).await?;
                ensure!(
                    found.as_ref() == Some(winner),
                    "{handle:?} leads to {found:?}, but {winner:?} won it"
                );
            }
        }
        let account = stores[0].load(winner).await?;
        let release = delta(&account.value, winner, now(), |draft| {
            for handle in &handles {
                draft.release(handle.clone());
            }
        });
        let released = stores[0].commit(winner, account.version, &release).await?;
        ensure!(released == Commit::Won, "the only writer did not win");
        ensure!(
            stores[1].find(tenant, &handles[0]).await?.is_none(),
            "a released handle still leads to an account"
        );
    }
    Ok(())
}

fn is_replayed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rejected(CodeRejection::Replayed { .. }))
}

/// Changes an account repeatedly so that its version, its failures and its factor's counter are always the
/// same number. The other handle must read that number after each commit.
async fn count_up(
    store: &dyn AccountStore,
    other: &dyn AccountStore,
    key: &AccountKey,
    commits: u32,
) -> Result<(), Violation> {
    let mut model = Versioned::<Account>::default();
    for n in 1..=commits {
        let delta = delta(&model.value, key, now(), |draft| {
            draft.attempts().failures = n;
            draft.put(with_counter(n.into()));
        });
        let commit = store.commit(key, model.version, &delta).await?;
        ensure!(commit == Commit::Won, "the only writer did not win");
        model.value.apply(&delta);
        model.version = model.version.next();
        for read in [other.load(key).await?, other.load_without_backup_codes(key).await?] {
            let read = counted(&read)?;
            ensure!(read == u64::from(n), "version {read} was read after version {n} was committed");
        }
    }
    Ok(())
}

/// The number that [`count_up`] wrote to every field.
fn counted(account: &Versioned<Account>) -> Result<u64, Violation> {
    let version = account.version.0;
    let counters = account.value.factors.iter().map(|factor| match &factor.authenticator {
        Authenticator::Hotp(device) => device.counter,
        _ => 0,
    });
    let numbers = [u64::from(account.value.attempts.failures), account.value.audit_head.sequence];
    let distinct: BTreeSet<_> = counters.chain(numbers).chain([version]).collect();
    ensure!(distinct.len() == 1, "one read gave parts of different versions: {distinct:?}");
    Ok(version)
}

fn with_counter(counter: u64) -> Factor {
    let mut factor = hotp(1, "k1");
    if let Authenticator::Hotp(device) = &mut factor.authenticator {
        device.counter = counter;
    }
    factor
}
