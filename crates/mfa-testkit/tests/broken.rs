//! Stores that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::account::{Drift, KeptAnswers};
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountQuery, AccountStore, Commit, EventPage, EventPosition, EventQuery,
    Outbox, StoreError,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Authenticator, Data, Delta, FactorState, Handle, HandleChange, KeyId,
    StoredFactor, TenantId, Timestamp, UserId, Version, Versioned,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::account_store::race;
use mfa_testkit::{Violation, account_store, changes};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    // What is read.
    FactorsReversed,
    LabelsTrimmedToAscii,
    DriftForgotten,
    LastUseForgotten,
    LastStepForgotten,
    ReplacesForgotten,
    SpentCodesForgotten,
    SecretsCut,
    RecentFailuresForgotten,
    ForgivenForgotten,
    ProofForgotten,
    AnswersForgotten,
    TheLastAnswerStays,
    AccountDataForgotten,
    UnknownDataCut,
    HandlesForgotten,
    HandlesOfOthersAreTaken,
    HandlesOfOthersAreReleased,
    HandlesOfEveryTenant,
    TakenHandlesChangeTheRest,
    SecondsOnly,
    ThirtyTwoBitTimes,
    PendingFactorsTidiedUp,
    LastStepForgottenWithBackupCodes,
    VersionsStartAgainAfterErasure,
    // What is written.
    EveryCommitWins,
    NewAccountsAreNotGuarded,
    ConflictsAreWrittenToo,
    TenantsShareUsers,
    UsersWithoutCase,
    // What is paged.
    EventsForgotten,
    EventsRepeated,
    EventsOfEveryTenant,
    EventsOfEveryUser,
    EventsNewestFirst,
    EventPagesTooLong,
    EventPagesEndTooSoon,
    EventsWithoutFactor,
    EventDetailForgotten,
    AccountsNewestFirst,
    AccountsInCaselessOrder,
    AccountPagesEndTooSoon,
    AccountPagesPassOverSome,
    AccountPagesRepeatTheLast,
    AccountHeadsForgotten,
    AccountsWithoutOldEventsToo,
    // What is removed.
    BasesForgotten,
    TrimsAreNotMade,
    TrimsAreNotGuarded,
    TrimsChangeTheVersion,
    AccountsOfThatKeyToo,
    AccountsWithoutSecretsToo,
    OneKeyInUse,
    KeysInUseForever,
    MessagesAreDropped,
    // What only shows to many callers.
    ReadsAreTorn,
    ReadsAreStale,
    ReadsWithoutBackupCodesAreTorn,
    ReadsWithoutBackupCodesAreStale,
    EventsAppearLate,
}

use Wrong::*;

const FOR_ONE_CALLER: [Wrong; 54] = [
    FactorsReversed,
    LabelsTrimmedToAscii,
    DriftForgotten,
    LastUseForgotten,
    LastStepForgotten,
    ReplacesForgotten,
    SpentCodesForgotten,
    SecretsCut,
    RecentFailuresForgotten,
    ForgivenForgotten,
    ProofForgotten,
    AnswersForgotten,
    TheLastAnswerStays,
    AccountDataForgotten,
    UnknownDataCut,
    HandlesForgotten,
    HandlesOfOthersAreTaken,
    HandlesOfOthersAreReleased,
    HandlesOfEveryTenant,
    TakenHandlesChangeTheRest,
    SecondsOnly,
    ThirtyTwoBitTimes,
    LastStepForgottenWithBackupCodes,
    VersionsStartAgainAfterErasure,
    EveryCommitWins,
    NewAccountsAreNotGuarded,
    ConflictsAreWrittenToo,
    TenantsShareUsers,
    UsersWithoutCase,
    EventsForgotten,
    EventsRepeated,
    EventsOfEveryTenant,
    EventsOfEveryUser,
    EventsNewestFirst,
    EventPagesTooLong,
    EventPagesEndTooSoon,
    EventsWithoutFactor,
    EventDetailForgotten,
    AccountsNewestFirst,
    AccountsInCaselessOrder,
    AccountPagesEndTooSoon,
    AccountPagesPassOverSome,
    AccountPagesRepeatTheLast,
    AccountHeadsForgotten,
    AccountsWithoutOldEventsToo,
    BasesForgotten,
    TrimsAreNotMade,
    TrimsAreNotGuarded,
    TrimsChangeTheVersion,
    AccountsOfThatKeyToo,
    AccountsWithoutSecretsToo,
    OneKeyInUse,
    KeysInUseForever,
    MessagesAreDropped,
];

#[tokio::test]
async fn whatever_is_wrong_for_one_caller_is_found() {
    let mut missed = Vec::new();
    for wrong in FOR_ONE_CALLER {
        if account_store::basic(&BrokenStore::new(wrong)).await.is_ok() {
            missed.push(wrong);
        }
    }
    assert_eq!(missed, [], "the basic suite does not find these");
}

#[tokio::test]
async fn where_nothing_is_wrong_nothing_is_found() -> Result<(), Violation> {
    account_store::basic(&BrokenStore::new(Nothing)).await?;
    account_store::time(&BrokenStore::new(Nothing)).await
}

#[tokio::test]
async fn a_store_that_has_a_clock_is_found_by_the_time_suite() {
    for wrong in [SecondsOnly, ThirtyTwoBitTimes, PendingFactorsTidiedUp] {
        let time = account_store::time(&BrokenStore::new(wrong)).await;
        assert!(time.is_err(), "the time suite does not find {wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_and_stale_reads_and_late_events_are_found() {
    let stores = |wrong| -> race::Stores {
        let store = Arc::new(BrokenStore::new(wrong));
        [store.clone(), store]
    };
    for wrong in [ReadsAreTorn, ReadsWithoutBackupCodesAreTorn] {
        let violation = found(async || race::reads_are_whole_and_fresh(&stores(wrong)).await).await;
        assert!(violation.to_string().contains("parts of different versions"), "{violation}");
    }
    for wrong in [ReadsAreStale, ReadsWithoutBackupCodesAreStale] {
        let violation = found(async || race::reads_are_whole_and_fresh(&stores(wrong)).await).await;
        assert!(violation.to_string().contains("was read after version"), "{violation}");
    }
    let violation =
        found(async || race::no_event_appears_behind_a_page(&stores(EventsAppearLate)).await).await;
    assert!(violation.to_string().contains("a paging reader saw"), "{violation}");
}

/// What is found in one of a few races: not every one meets what is wrong.
async fn found(race: impl AsyncFn() -> Result<(), Violation>) -> Violation {
    for _ in 0..10 {
        if let Err(violation) = race().await {
            return violation;
        }
    }
    panic!("nothing is found");
}

#[derive(Debug)]
struct BrokenStore {
    wrong: Wrong,
    inner: MemoryStore,
    seen: Mutex<Seen>,
}

/// What the store saw before, for those that get it wrong by memory.
#[derive(Debug, Default)]
struct Seen {
    accounts: BTreeMap<(AccountKey, Read), Versioned<Account>>,
    erased_at: BTreeMap<AccountKey, u64>,
    keys: BTreeSet<KeyId>,
    hidden: BTreeSet<EventPosition>,
}

/// In which of the two ways an account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    Whole,
    WithoutBackupCodes,
}

impl BrokenStore {
    /// Takes the handles of a delta away from those to whom they lead.
    async fn release_for_others(&self, tenant: &TenantId, delta: &Delta) -> Result<(), StoreError> {
        for change in delta.handles() {
            let (HandleChange::Claim(handle) | HandleChange::Release(handle)) = change;
            let Some(owner) = self.inner.find(tenant, handle).await? else { continue };
            if self.wrong == HandlesOfOthersAreReleased && matches!(change, HandleChange::Claim(_)) {
                continue;
            }
            let account = self.inner.load(&owner).await?;
            let released = changes::delta(&account.value, &owner, |draft| draft.release(handle.clone()));
            let _ = self.inner.commit(&owner, account.version, &released).await?;
        }
        Ok(())
    }

    fn new(wrong: Wrong) -> Self {
        Self { wrong, inner: MemoryStore::default(), seen: Mutex::default() }
    }

    /// The key under which an account is kept.
    fn key(&self, key: &AccountKey) -> AccountKey {
        match self.wrong {
            TenantsShareUsers => AccountKey::new(TenantId::new("all").unwrap(), key.user.clone()),
            UsersWithoutCase => {
                let user = key.user.as_str().to_lowercase();
                AccountKey::new(key.tenant.clone(), UserId::new(&user).unwrap())
            }
            _ => key.clone(),
        }
    }

    async fn read(&self, key: &AccountKey, way: Read) -> Result<Versioned<Account>, StoreError> {
        let mut read = self.inner.load(&self.key(key)).await?;
        self.distort(&mut read.value);
        let mut seen = self.seen.lock().unwrap();
        if self.wrong == VersionsStartAgainAfterErasure {
            read.version.0 -= seen.erased_at.get(key).copied().unwrap_or_default();
        }
        let before = seen.accounts.insert((key.clone(), way), read.clone());
        match (self.wrong, way, before) {
            (ReadsAreTorn, Read::Whole, Some(before))
            | (ReadsWithoutBackupCodesAreTorn, Read::WithoutBackupCodes, Some(before)) => {
                read.value.attempts = before.value.attempts;
                Ok(read)
            }
            (ReadsAreStale, Read::Whole, Some(before))
            | (ReadsWithoutBackupCodesAreStale, Read::WithoutBackupCodes, Some(before)) => Ok(before),
            (TheLastAnswerStays, _, Some(before)) if read.value.answers.is_empty() => {
                read.value.answers = before.value.answers;
                Ok(read)
            }
            _ => Ok(read),
        }
    }

    fn distort_time(&self, time: Timestamp) -> Timestamp {
        match self.wrong {
            SecondsOnly => Timestamp::from_unix_seconds(time.unix_seconds()),
            ThirtyTwoBitTimes => Timestamp::from_unix_seconds(time.unix_seconds().min(u32::MAX.into())),
            _ => time,
        }
    }

    fn distort(&self, account: &mut Account) {
        match self.wrong {
            FactorsReversed => account.factors.reverse(),
            SpentCodesForgotten => {
                let codes = account.backup_codes.iter_mut().flat_map(|set| &mut set.codes);
                codes.for_each(|code| code.spent_at = None);
            }
            RecentFailuresForgotten => account.attempts.recent.clear(),
            BasesForgotten => account.audit_base = AuditHead::default(),
            AnswersForgotten => account.answers = KeptAnswers::default(),
            AccountDataForgotten => account.data = Data::default(),
            ForgivenForgotten => account.attempts.forgiven = 0,
            ProofForgotten => account.attempts.verified.medium = None,
            PendingFactorsTidiedUp => {
                let long_ago = Timestamp::from_unix_seconds(1_700_000_000);
                account.factors.retain(|factor| !factor.is_expired(long_ago));
            }
            _ => {}
        }
        if let Some(at) = &mut account.attempts.verified.low {
            *at = self.distort_time(*at);
        }
        for factor in &mut account.factors {
            factor.created_at = self.distort_time(factor.created_at);
            match self.wrong {
                LabelsTrimmedToAscii => {
                    let ascii: String = factor.label.as_str().chars().filter(char::is_ascii).collect();
                    factor.label = mfa_domain::Label::new(&format!("{ascii}.")).unwrap();
                }
                LastUseForgotten => factor.last_used_at = None,
                ReplacesForgotten => {
                    if let FactorState::Pending { replaces, .. } = &mut factor.state {
                        *replaces = None;
                    }
                }
                _ => {}
            }
            if self.wrong == SecretsCut
                && let Some(sealed) = &mut factor.sealed
            {
                sealed.bytes.truncate(64);
            }
            if self.wrong == UnknownDataCut && matches!(factor.authenticator, Authenticator::Unknown(_)) {
                let data = Data::new(r#"{"v":7}"#);
                *factor = StoredFactor { data, ..StoredFactor::of(factor) }.read().unwrap();
            }
            match (&mut factor.authenticator, self.wrong) {
                (Authenticator::Totp(device), DriftForgotten) => device.drift = Drift::default(),
                (Authenticator::Totp(device), LastStepForgotten) => device.last_step = None,
                _ => {}
            }
        }
    }
}

#[async_trait]
impl AccountStore for BrokenStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.read(key, Read::Whole).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        let mut read = self.read(key, Read::WithoutBackupCodes).await?;
        if self.wrong == LastStepForgottenWithBackupCodes {
            read.value.backup_codes = None;
            for factor in &mut read.value.factors {
                if let Authenticator::Totp(device) = &mut factor.authenticator {
                    device.last_step = None;
                }
            }
        }
        Ok(read)
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let stored = self.inner.load(&self.key(key)).await?.version;
        let erased_at = self.seen.lock().unwrap().erased_at.get(key).copied().unwrap_or_default();
        let expected = match self.wrong {
            EveryCommitWins => stored,
            NewAccountsAreNotGuarded if stored == Version(0) => stored,
            VersionsStartAgainAfterErasure => Version(expected.0 + erased_at),
            _ => expected,
        };
        let commit = self.inner.commit(&self.key(key), expected, delta).await?;
        if commit == Commit::Conflict && self.wrong == ConflictsAreWrittenToo {
            let _ = self.inner.commit(&self.key(key), stored, delta).await?;
        }
        let commit = match (commit, self.wrong) {
            (Commit::HandleTaken, HandlesOfOthersAreTaken) => {
                self.release_for_others(&key.tenant, delta).await?;
                self.inner.commit(&self.key(key), expected, delta).await?
            }
            (Commit::HandleTaken, TakenHandlesChangeTheRest) => {
                let account = self.inner.load(key).await?;
                let rest = changes::delta(&account.value, key, |draft| draft.attempts().fail(changes::now()));
                let _ = self.inner.commit(key, account.version, &rest).await?;
                commit
            }
            (Commit::Won, HandlesOfOthersAreReleased) => {
                self.release_for_others(&key.tenant, delta).await?;
                commit
            }
            _ => commit,
        };
        let account = self.inner.load(&self.key(key)).await?;
        let mut seen = self.seen.lock().unwrap();
        let keys =
            account.value.factors.iter().filter_map(|factor| Some(factor.sealed.as_ref()?.key.clone()));
        seen.keys.extend(keys);
        if account.value.factors.is_empty() && account.value.backup_codes.is_none() {
            seen.erased_at.insert(key.clone(), account.version.0);
        }
        Ok(commit)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let found = self.inner.find(tenant, handle).await?;
        match self.wrong {
            HandlesForgotten => Ok(None),
            HandlesOfEveryTenant if found.is_none() => {
                self.inner.find(&TenantId::new("handles").unwrap(), handle).await
            }
            _ => Ok(found),
        }
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let not_sealed_with = match self.wrong {
            AccountsOfThatKeyToo | AccountsWithoutSecretsToo => None,
            _ => query.not_sealed_with.clone(),
        };
        let second_event_before =
            query.second_event_before.filter(|_| self.wrong != AccountsWithoutOldEventsToo);
        let inner = AccountQuery { not_sealed_with, second_event_before, ..query.clone() };
        let mut page = self.inner.page(&inner).await?;
        match self.wrong {
            AccountsNewestFirst => page.accounts.reverse(),
            AccountsInCaselessOrder => {
                page.accounts.sort_by_key(|entry| entry.key.user.as_str().to_lowercase());
            }
            AccountPagesEndTooSoon => page.next = None,
            AccountPagesPassOverSome if page.accounts.len() > 1 => drop(page.accounts.remove(0)),
            AccountPagesRepeatTheLast => {
                let id = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                let again = query.after.clone().map(|place| AccountEntry {
                    key: AccountKey::new(
                        TenantId::new(&id(place.tenant)).unwrap(),
                        UserId::new(&id(place.user)).unwrap(),
                    ),
                    audit_head: AuditHead::default(),
                    audit_base: AuditHead::default(),
                });
                page.accounts.splice(..0, again).for_each(drop);
            }
            AccountHeadsForgotten => {
                page.accounts.iter_mut().for_each(|entry| entry.audit_head = AuditHead::default());
            }
            AccountsOfThatKeyToo if query.not_sealed_with.is_some() => {
                let mut sealed = Vec::new();
                for entry in page.accounts {
                    if !self.inner.load(&entry.key).await?.value.factors.is_empty() {
                        sealed.push(entry);
                    }
                }
                page.accounts = sealed;
            }
            _ => {}
        }
        Ok(page)
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let key = query.user.clone().map(|user| self.key(&AccountKey::new(query.tenant.clone(), user)));
        let mut inner = query.clone();
        if let Some(key) = key {
            (inner.tenant, inner.user) = (key.tenant, Some(key.user));
        }
        match self.wrong {
            EventsOfEveryUser => inner.user = None,
            EventPagesTooLong => inner.limit += 1,
            _ => {}
        }
        let mut page = self.inner.events(&inner).await?;
        let events = &mut page.events;
        match self.wrong {
            EventsForgotten => events.retain(|recorded| recorded.event.sequence != 2),
            EventsRepeated => events.extend(events.last().cloned()),
            EventsNewestFirst => events.reverse(),
            EventPagesEndTooSoon => page.more = false,
            EventsWithoutFactor => events.iter_mut().for_each(|recorded| recorded.event.factor = None),
            EventDetailForgotten => events.iter_mut().for_each(|recorded| recorded.event.detail.clear()),
            EventsOfEveryTenant if query.user.is_none() => {
                for other in ["events", "own-events-2"] {
                    let tenant = TenantId::new(other).unwrap();
                    events.extend(self.inner.events(&EventQuery { tenant, ..query.clone() }).await?.events);
                }
                events.sort_by_key(|recorded| recorded.position);
                events.truncate(query.limit as usize);
            }
            EventsAppearLate => {
                // Every second event is in a transaction that is not over yet when it is first seen.
                let mut seen = self.seen.lock().unwrap();
                events.retain(|recorded| {
                    recorded.position.0 % 2 == 0 || !seen.hidden.insert(recorded.position)
                });
            }
            _ => {}
        }
        Ok(page)
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        match self.wrong {
            TrimsAreNotMade => return Ok(Commit::Won),
            TrimsAreNotGuarded => {
                let stored = self.inner.load(key).await?.value.audit_base;
                return self.inner.trim(key, stored, to).await;
            }
            TrimsChangeTheVersion => {
                let read = self.inner.load(key).await?;
                let delta = mfa_testkit::changes::delta(&read.value, key, |_| ());
                let _ = self.inner.commit(key, read.version, &delta).await?;
            }
            _ => {}
        }
        self.inner.trim(key, from, to).await
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        self.inner.outbox().filter(|_| self.wrong != MessagesAreDropped)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let mut keys = self.inner.keys_in_use().await?;
        match self.wrong {
            OneKeyInUse => keys.truncate(1),
            KeysInUseForever => keys = self.seen.lock().unwrap().keys.iter().cloned().collect(),
            _ => {}
        }
        Ok(keys)
    }
}
