//! `Outbox` for Redis.

use std::sync::LazyLock;

use async_trait::async_trait;
use mfa_domain::ports::{Claimed, Commit, Outbox, StoreError};
use mfa_domain::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};

use self::claim::Claim;
pub(crate) use self::order::ClaimOrder;
use crate::RedisStore;
use crate::accounts::read;
use crate::connections::Effect;
use crate::messages::{self, OVER, PARTS, Row};
use crate::script::{Call, Script};

mod claim;
mod order;

static MESSAGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/message.lua")));
static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/swap_message.lua")));

const MESSAGES: &str = "messages";

#[async_trait]
impl Outbox for RedisStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let mut claim = Claim::new(self, now, until, limit);
        let asked = claim.of_all().await;
        claim.given(asked)
    }

    async fn claim_recent(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Claimed, StoreError> {
        let mut claim = Claim::new(self, now, until, limit);
        let asked = claim.of_recent().await;
        claim.given(asked)
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
        // No message has the greatest possible version.
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
    fn outbox_keys(&self, tenant: &TenantId) -> [String; 3] {
        [self.keys.messages(tenant), self.keys.due(tenant), self.keys.last(tenant)]
    }
}
