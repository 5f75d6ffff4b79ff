//! `AccountStore` for Redis; reading accounts.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventQuery,
    Outbox, StoreError, UnreadableAccount,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, Timestamp, UserId, Version, Versioned,
};
use redis::Value;
use tokio::time::Instant;

use crate::connections::Effect;
use crate::records::{self, key_name, key_named};
use crate::script::{Call, Script};
use crate::{LONGEST_PAGE, RedisError, RedisStore, change, events, messages};

static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/load.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/find.lua")));
static HEADS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/heads.lua")));
static SECOND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/second.lua")));
static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/trim.lua")));
static SEALED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/sealed.lua")));

/// Tenants that are read from the index at once.
const TENANTS: u32 = 100;

/// Tenants that are queried at the same time.
pub(crate) const TOGETHER: usize = 64;

#[async_trait]
impl AccountStore for RedisStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        let lasting = self.tenants.lasting(&key.tenant)?;
        let call = Call::new(&LOAD, [self.keys.account(key), self.keys.last(&key.tenant)]);
        let answer = self.connections.call(&call, Effect::None).await?;
        let (last, fields): (u64, HashMap<String, Vec<u8>>) = read(answer, "account")?;
        self.found(&key.tenant, lasting, last, false)?;
        Ok(records::read(fields)?)
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let lasting = self.tenants.lasting(&key.tenant)?;
        let call = change::commit(&self.keys, key, expected, delta, lasting)?;
        self.list(&key.tenant).await?;
        let answer = self.connections.call(&call, Effect::Lasting).await?;
        let (made, last): (u8, u64) = read(answer, "account")?;
        let commit = match made {
            0 => Commit::Conflict,
            1 => Commit::Won,
            2 => Commit::HandleTaken,
            _ => return Err(undecodable("account").into()),
        };
        if commit == Commit::Won && delta.messages().iter().any(messages::is_queued) {
            self.claim_order.queued(&key.tenant);
        }
        self.found(&key.tenant, lasting, last, commit == Commit::Won)?;
        Ok(commit)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let limit = query.limit.min(LONGEST_PAGE) as usize;
        let mut found = Vec::new();
        let mut after = query.after.clone();
        let mut tenants = Tenants::from(after.as_ref().map(|place| &*place.tenant));
        while found.len() <= limit
            && let Some(tenant) = tenants.next(self).await?
        {
            let begin = after.take().filter(|after| after.tenant == tenant).map(|after| after.user);
            match valid(&tenant, TenantId::new) {
                Some(tenant) => {
                    let users = self.matching(query, &tenant, begin, limit + 1 - found.len()).await?;
                    found.extend(self.with_heads(&tenant, users).await?);
                }
                None if begin.is_some() => {}
                // An unreadable tenant stands for its users: their keys cannot be named.
                None => {
                    found.push((AccountPlace { tenant, user: Vec::new() }, Err(undecodable("tenants"))));
                }
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(place, _)| place.clone());
        let mut page = AccountPage { next, ..AccountPage::default() };
        for (place, account) in found {
            match account {
                Ok(account) => page.accounts.push(account),
                Err(error) => page.unreadable.push(UnreadableAccount { place, what: error.to_string() }),
            }
        }
        Ok(page)
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let lasting = self.tenants.lasting(&query.tenant)?;
        let call = events::page(&self.keys, query);
        let answer = self.connections.call(&call, Effect::None).await?;
        let (last, page) = events::read(answer, query)?;
        self.found(&query.tenant, lasting, last, false)?;
        Ok(page)
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let tenant = &key.tenant;
        let keys = [
            self.keys.account(key),
            self.keys.events_of(key),
            self.keys.events(tenant),
            self.keys.last(tenant),
        ];
        let lasting = self.tenants.lasting(tenant)?;
        let call = Call::new(&TRIM, keys)
            .with(from.sequence.to_string())
            .with(from.hash.0)
            .with(to.sequence.to_string())
            .with(to.hash.0)
            .with(lasting.to_string());
        let answer = self.connections.call(&call, Effect::Lasting).await?;
        let (won, last): (bool, u64) = read(answer, "account")?;
        self.found(tenant, lasting, last, false)?;
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let lasting = self.tenants.lasting(tenant)?;
        let call = Call::new(&FIND, [self.keys.handles(tenant), self.keys.last(tenant)]);
        let answer = self.connections.call(&call.with(handle.as_bytes()), Effect::None).await?;
        let (last, user): (u64, Option<Vec<u8>>) = read(answer, "handles")?;
        self.found(tenant, lasting, last, false)?;
        let Some(user) = user else { return Ok(None) };
        let user = valid(&user, UserId::new).ok_or(undecodable("handles"))?;
        Ok(Some(AccountKey::new(tenant.clone(), user)))
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        Some(self)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let mut names = BTreeSet::new();
        let mut tenants = Tenants::from(None);
        loop {
            let mut together = Vec::new();
            while together.len() < TOGETHER
                && let Some(tenant) = tenants.next(self).await?
            {
                // Without the tenant's name, the encryption keys of its secrets cannot be determined.
                let tenant = valid(&tenant, TenantId::new).ok_or(undecodable("tenants"))?;
                together.push(self.keys_of(tenant));
            }
            if together.is_empty() {
                break;
            }
            names.extend(try_join_all(together).await?.into_iter().flatten());
        }
        let keys = names.iter().map(|name| key_named(name).ok_or_else(|| undecodable("sealed").into()));
        keys.collect()
    }
}

impl RedisStore {
    /// Compares an answer with what was seen before. A server that shows less may be a former primary that
    /// was replaced, so all connections are dropped.
    pub(crate) fn found(
        &self,
        tenant: &TenantId,
        lasting: u64,
        last: u64,
        lasts: bool,
    ) -> Result<(), RedisError> {
        let found = self.tenants.found(tenant, lasting, last, lasts);
        found.inspect_err(|_| self.connections.give_up(&self.keys.last(tenant), Instant::now()))
    }

    /// Adds a tenant to the index before its first account is created, so that it is never missing there.
    /// Done once by each process, which also repairs an index that has lost a tenant.
    async fn list(&self, tenant: &TenantId) -> Result<(), RedisError> {
        if self.tenants.is_listed(tenant) {
            return Ok(());
        }
        let key = self.keys.tenants();
        let mut add = redis::cmd("ZADD");
        add.arg(&key).arg(0).arg(tenant.as_str());
        self.connections.command(&add, &key, Effect::Lasting).await?;
        self.tenants.listed(tenant);
        Ok(())
    }

    /// The names of the encryption keys of a tenant's secrets.
    async fn keys_of(&self, tenant: TenantId) -> Result<Vec<String>, RedisError> {
        let call = Call::new(&SEALED, [self.keys.sealed(&tenant)]).with("").with("").with("0");
        let answer = self.connections.call(&call, Effect::None).await?;
        let (keys, _): (Vec<String>, Vec<String>) = read(answer, "sealed")?;
        Ok(keys)
    }

    /// The users of a tenant that match a query, as the indexes name them.
    async fn matching(
        &self,
        query: &AccountQuery,
        tenant: &TenantId,
        mut begin: Option<Vec<u8>>,
        wanted: usize,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let chunk = if query.second_event_before.is_none() { wanted } else { LONGEST_PAGE as usize };
        let mut matching = Vec::new();
        loop {
            let users = match &query.not_sealed_with {
                None => self.users(tenant, begin.as_deref(), chunk).await?,
                Some(key) => self.users_not_sealed_with(key, tenant, begin.as_deref(), chunk).await?,
            };
            let Some(before) = query.second_event_before else { return Ok(users) };
            let done = users.len() < chunk;
            begin = users.last().cloned();
            matching.extend(self.with_second_event_before(before, tenant, users).await?);
            if done || matching.len() >= wanted {
                matching.truncate(wanted);
                return Ok(matching);
            }
        }
    }

    /// Keeps the users with a matching event, and those whose events cannot be read because their id is
    /// invalid.
    async fn with_second_event_before(
        &self,
        before: Timestamp,
        tenant: &TenantId,
        mut users: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let of_user = |user| self.keys.events_of(&AccountKey::new(tenant.clone(), user));
        let valid_ones = users.iter().filter_map(|user| valid(user, UserId::new));
        let keys = [self.keys.events(tenant)].into_iter().chain(valid_ones.map(of_user));
        let call = Call::new(&SECOND, keys).with(before.unix_millis().to_string());
        let answer = self.connections.call(&call, Effect::None).await?;
        let mut old = read::<Vec<bool>>(answer, "events")?.into_iter();
        users.retain(|user| valid(user, UserId::new).is_none() || old.next().unwrap_or_default());
        Ok(users)
    }

    async fn users(
        &self,
        tenant: &TenantId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let begin = after.map_or_else(|| b"-".to_vec(), |user| [b"(", user].concat());
        self.range(&self.keys.users(tenant), &begin, limit).await
    }

    async fn users_not_sealed_with(
        &self,
        key: &KeyId,
        tenant: &TenantId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let call = Call::new(&SEALED, [self.keys.sealed(tenant)])
            .with(key_name(key))
            .with(after.unwrap_or_default())
            .with(limit.to_string());
        let answer = self.connections.call(&call, Effect::None).await?;
        let (_, users): (Vec<String>, BTreeSet<Vec<u8>>) = read(answer, "sealed")?;
        // `users` has the first ones of each encryption key, and so the first ones of all.
        Ok(users.into_iter().take(limit).collect())
    }

    /// Accounts of one tenant, with the heads and bases of their audit chains.
    async fn with_heads(&self, tenant: &TenantId, users: Vec<Vec<u8>>) -> Result<Vec<Found>, RedisError> {
        let key = |user: &Vec<u8>| Some(AccountKey::new(tenant.clone(), valid(user, UserId::new)?));
        let keys: Vec<_> = users.iter().filter_map(key).map(|key| self.keys.account(&key)).collect();
        let heads: Vec<Option<Vec<u8>>> = if keys.is_empty() {
            Vec::new()
        } else {
            read(self.connections.call(&Call::new(&HEADS, keys), Effect::None).await?, "account")?
        };
        let mut ends = heads.chunks_exact(4).map(records::audit_ends);
        let found = users.into_iter().map(|user| {
            let account = key(&user).ok_or(undecodable("users")).and_then(|key| {
                let (audit_head, audit_base) = ends.next().ok_or(undecodable("account"))??;
                Ok(AccountEntry { key, audit_head, audit_base })
            });
            (AccountPlace { tenant: tenant.as_str().into(), user }, account)
        });
        Ok(found.collect())
    }

    /// Members of a sorted set in the order of their names.
    async fn range(&self, key: &str, begin: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, RedisError> {
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(key).arg(begin).arg("+").arg("LIMIT").arg(0).arg(limit);
        read(self.connections.command(&range, key, Effect::None).await?, "index")
    }
}

/// An account of an index: its place, and its entry or error.
type Found = (AccountPlace, Result<AccountEntry, RedisError>);

/// Iterates over the tenants of the index, in its order.
pub(crate) struct Tenants {
    begin: Vec<u8>,
    read: std::vec::IntoIter<Vec<u8>>,
    done: bool,
}

impl Tenants {
    /// Starts at a tenant, inclusive, or at the first one.
    pub(crate) fn from(first: Option<&[u8]>) -> Self {
        Self::beginning(first.map_or_else(|| b"-".to_vec(), |tenant| [b"[", tenant].concat()))
    }

    /// Starts after a tenant.
    pub(crate) fn after(place: &[u8]) -> Self {
        Self::beginning([b"(", place].concat())
    }

    fn beginning(begin: Vec<u8>) -> Self {
        Self { begin, read: Vec::new().into_iter(), done: false }
    }

    pub(crate) async fn next(&mut self, store: &RedisStore) -> Result<Option<Vec<u8>>, RedisError> {
        if self.read.as_slice().is_empty() && !self.done {
            let tenants = store.range(&store.keys.tenants(), &self.begin, TENANTS as usize).await?;
            self.done = tenants.len() < TENANTS as usize;
            if let Some(last) = tenants.last() {
                self.begin = [b"(", last.as_slice()].concat();
            }
            self.read = tenants.into_iter();
        }
        Ok(self.read.next())
    }
}

/// The id with this name, if the name is valid.
pub(crate) fn valid<T, E>(name: &[u8], id: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    id(str::from_utf8(name).ok()?).ok()
}

pub(crate) fn read<T: redis::FromRedisValue>(answer: Value, key: &'static str) -> Result<T, RedisError> {
    redis::from_redis_value(answer).map_err(|_| undecodable(key))
}

const fn undecodable(key: &'static str) -> RedisError {
    RedisError::Undecodable { key, field: "all" }
}
