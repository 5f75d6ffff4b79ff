//! One claim: many tenants at a time are asked whether messages are due, and those are claimed.

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

/// A claim in progress.
pub(super) struct Claim<'a> {
    store: &'a RedisStore,
    now: Timestamp,
    until: Timestamp,
    left: usize,
    claimed: Claimed,
    /// Whether connections were already dropped because a tenant's data had gone back.
    gave_up: bool,
}

impl<'a> Claim<'a> {
    pub(super) fn new(store: &'a RedisStore, now: Timestamp, until: Timestamp, limit: u32) -> Self {
        Self { store, now, until, left: limit as usize, claimed: Claimed::default(), gave_up: false }
    }

    /// Claims from all tenants, beginning after the one that the previous claim asked last.
    pub(super) async fn of_all(&mut self) -> Result<(), RedisError> {
        let store = self.store;
        let mut tenants = Round::after(store.claim_order.served());
        while self.left > 0 {
            let mut together = Vec::new();
            while together.len() < TOGETHER
                && let Some(tenant) = tenants.next(store).await?
            {
                // A name that is not a tenant id has no messages.
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

    /// Claims from the tenants for which this process has queued messages since it last asked them. Each is
    /// asked once, and again by the next claim if there may be more.
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

    /// The result of the claim. Claimed messages are returned even after an error: otherwise nobody would
    /// send them before their claim ends. The next call gets the error again.
    pub(super) fn given(self, asked: Result<(), RedisError>) -> Result<Claimed, StoreError> {
        match asked {
            Err(error) if self.claimed.messages.is_empty() => Err(error.into()),
            _ => Ok(self.claimed),
        }
    }

    /// Asks tenants at the same time whether messages are due, and claims from those that have some one after
    /// the other.
    ///
    /// An error that does not concern a single tenant ends the claim, after the tenants of the same group had
    /// their turn.
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

    /// Claims from one tenant; returns whether there may be more.
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

    /// Makes connections look for the primary again, as [`RedisStore::found`] does, but once per claim: after
    /// a failover very many tenants may have gone back, and each would drop the new connections again.
    fn give_up(&mut self, tenant: &TenantId) {
        if !self.gave_up {
            self.gave_up = true;
            self.store.connections.give_up(&self.store.keys.last(tenant), Instant::now());
        }
    }

    /// Reports an error that concerns one tenant, and skips this tenant for a while like an unreadable
    /// message, so that it does not block the others.
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

/// The result of a tenant's turn.
enum Asked {
    /// No more messages are due.
    Done(TenantId),
    /// More messages may be due.
    HasMore(TenantId),
    /// Not asked: the limit was reached before.
    NotYet(TenantId),
}

/// Whether a claim has work in a tenant. Every tenant is checked each second, so the check reads one key.
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
