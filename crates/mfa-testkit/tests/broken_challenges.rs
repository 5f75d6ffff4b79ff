//! Stores of challenges that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Clock, Commit, StoreError, SystemClock};
use mfa_domain::{
    Caller, Challenge, ChallengeData, ChallengeId, ChallengeKind, ChallengeState, Progress, Purpose,
    Timestamp, UserId, Version, Versioned,
};
use mfa_store_memory::MemoryChallenges;
use mfa_testkit::challenge_store::race::{self, Stores};
use mfa_testkit::{NaiveChallenges, Violation, challenge_store};

/// What is wrong with a store of challenges.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    DuplicatesReplace,
    DuplicatesMakeAVersion,
    FactorForgotten,
    NewKindsForgotten,
    UsersWithoutCase,
    SecondsOnly,
    ThirtyTwoBitTimes,
    DataCut,
    DataAsText,
    EmptyDataIsNone,
    SixteenBitFailures,
    StateForgotten,
    FailuresForgotten,
    SwapsProlong,
    SwapsResetTheRest,
    VersionsOfContent,
    EverySwapWins,
    LostSwapsAreWritten,
    LostSwapsMakeAVersion,
    SwapsPut,
    PurposeForgotten,
    CallerForgotten,
    NonceForgotten,
    NoncesCut,
    NoNonceIsSome,
    NobodyIsSomebody,
    OverIsGone,
    OverStaysOpen,
    EndsAllOfTheAccount,
    ExpiredAreNotRead,
    ExpiredAreNotSwapped,
    ForgetsAtOnceInPassing,
    ExpiredIdsAreFree,
}

const OF_BASIC: [Wrong; 29] = [
    Wrong::DuplicatesReplace,
    Wrong::DuplicatesMakeAVersion,
    Wrong::FactorForgotten,
    Wrong::NewKindsForgotten,
    Wrong::UsersWithoutCase,
    Wrong::SecondsOnly,
    Wrong::ThirtyTwoBitTimes,
    Wrong::DataCut,
    Wrong::DataAsText,
    Wrong::EmptyDataIsNone,
    Wrong::SixteenBitFailures,
    Wrong::StateForgotten,
    Wrong::FailuresForgotten,
    Wrong::SwapsProlong,
    Wrong::SwapsResetTheRest,
    Wrong::VersionsOfContent,
    Wrong::EverySwapWins,
    Wrong::LostSwapsAreWritten,
    Wrong::LostSwapsMakeAVersion,
    Wrong::SwapsPut,
    Wrong::PurposeForgotten,
    Wrong::CallerForgotten,
    Wrong::NonceForgotten,
    Wrong::NoncesCut,
    Wrong::NoNonceIsSome,
    Wrong::NobodyIsSomebody,
    Wrong::OverIsGone,
    Wrong::OverStaysOpen,
    Wrong::EndsAllOfTheAccount,
];

const OF_TIME: [Wrong; 4] = [
    Wrong::ExpiredAreNotRead,
    Wrong::ExpiredAreNotSwapped,
    Wrong::ForgetsAtOnceInPassing,
    Wrong::ExpiredIdsAreFree,
];

#[tokio::test]
async fn whatever_is_wrong_with_a_store_of_challenges_is_found() {
    for wrong in OF_BASIC {
        let found = challenge_store::basic(&broken(wrong)).await;
        assert!(found.is_err(), "the basic suite does not find {wrong:?}");
    }
    for wrong in OF_TIME {
        let found = challenge_store::time(&broken(wrong)).await;
        assert!(found.is_err(), "the time suite does not find {wrong:?}");
    }
}

#[tokio::test]
async fn where_nothing_is_wrong_nothing_is_found() -> Result<(), Violation> {
    let store = broken(Wrong::Nothing);
    challenge_store::basic(&store).await?;
    challenge_store::time(&store).await
}

#[tokio::test]
async fn for_one_caller_the_naive_store_keeps_the_contract() -> Result<(), Violation> {
    let naive = NaiveChallenges::default();
    challenge_store::basic(&naive).await?;
    challenge_store::time(&naive).await
}

/// One test for each check that must fail the naive store.
macro_rules! must_fail {
    ($($check:ident: $because:literal,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $check() {
            // A few rounds may pass by chance.
            for _ in 0..10 {
                let store = NaiveChallenges::default();
                let stores: Stores = [Arc::new(store.clone()), Arc::new(store)];
                if let Err(violation) = race::$check(&stores).await {
                    assert!(violation.to_string().contains($because), "{violation}");
                    return;
                }
            }
            panic!("the check passed");
        }
    )+};
}

must_fail! {
    one_of_many_ends_it: "one challenge was ended",
    one_swap_wins_each_version: "swaps of one version won",
    every_failure_is_counted: "wrong answers were counted",
    no_swap_brings_back_what_is_over: "swaps of one version won",
    an_id_is_put_by_one_of_many: "puts of one id were answered as made",
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_it_does_not() {
    let naive = NaiveChallenges::default();
    let raced = challenge_store::race(Arc::new(naive.clone()), Arc::new(naive)).await;
    let violation = raced.expect_err("the suite passed").to_string();
    assert!(violation.starts_with("one_of_many_ends_it"), "{violation}");
}

/// Two replicas that keep their challenges to themselves.
#[tokio::test(flavor = "multi_thread")]
async fn challenges_of_each_process_alone_are_found() {
    let stores: Stores = [Arc::new(MemoryChallenges::default()), Arc::new(MemoryChallenges::default())];
    assert!(race::an_id_is_put_by_one_of_many(&stores).await.is_err());
    let violation = race::what_one_does_the_other_sees_at_once(&stores).await.expect_err("the check passed");
    assert!(violation.to_string().contains("is not there"), "{violation}");
}

fn broken(wrong: Wrong) -> Broken {
    Broken { wrong, challenges: Mutex::default() }
}

#[derive(Debug)]
struct Broken {
    wrong: Wrong,
    challenges: Mutex<BTreeMap<ChallengeId, Versioned<Challenge>>>,
}

impl Broken {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }

    /// What such a store makes of what it is to keep.
    fn distort(&self, challenge: &mut Challenge) {
        let seconds = |time: Timestamp| Timestamp::from_unix_seconds(time.unix_seconds());
        match self.wrong {
            Wrong::FactorForgotten => challenge.factor = None,
            Wrong::NewKindsForgotten => {
                if let ChallengeKind::Other(_) = challenge.kind {
                    challenge.kind = ChallengeKind::Other("unknown".to_owned());
                }
            }
            Wrong::UsersWithoutCase => {
                let user = challenge.user.as_ref().map(|user| user.as_str().to_lowercase());
                challenge.user = user.map(|user| UserId::new(&user).unwrap());
            }
            Wrong::NobodyIsSomebody if challenge.user.is_none() => {
                challenge.user = UserId::new("nobody").ok();
            }
            Wrong::PurposeForgotten => challenge.purpose = Purpose::Verify,
            Wrong::CallerForgotten => challenge.caller = Caller::new("unknown"),
            Wrong::NonceForgotten => challenge.nonce = None,
            Wrong::NoncesCut => {
                let nonce = challenge.nonce.as_ref().map(|nonce| format!("{:.64}", nonce.as_str()));
                challenge.nonce = nonce.map(|cut| cut.parse().unwrap());
            }
            Wrong::NoNonceIsSome if challenge.nonce.is_none() => challenge.nonce = "none".parse().ok(),
            Wrong::SecondsOnly => challenge.created_at = seconds(challenge.created_at),
            Wrong::ThirtyTwoBitTimes => {
                let most = Timestamp::from_unix_seconds(u32::MAX.into());
                challenge.expires_at = challenge.expires_at.min(most);
            }
            _ => self.distort_progress(&mut challenge.progress),
        }
    }

    fn distort_progress(&self, progress: &mut Progress) {
        let bytes = progress.data.as_bytes();
        match self.wrong {
            Wrong::DataCut => {
                progress.data = ChallengeData::new(&bytes[..bytes.len().min(65_535)]).unwrap();
            }
            Wrong::DataAsText => {
                let text = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                progress.data = ChallengeData::new(&text[..text.len().min(65_536)]).unwrap();
            }
            Wrong::EmptyDataIsNone if bytes.is_empty() => progress.data = ChallengeData::new("null").unwrap(),
            Wrong::SixteenBitFailures => progress.failures = progress.failures.min(u16::MAX.into()),
            Wrong::StateForgotten => progress.state = ChallengeState::Open,
            Wrong::FailuresForgotten => progress.failures = 0,
            _ => {}
        }
    }
}

#[async_trait]
impl ChallengeStore for Broken {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let mut challenges = self.challenges.lock().unwrap();
        if self.is(Wrong::ForgetsAtOnceInPassing) {
            challenges.retain(|_, old| !old.value.is_expired(challenge.created_at));
        }
        if let Some(old) = challenges.get_mut(&challenge.id) {
            let free = self.is(Wrong::ExpiredIdsAreFree) && old.value.is_expired(challenge.created_at);
            if self.is(Wrong::DuplicatesMakeAVersion) {
                old.version = old.version.next();
            }
            if !self.is(Wrong::DuplicatesReplace) && !free {
                return Err(StoreError::new("taken"));
            }
        }
        let mut value = challenge.clone();
        self.distort(&mut value);
        challenges.insert(challenge.id, Versioned { value, version: Version(1) });
        Ok(())
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        let found = self.challenges.lock().unwrap().get(id).cloned();
        Ok(found.filter(|found| match self.wrong {
            Wrong::ExpiredAreNotRead => !found.value.is_expired(SystemClock.now()),
            _ => true,
        }))
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        let mut challenges = self.challenges.lock().unwrap();
        let Some(found) = challenges.get(id).cloned() else {
            // As an upsert answers.
            return Ok(if self.is(Wrong::SwapsPut) { Commit::Won } else { Commit::Conflict });
        };
        if self.is(Wrong::ExpiredAreNotSwapped) && found.value.is_expired(SystemClock.now()) {
            return Ok(Commit::Conflict);
        }
        let won = found.version == expected || self.is(Wrong::EverySwapWins);
        let mut value = found.value.clone();
        value.progress = next.clone();
        match self.wrong {
            Wrong::SwapsProlong => {
                value.expires_at = value.expires_at.plus(std::time::Duration::from_mins(1));
            }
            Wrong::SwapsResetTheRest => value.factor = None,
            _ => self.distort(&mut value),
        }
        let version = match self.wrong {
            Wrong::VersionsOfContent => Version(2 + u64::from(next.failures)),
            _ => found.version.next(),
        };
        let over = won && next.state == ChallengeState::Over;
        match self.wrong {
            Wrong::OverIsGone if over => {
                challenges.remove(id);
                return Ok(Commit::Won);
            }
            Wrong::OverStaysOpen if over => value.progress.state = ChallengeState::Open,
            Wrong::EndsAllOfTheAccount if over => {
                for other in challenges.values_mut().filter(|other| other.value.user == value.user) {
                    other.value.progress = next.clone();
                }
            }
            _ => {}
        }
        if won || self.is(Wrong::LostSwapsAreWritten) {
            challenges.insert(*id, Versioned { value, version });
        } else if self.is(Wrong::LostSwapsMakeAVersion) {
            challenges.insert(*id, Versioned { value: found.value, version });
        }
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }
}
