//! The contract of an outbox.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use mfa_domain::ports::{Claimed, Commit, Outbox, StoreError};
use mfa_domain::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};
use redis::Value;

use crate::accounts::{TOGETHER, Tenants, read, valid};
use crate::connections::Effect;
use crate::messages::{self, OVER, PARTS, Row, millis};
use crate::script::{Call, Script};
use crate::{LONGEST_PAGE, RedisError, RedisStore};

static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/due.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/claim.lua")));
static MESSAGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/message.lua")));
static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/swap_message.lua")));

const MESSAGES: &str = "messages";

#[async_trait]
impl Outbox for RedisStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let mut claimed = Claimed::default();
        match self.claim_of_all(now, until, limit as usize, &mut claimed).await {
            // What was claimed is handed out, or nobody would send it before the claim ends. Whoever claims again meets
            // the error again.
            Err(error) if claimed.messages.is_empty() => Err(error.into()),
            _ => Ok(claimed),
        }
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        let lasting = self.tenants.lasting(tenant)?;
        let mut call = Call::new(&MESSAGE, [self.keys.messages(tenant), self.keys.last(tenant)]);
        for part in PARTS {
            call.push(messages::field(id, part));
        }
        let answer = self.connections.call(&call, Effect::None).await?;
        let (last, row): (u64, Row) = read(answer, MESSAGES)?;
        self.found(tenant, lasting, last, false)?;
        Ok(messages::read(tenant, id, row)?)
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        // No message has the last of all versions.
        let Some(version) = expected.0.checked_add(1) else { return Ok(Commit::Conflict) };
        let lasting = self.tenants.lasting(tenant)?;
        let place = messages::queued_place(next);
        let mut call = Call::new(&SWAP, self.outbox_keys(tenant))
            .with(id.to_string())
            .with(expected.0.to_string())
            .with(version.to_string())
            .with(lasting.to_string())
            .with(place.map(|place| place.to_string()).unwrap_or_default())
            .with(OVER.to_string());
        for (part, value) in messages::sending_parts(next) {
            call.push(part);
            call.push(value);
        }
        let answer = self.connections.call(&call, Effect::Lasting).await?;
        let (won, last): (bool, u64) = read(answer, MESSAGES)?;
        self.found(tenant, lasting, last, false)?;
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }
}

impl RedisStore {
    /// Asks many tenants at once whether there is anything to do, and claims of one after the other where there is.
    ///
    /// An error that is not of one tenant alone ends it, once those that were asked together have had their turn.
    async fn claim_of_all(
        &self,
        now: Timestamp,
        until: Timestamp,
        mut left: usize,
        claimed: &mut Claimed,
    ) -> Result<(), RedisError> {
        let mut tenants = Round::after(self.served.last());
        while left > 0 {
            let mut together = Vec::new();
            while together.len() < TOGETHER
                && let Some(tenant) = tenants.next(self).await?
            {
                // What is no tenant has no messages.
                if let Some(tenant) = valid(&tenant, TenantId::new) {
                    together.push(self.has_due(tenant, now));
                }
            }
            if together.is_empty() {
                break;
            }
            let mut failed = Ok(());
            for (tenant, has_due) in join_all(together).await {
                if left == 0 {
                    break;
                }
                self.served.note(&tenant);
                match has_due {
                    Ok(false) => {}
                    Ok(true) => match self.claim_of(&tenant, now, until, left).await {
                        Ok(rows) => {
                            left = left.saturating_sub(rows.len());
                            hand_out(&tenant, rows, claimed);
                        }
                        Err(error) => name(error, claimed)?,
                    },
                    Err(error) => failed = failed.and(name(error, claimed)),
                }
            }
            failed?;
        }
        Ok(())
    }

    /// Whether a tenant has anything for a claim to do. It is asked every second, so it is a look at one key.
    async fn has_due(&self, tenant: TenantId, now: Timestamp) -> (TenantId, Result<bool, RedisError>) {
        let (from, to) = messages::forgotten(now);
        let call = Call::new(&DUE, [self.keys.due(&tenant)])
            .with(millis(now))
            .with(from.to_string())
            .with(to.to_string());
        let answer = self.connections.call(&call, Effect::None).await;
        (tenant, answer.map(|count| count != Value::Int(0)))
    }

    async fn claim_of(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Row>, RedisError> {
        let lasting = self.tenants.lasting(tenant)?;
        let (from, to) = messages::forgotten(now);
        let mut call = Call::new(&CLAIM, self.outbox_keys(tenant))
            .with(lasting.to_string())
            .with(millis(now))
            .with(millis(until))
            .with(limit.min(LONGEST_PAGE as usize).to_string())
            .with(from.to_string())
            .with(to.to_string());
        for part in PARTS {
            call.push(part);
        }
        let answer = self.connections.call(&call, Effect::Lasting).await?;
        let (last, rows): (u64, Vec<Row>) = read(answer, MESSAGES)?;
        self.found(tenant, lasting, last, false)?;
        Ok(rows)
    }

    fn outbox_keys(&self, tenant: &TenantId) -> [String; 3] {
        [self.keys.messages(tenant), self.keys.due(tenant), self.keys.last(tenant)]
    }
}

fn hand_out(tenant: &TenantId, rows: Vec<Row>, claimed: &mut Claimed) {
    for row in rows {
        match messages::read_claimed(tenant, row) {
            Ok(message) => claimed.messages.push(message),
            Err(error) => claimed.unreadable.push(error.to_string()),
        }
    }
}

/// What is wrong with one tenant alone is named, and keeps no other out.
fn name(error: RedisError, claimed: &mut Claimed) -> Result<(), RedisError> {
    match error {
        RedisError::Undecodable { .. } | RedisError::WentBack { .. } => {
            claimed.unreadable.push(error.to_string());
            Ok(())
        }
        error => Err(error),
    }
}

/// The tenant that a claim has asked last. The next claim begins with the one after it, so that nobody waits for a tenant
/// that has very many messages.
#[derive(Clone, Default)]
pub(crate) struct Served(Arc<Mutex<Vec<u8>>>);

impl Served {
    fn last(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, tenant: &TenantId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tenant.as_str().into();
    }
}

/// A walk through all tenants once, from the one after a place to the one at that place.
struct Round {
    place: Vec<u8>,
    tenants: Tenants,
    begun_again: bool,
}

impl Round {
    fn after(place: Vec<u8>) -> Self {
        Self { tenants: Tenants::after(&place), place, begun_again: false }
    }

    async fn next(&mut self, store: &RedisStore) -> Result<Option<Vec<u8>>, RedisError> {
        let mut next = self.tenants.next(store).await?;
        if next.is_none() && !self.begun_again {
            self.begun_again = true;
            self.tenants = Tenants::from(None);
            next = self.tenants.next(store).await?;
        }
        Ok(next.filter(|tenant| !self.begun_again || *tenant <= self.place))
    }
}
