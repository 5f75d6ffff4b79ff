//! Outboxes that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Claimed, Clock, Commit, EventPage, EventQuery, Outbox,
    StoreError, SystemClock,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delta, Handle, KeyId, Message, MessageId, MessageState, Sealed, Sending,
    TenantId, Timestamp, UserId, Version, Versioned,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::outbox::race::{self, Stores};
use mfa_testkit::{Violation, outbox};

/// What is wrong with an outbox.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    NoOutbox,
    // What is put.
    CommitsPutNothing,
    CommitsPutTheFirst,
    ConflictsPutToo,
    TakenHandlesPutToo,
    NothingTakesAPlace,
    TheOldVersionStays,
    VersionsStartAgain,
    TheOldOwnerStays,
    TheOldExpiryStays,
    TheOldStateStays,
    TheOldContentStays,
    TheOldTriesStay,
    TenantsShareIds,
    // What is read.
    UsersWithoutCase,
    SecondsOnly,
    ThirtyTwoBitTimes,
    ThirtyOneBitTries,
    ContentCut,
    ContentAsText,
    EmptyContentIsNone,
    KeyForgotten,
    FailureForgotten,
    FailedIsSent,
    ExpiredAreNotRead,
    // What is claimed.
    NothingIsClaimed,
    OneTooManyIsClaimed,
    LargeLimitsAreNone,
    TheOldestComeFirst,
    ClaimedBeforeTheirTime,
    ClaimedAfterTheirTime,
    TheSentAreClaimed,
    TheFailedAreClaimed,
    ClaimedOnlyOnce,
    ExpiredAreNotClaimed,
    ClaimsGiveWhatWas,
    ClaimsKeepTheVersion,
    ClaimsKeepTheTime,
    ClaimsAreNotCounted,
    TriesStartAgain,
    ClaimsForgetTheFailure,
    ClaimsForgetTheContent,
    ClaimsProlong,
    ClaimsHaveAClock,
    // What is swapped.
    EverySwapWins,
    NewerVersionsSwap,
    LostSwapsAreWritten,
    LostSwapsMakeAVersion,
    SwapsPut,
    SwapsKeepTheVersion,
    SwapsKeepTheState,
    SwapsKeepTheTime,
    SwapsKeepTheTries,
    SwapsKeepTheFailure,
    SwapsKeepTheContent,
    SwapsProlong,
    // What is forgotten.
    ForgetsWhatIsOver,
    ForgetsWhatExpired,
    ForgetsTheQueuedToo,
    ForgetsByItsClock,
}

use Wrong::*;

const OF_BASIC: [Wrong; 52] = [
    NoOutbox,
    CommitsPutNothing,
    CommitsPutTheFirst,
    ConflictsPutToo,
    TakenHandlesPutToo,
    NothingTakesAPlace,
    TheOldVersionStays,
    VersionsStartAgain,
    TheOldOwnerStays,
    TheOldExpiryStays,
    TheOldStateStays,
    TheOldContentStays,
    TheOldTriesStay,
    TenantsShareIds,
    UsersWithoutCase,
    SecondsOnly,
    ThirtyOneBitTries,
    ContentCut,
    ContentAsText,
    EmptyContentIsNone,
    KeyForgotten,
    FailureForgotten,
    FailedIsSent,
    NothingIsClaimed,
    OneTooManyIsClaimed,
    LargeLimitsAreNone,
    TheOldestComeFirst,
    ClaimedBeforeTheirTime,
    ClaimedAfterTheirTime,
    TheSentAreClaimed,
    TheFailedAreClaimed,
    ClaimedOnlyOnce,
    ClaimsGiveWhatWas,
    ClaimsKeepTheVersion,
    ClaimsKeepTheTime,
    ClaimsAreNotCounted,
    TriesStartAgain,
    ClaimsForgetTheFailure,
    ClaimsForgetTheContent,
    ClaimsProlong,
    EverySwapWins,
    NewerVersionsSwap,
    LostSwapsAreWritten,
    LostSwapsMakeAVersion,
    SwapsPut,
    SwapsKeepTheVersion,
    SwapsKeepTheState,
    SwapsKeepTheTime,
    SwapsKeepTheTries,
    SwapsKeepTheFailure,
    SwapsKeepTheContent,
    SwapsProlong,
];

const OF_TIME: [Wrong; 9] = [
    SecondsOnly,
    ThirtyTwoBitTimes,
    ExpiredAreNotRead,
    ExpiredAreNotClaimed,
    ClaimsHaveAClock,
    ForgetsWhatIsOver,
    ForgetsWhatExpired,
    ForgetsTheQueuedToo,
    ForgetsByItsClock,
];

#[tokio::test]
async fn whatever_is_wrong_with_an_outbox_is_found() {
    let mut missed = Vec::new();
    for wrong in OF_BASIC {
        if outbox::basic(&broken(wrong)).await.is_ok() {
            missed.push(wrong);
        }
    }
    assert_eq!(missed, [], "the basic suite does not find these");
    for wrong in OF_TIME {
        if outbox::time(&broken(wrong)).await.is_ok() {
            missed.push(wrong);
        }
    }
    assert_eq!(missed, [], "the time suite does not find these");
}

#[tokio::test]
async fn where_nothing_is_wrong_nothing_is_found() -> Result<(), Violation> {
    let store = broken(Nothing);
    outbox::basic(&store).await?;
    outbox::time(&store).await
}

/// Two replicas that keep their messages to themselves.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_each_process_alone_are_found() {
    let stores: Stores = [Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let violation = race::each_message_is_given_once(&stores).await.expect_err("the check passed");
    assert!(violation.to_string().contains("is not there"), "{violation}");
    assert!(race::one_swap_wins_each_version(&stores).await.is_err());
}

fn broken(wrong: Wrong) -> Broken {
    Broken { wrong, accounts: MemoryStore::default(), messages: Mutex::default() }
}

/// A memory store with an outbox of its own. What is wrong is wrong with that.
#[derive(Debug)]
struct Broken {
    wrong: Wrong,
    accounts: MemoryStore,
    messages: Mutex<BTreeMap<(TenantId, MessageId), Versioned<Message>>>,
}

impl Broken {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }

    fn place(&self, tenant: &TenantId, id: MessageId) -> (TenantId, MessageId) {
        if self.is(TenantsShareIds) { (TenantId::new("all").unwrap(), id) } else { (tenant.clone(), id) }
    }

    fn put(&self, message: &Message) {
        let mut messages = self.messages.lock().unwrap();
        let place = self.place(&message.account.tenant, message.id);
        let mut value = message.clone();
        let mut version = Version(1);
        if let Some(before) = messages.get(&place) {
            let old = before.value.clone();
            match self.wrong {
                NothingTakesAPlace => return,
                TheOldOwnerStays => value.account = old.account,
                TheOldExpiryStays => value.expires_at = old.expires_at,
                TheOldStateStays => value.sending.state = old.sending.state,
                TheOldTriesStay => value.sending.tries = old.sending.tries,
                TheOldContentStays if value.sending.content.is_none() => {
                    value.sending.content = old.sending.content;
                }
                _ => {}
            }
            version = match self.wrong {
                TheOldVersionStays => before.version,
                VersionsStartAgain => version,
                _ => before.version.next(),
            };
        }
        self.distort(&mut value);
        messages.insert(place, Versioned { value, version });
    }

    /// What such a store makes of what it is to keep.
    fn distort(&self, message: &mut Message) {
        let sending = &mut message.sending;
        match (self.wrong, &mut sending.content) {
            (UsersWithoutCase, _) => {
                let user = message.account.user.as_str().to_lowercase();
                message.account.user = UserId::new(&user).unwrap();
            }
            (SecondsOnly, _) => {
                sending.due_at = Timestamp::from_unix_seconds(sending.due_at.unix_seconds());
            }
            (ThirtyTwoBitTimes, _) => {
                let most = Timestamp::from_unix_seconds(u32::MAX.into());
                message.expires_at = message.expires_at.min(most);
            }
            (ThirtyOneBitTries, _) => sending.tries = sending.tries.min(i32::MAX.unsigned_abs()),
            (FailureForgotten, _) => sending.last_failure = None,
            (FailedIsSent, _) if sending.state == MessageState::Failed => sending.state = MessageState::Sent,
            (ContentCut, Some(Sealed { bytes, .. })) => bytes.truncate(4000),
            (ContentAsText, Some(Sealed { bytes, .. })) => {
                *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
            }
            (KeyForgotten, Some(Sealed { key, .. })) => *key = KeyId::new("k1"),
            (EmptyContentIsNone, content) => {
                *content = content.take().filter(|sealed| !sealed.bytes.is_empty());
            }
            _ => {}
        }
    }

    /// Whether a claim gives it.
    fn is_due(&self, Message { sending, expires_at, .. }: &Message, now: Timestamp) -> bool {
        let in_state = match sending.state {
            MessageState::Queued => true,
            MessageState::Sent => self.is(TheSentAreClaimed),
            MessageState::Failed => self.is(TheFailedAreClaimed),
            _ => false,
        };
        let in_time = match self.wrong {
            // As whoever takes whole seconds, up to the end of this one.
            ClaimedBeforeTheirTime => sending.due_at.unix_seconds() <= now.unix_seconds(),
            ClaimedAfterTheirTime => sending.due_at < now,
            ExpiredAreNotClaimed => sending.due_at <= now && *expires_at > now,
            ClaimedOnlyOnce => sending.due_at <= now && sending.tries == 0,
            _ => sending.due_at <= now,
        };
        in_state && in_time && !self.is(NothingIsClaimed)
    }

    fn claimed(&self, before: &Versioned<Message>, until: Timestamp) -> Versioned<Message> {
        let Versioned { mut value, version } = before.clone();
        let old = value.sending.clone();
        value.sending = old.claimed(until);
        match self.wrong {
            ClaimsKeepTheTime => value.sending.due_at = old.due_at,
            ClaimsAreNotCounted => value.sending.tries = old.tries,
            TriesStartAgain => value.sending.tries = old.tries.wrapping_add(1),
            ClaimsForgetTheFailure => value.sending.last_failure = None,
            ClaimsForgetTheContent => value.sending.content = None,
            ClaimsProlong => value.expires_at = until.max(value.expires_at).plus(Message::CLAIM),
            _ => {}
        }
        let version = if self.is(ClaimsKeepTheVersion) { version } else { version.next() };
        Versioned { value, version }
    }

    /// Whether it forgets a message at a claim.
    fn forgets(&self, Message { sending, expires_at, .. }: &Message, now: Timestamp) -> bool {
        let is_over = sending.state != MessageState::Queued;
        let long_ago = expires_at.plus(Message::KEPT);
        match self.wrong {
            ForgetsWhatIsOver => is_over && *expires_at > now,
            ForgetsWhatExpired => is_over && *expires_at <= now,
            ForgetsTheQueuedToo => long_ago <= now,
            ForgetsByItsClock => is_over && long_ago <= SystemClock.now(),
            _ => is_over && long_ago <= now,
        }
    }
}

#[async_trait]
impl Outbox for Broken {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let mut messages = self.messages.lock().unwrap();
        messages.retain(|_, stored| !self.forgets(&stored.value, now));
        let now = if self.is(ClaimsHaveAClock) { SystemClock.now() } else { now };
        let limit = match self.wrong {
            OneTooManyIsClaimed => limit.saturating_add(1),
            LargeLimitsAreNone if i32::try_from(limit).is_err() => 0,
            _ => limit,
        };
        let mut claimed = Claimed::default();
        let due = messages.values_mut().filter(|stored| self.is_due(&stored.value, now));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|stored| stored.value.sending.due_at);
        if !self.is(TheOldestComeFirst) {
            due.reverse();
        }
        for stored in due.into_iter().take(limit as usize) {
            let next = self.claimed(stored, until);
            let before = std::mem::replace(stored, next.clone());
            claimed.messages.push(if self.is(ClaimsGiveWhatWas) { before } else { next });
        }
        Ok(claimed)
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        let found = self.messages.lock().unwrap().get(&self.place(tenant, id)).cloned();
        let is_read = |found: &Versioned<Message>| {
            !self.is(ExpiredAreNotRead) || !found.value.is_expired(SystemClock.now())
        };
        Ok(found.filter(is_read))
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        let mut messages = self.messages.lock().unwrap();
        let Some(stored) = messages.get_mut(&self.place(tenant, id)) else {
            // As an upsert answers.
            return Ok(if self.is(SwapsPut) { Commit::Won } else { Commit::Conflict });
        };
        let won = match self.wrong {
            EverySwapWins => true,
            NewerVersionsSwap => expected >= stored.version,
            _ => expected == stored.version,
        };
        let mut value = Message { sending: next.clone(), ..stored.value.clone() };
        let old = &stored.value.sending;
        match self.wrong {
            SwapsKeepTheState => value.sending.state = old.state,
            SwapsKeepTheTime => value.sending.due_at = old.due_at,
            SwapsKeepTheTries => value.sending.tries = old.tries,
            SwapsKeepTheFailure if next.last_failure.is_none() => {
                value.sending.last_failure.clone_from(&old.last_failure);
            }
            SwapsKeepTheContent if next.content.is_none() => value.sending.content.clone_from(&old.content),
            SwapsProlong => value.expires_at = value.expires_at.plus(Message::CLAIM),
            _ => {}
        }
        self.distort(&mut value);
        if won || self.is(LostSwapsAreWritten) {
            stored.value = value;
        }
        if (won && !self.is(SwapsKeepTheVersion)) || self.is(LostSwapsMakeAVersion) {
            stored.version = stored.version.next();
        }
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }
}

#[async_trait]
impl AccountStore for Broken {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.accounts.load(key).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let commit = self.accounts.commit(key, expected, delta).await?;
        let puts = match commit {
            Commit::Won => !self.is(CommitsPutNothing),
            Commit::Conflict => self.is(ConflictsPutToo),
            _ => self.is(TakenHandlesPutToo),
        };
        let most = if self.is(CommitsPutTheFirst) { 1 } else { usize::MAX };
        if puts {
            delta.messages().iter().take(most).for_each(|message| self.put(message));
        }
        Ok(commit)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.accounts.find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.accounts.page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.accounts.events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.accounts.trim(key, from, to).await
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        if self.is(NoOutbox) { None } else { Some(self) }
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.accounts.keys_in_use().await
    }
}
