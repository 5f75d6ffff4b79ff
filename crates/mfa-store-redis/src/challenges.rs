//! `ChallengeStore` for Redis.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::signing::Nonce;
use mfa_domain::{
    Caller, Challenge, ChallengeData, ChallengeId, ChallengeKind, FactorId, Progress, TenantId, Timestamp,
    UserId, Version, Versioned,
};
use redis::Value;

use crate::connections::Effect;
use crate::field::Fields;
use crate::script::{Call, Script};
use crate::{RedisEphemeral, RedisError};

/// How long an expired challenge is kept, so that callers learn that it is over.
const KEPT: Duration = Duration::from_hours(1);

static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/put.lua")));
static GET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/get.lua")));
static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/swap.lua")));

const CHALLENGE: &str = "challenge";

#[async_trait]
impl ChallengeStore for RedisEphemeral {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let kept = challenge.expires_at.since(challenge.created_at).saturating_add(KEPT);
        let mut call = self.of(&PUT, &challenge.id).with(kept.as_millis().to_string());
        let factor = challenge.factor.as_ref().map(FactorId::to_string).unwrap_or_default();
        for (name, value) in [
            ("version", "1"),
            ("tenant", challenge.tenant.as_str()),
            ("user", challenge.user.as_ref().map(UserId::as_str).unwrap_or_default()),
            ("factor", &factor),
            ("kind", challenge.kind.as_str()),
            ("purpose", challenge.purpose.as_str()),
            ("caller", challenge.caller.as_str()),
            ("nonce", challenge.nonce.as_ref().map(Nonce::as_str).unwrap_or_default()),
            ("created_at", &millis(challenge.created_at)),
            ("expires_at", &millis(challenge.expires_at)),
        ] {
            call.push(name);
            call.push(value);
        }
        push(&mut call, &challenge.progress);
        match self.connections.call(&call, Effect::Lasting).await? {
            Value::Int(1) => Ok(()),
            _ => Err(RedisError::DuplicateChallenge.into()),
        }
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        let answer = self.connections.call(&self.of(&GET, id), Effect::None).await?;
        Ok(read(*id, answer)?)
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        let version = expected.0.checked_add(1).ok_or(RedisError::TooLarge { field: "version" })?;
        let mut call = self.of(&SWAP, id).with(expected.0.to_string()).with(version.to_string());
        push(&mut call, next);
        let won = self.connections.call(&call, Effect::Lasting).await? == Value::Int(1);
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }
}

impl RedisEphemeral {
    fn of<'a>(&self, script: &'a Script, id: &ChallengeId) -> Call<'a> {
        Call::new(script, [self.keys.challenge(id)])
    }
}

fn push(call: &mut Call<'_>, progress: &Progress) {
    for (name, value) in [
        ("state", progress.state.as_str().as_bytes()),
        ("failures", progress.failures.to_string().as_bytes()),
        ("data", progress.data.as_bytes()),
    ] {
        call.push(name);
        call.push(value);
    }
}

fn read(id: ChallengeId, answer: Value) -> Result<Option<Versioned<Challenge>>, RedisError> {
    let undecodable = |_| RedisError::Undecodable { key: CHALLENGE, field: "all" };
    let fields: HashMap<String, Vec<u8>> = redis::from_redis_value(answer).map_err(undecodable)?;
    if fields.is_empty() {
        return Ok(None);
    }
    let fields = Fields { key: CHALLENGE, fields };
    let optional = |name| Ok::<_, RedisError>(Some(fields.text(name)?).filter(|text| !text.is_empty()));
    let value = Challenge {
        id,
        tenant: fields.read("tenant", TenantId::new(fields.text("tenant")?))?,
        user: fields.read("user", optional("user")?.map(UserId::new).transpose())?,
        factor: fields.read("factor", optional("factor")?.map(str::parse).transpose())?,
        kind: ChallengeKind::from_name(fields.text("kind")?),
        purpose: fields.read("purpose", fields.text("purpose")?.parse())?,
        caller: Caller::new(fields.text("caller")?),
        nonce: fields.read("nonce", optional("nonce")?.map(str::parse).transpose())?,
        created_at: fields.time("created_at", Some(fields.number("created_at")?))?,
        expires_at: fields.time("expires_at", Some(fields.number("expires_at")?))?,
        progress: Progress {
            state: fields.read("state", fields.text("state")?.parse())?,
            failures: fields.number("failures")?,
            data: fields.read("data", ChallengeData::new(fields.bytes("data")?))?,
        },
    };
    Ok(Some(Versioned { value, version: Version(fields.number("version")?) }))
}

fn millis(at: Timestamp) -> String {
    at.unix_millis().to_string()
}
