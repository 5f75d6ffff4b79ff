//! One claim: tenants are asked whether anything is due, many at a time, and what they have is claimed.

use std::sync::LazyLock;

use futures_util::future::join_all;
use mfa_domain::ports::{Claimed, StoreError, UnreadableMessage};
use mfa_domain::{TenantId, Timestamp};
use redis::Value;
use tokio::time::Instant;

use super::MESSAGES;
use super::order::Round;
use crate::accounts::{TOGETHER, read, valid};
use crate::connections::Effect;
use crate::messages::{self, PARTS, Row, millis};
use crate::script::{Call, Script};
use crate::{LONGEST_PAGE, RedisError, RedisStore};

static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../scripts/due.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../scripts/claim.lua")));

/// A claim, and what it has so far.
pub(super) struct Claim<'a> {
    store: &'a RedisStore,
    now: Timestamp,
    until: Timestamp,
    left: usize,
    claimed: Claimed,
    /// Whether a tenant was found that has gone back, and the connections were given up for it.
    gave_up: bool,
}

impl<'a> Claim<'a> {
    pub(super) fn new(store: &'a RedisStore, now: Timestamp, until: Timestamp, limit: u32) -> Self {
        Self { store, now, until, left: limit as usize, claimed: Claimed::default(), gave_up: false }
    }

    /// Claims of all tenants, from the one after that which was asked last by the claim before.
    pub(super) async fn of_all(&mut self) -> Result<(), RedisError> {
        let store = self.store;
        let mut tenants = Round::after(store.claim_order.served());
        while self.left > 0 {
            let mut together = Vec::new();
            while together.len() < TOGETHER
                && let Some(tenant) = tenants.next(store).await?
            {
                // What is no tenant has no messages.
                together.extend(valid(&tenant, TenantId::new));
            }
            if together.is_empty() {
                break;
            }
            self.of_these(together, |asked| {
                if let Asked::Done(tenant) | Asked::HasMore(tenant) = asked {
                    store.claim_order.serve(&tenant);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Claims of the tenants in which this process has queued something since it last asked them. Each of them is asked
    /// once, and asked again by the next claim if there may be more.
    pub(super) async fn of_recent(&mut self) -> Result<(), RedisError> {
        let store = self.store;
        let mut recent = store.claim_order.take_recent();
        let (mut waiting, mut more) = (Vec::new(), Vec::new());
        let mut asked = Ok(());
        while asked.is_ok() && self.left > 0 && !recent.is_empty() {
            let together = recent.drain(..recent.len().min(TOGETHER)).collect();
            asked = self
                .of_these(together, |asked| match asked {
                    Asked::Done(_) => {}
                    Asked::HasMore(tenant) => more.push(tenant),
                    Asked::NotYet(tenant) => waiting.push(tenant),
                })
                .await;
        }
        for tenant in waiting.iter().chain(&recent).chain(&more) {
            store.claim_order.queued(tenant);
        }
        asked
    }

    /// What was claimed is handed out though there was an error then, or nobody would send it before the claim ends.
    /// Whoever claims again meets the error again.
    pub(super) fn given(self, asked: Result<(), RedisError>) -> Result<Claimed, StoreError> {
        match asked {
            Err(error) if self.claimed.messages.is_empty() => Err(error.into()),
            _ => Ok(self.claimed),
        }
    }

    /// Asks tenants at the same time whether there is anything to do, and claims of one after the other where there is.
    ///
    /// An error that is not of one tenant alone ends it, once those that were asked together have had their turn.
    async fn of_these(
        &mut self,
        tenants: Vec<TenantId>,
        mut tell: impl FnMut(Asked) + Send,
    ) -> Result<(), RedisError> {
        let (store, now) = (self.store, self.now);
        let together = tenants.into_iter().filter(|tenant| !store.claim_order.is_set_aside(tenant));
        let together = together.map(|tenant| has_due(store, tenant, now));
        let mut failed = Ok(());
        for (tenant, has_due) in join_all(together).await {
            if self.left == 0 {
                tell(Asked::NotYet(tenant));
                continue;
            }
            let claimed = match has_due {
                Ok(true) => self.of_one(&tenant).await,
                Ok(false) => Ok(false),
                Err(error) => {
                    failed = failed.and(self.set_aside(&tenant, error));
                    Ok(false)
                }
            };
            match claimed {
                Ok(true) => tell(Asked::HasMore(tenant)),
                Ok(false) => tell(Asked::Done(tenant)),
                Err(error) => {
                    self.set_aside(&tenant, error)?;
                    tell(Asked::Done(tenant));
                }
            }
        }
        failed
    }

    /// Claims of one tenant; gives whether there may be more.
    async fn of_one(&mut self, tenant: &TenantId) -> Result<bool, RedisError> {
        let store = self.store;
        let lasting = store.tenants.lasting(tenant)?;
        let limit = self.left.min(LONGEST_PAGE as usize);
        let (from, to) = messages::forgotten(self.now);
        let mut call = Call::new(&CLAIM, store.outbox_keys(tenant))
            .with(lasting.to_string())
            .with(millis(self.now))
            .with(millis(self.until))
            .with(limit.to_string())
            .with(from.to_string())
            .with(to.to_string());
        for part in PARTS {
            call.push(part);
        }
        let answer = store.connections.call(&call, Effect::Lasting).await?;
        let (last, rows): (u64, Vec<Row>) = read(answer, MESSAGES)?;
        if let Err(error) = store.tenants.found(tenant, lasting, last, false) {
            self.give_up(tenant);
            return Err(error);
        }
        let more = rows.len() >= limit;
        self.left = self.left.saturating_sub(rows.len());
        for row in rows {
            let known = messages::known(tenant, &row);
            match messages::read_claimed(tenant, row) {
                Ok(message) => self.claimed.messages.push(message),
                Err(error) => {
                    let what = error.to_string();
                    self.claimed.unreadable.push(UnreadableMessage { what, ..known });
                }
            }
        }
        Ok(more)
    }

    /// Looks for the primary anew, as [`RedisStore::found`] does, but once: after a failover very many tenants may have
    /// gone back, and each new connection would be given up for the next of them.
    fn give_up(&mut self, tenant: &TenantId) {
        if !self.gave_up {
            self.gave_up = true;
            self.store.connections.give_up(&self.store.keys.last(tenant), Instant::now());
        }
    }

    /// What is wrong with one tenant alone is named, and keeps no other out. It is left alone for a while, as a message is
    /// that cannot be read.
    fn set_aside(&mut self, tenant: &TenantId, error: RedisError) -> Result<(), RedisError> {
        if !matches!(error, RedisError::Undecodable { .. } | RedisError::WentBack { .. }) {
            return Err(error);
        }
        self.store.claim_order.set_aside(tenant);
        let what = error.to_string();
        let tenant = Some(tenant.clone());
        self.claimed.unreadable.push(UnreadableMessage { tenant, what, ..UnreadableMessage::default() });
        Ok(())
    }
}

/// What became of a tenant's turn.
enum Asked {
    /// There is nothing more.
    Done(TenantId),
    /// There may be more.
    HasMore(TenantId),
    /// It had none: there was no room left.
    NotYet(TenantId),
}

/// Whether a tenant has anything for a claim to do. It is asked every second, so it is a look at one key.
async fn has_due(
    store: &RedisStore,
    tenant: TenantId,
    now: Timestamp,
) -> (TenantId, Result<bool, RedisError>) {
    let (from, to) = messages::forgotten(now);
    let call = Call::new(&DUE, [store.keys.due(&tenant)])
        .with(millis(now))
        .with(from.to_string())
        .with(to.to_string());
    let answer = store.connections.call(&call, Effect::None).await;
    (tenant, answer.map(|count| count != Value::Int(0)))
}
