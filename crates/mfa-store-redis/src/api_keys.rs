//! `ApiKeyStore` for Redis.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use mfa_domain::ports::{
    ApiKey, ApiKeyHash, ApiKeyId, ApiKeyList, ApiKeyName, ApiKeyStore, StoreError, UnreadableApiKey,
};
use mfa_domain::{TenantId, Timestamp, UserCase};
use redis::Value;

use crate::connections::Effect;
use crate::field::Fields;
use crate::script::{Call, Script};
use crate::{RedisError, RedisStore, format};

static INSERT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/insert.lua")));
static REVOKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/revoke.lua")));
static USE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/use.lua")));

const KEY: &str = "key";

#[async_trait]
impl ApiKeyStore for RedisStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        // The index first: an id without a key is ignored, but a key without an id would be missed.
        let index = self.keys.api_keys();
        let mut add = redis::cmd("ZADD");
        add.arg(&index).arg(0).arg(key.id.as_str());
        self.connections.command(&add, &index, Effect::Lasting).await?;
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let mut call = Call::new(&INSERT, [self.keys.api_key(&key.id)]);
        let optional = [
            ("name", key.name.as_ref().map(|name| name.as_str().into())),
            ("revoked_at", key.revoked_at.map(|at| millis(at).into())),
            ("last_used_at", key.last_used_at.map(|at| millis(at).into())),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let user_case = self.user_case(key).await?;
        let fields: [(&str, Vec<u8>); 5] = [
            ("tenant", key.tenant.as_str().into()),
            ("user_case", user_case.as_str().into()),
            ("scopes", scopes.join(" ").into()),
            ("hash", key.hash.0.into()),
            ("created_at", millis(key.created_at).into()),
        ];
        for (name, value) in fields.into_iter().chain(optional) {
            call.push(name);
            call.push(value);
        }
        match self.connections.call(&call, Effect::Lasting).await? {
            Value::Int(1) => Ok(()),
            _ => Err(RedisError::DuplicateApiKey.into()),
        }
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.api_key(id).await?)
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        // There are only a few keys, so all are read.
        let index = self.keys.api_keys();
        let mut range = redis::cmd("ZRANGE");
        range.arg(&index).arg(0).arg(-1);
        let ids = self.connections.command(&range, &index, Effect::None).await?;
        let undecodable = |_| RedisError::Undecodable { key: "keys", field: "all" };
        let ids: Vec<Vec<u8>> = redis::from_redis_value(ids).map_err(undecodable)?;
        let mut list = ApiKeyList::default();
        for id in ids {
            match self.listed(&id).await {
                Ok(key) => list.keys.extend(key),
                Err(error @ RedisError::Undecodable { .. }) => {
                    list.unreadable.push(UnreadableApiKey { id, what: error.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        list.keys.retain(|key| tenant.is_none_or(|tenant| key.tenant == *tenant));
        list.keys.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(list)
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        let call = Call::new(&REVOKE, [self.keys.api_key(id)]).with(millis(at));
        Ok(self.connections.call(&call, Effect::Lasting).await? == Value::Int(1))
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        let call = Call::new(&USE, [self.keys.api_key(id)]).with(millis(at));
        self.connections.call(&call, Effect::Lasting).await?;
        Ok(())
    }
}

impl RedisStore {
    /// The `user_case` of all keys of the tenant: that of its first key.
    async fn user_case(&self, key: &ApiKey) -> Result<UserCase, RedisError> {
        let place = self.keys.user_case(&key.tenant);
        let mut first = redis::cmd("SET");
        first.arg(&place).arg(key.user_case.as_str()).arg("NX");
        self.connections.command(&first, &place, Effect::Lasting).await?;
        let mut get = redis::cmd("GET");
        get.arg(&place);
        let kept = self.connections.command(&get, &place, Effect::None).await?;
        let undecodable = || RedisError::Undecodable { key: "case", field: "all" };
        let kept: String = redis::from_redis_value(kept).map_err(|_| undecodable())?;
        kept.parse().map_err(|_| undecodable())
    }

    /// The key of a member of the index.
    async fn listed(&self, id: &[u8]) -> Result<Option<ApiKey>, RedisError> {
        let id = str::from_utf8(id).ok().and_then(|id| ApiKeyId::new(id).ok());
        let id = id.ok_or(RedisError::Undecodable { key: "keys", field: "all" })?;
        self.api_key(&id).await
    }

    async fn api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, RedisError> {
        let key = self.keys.api_key(id);
        let mut all = redis::cmd("HGETALL");
        all.arg(&key);
        let fields = self.connections.command(&all, &key, Effect::None).await?;
        let undecodable = |_| RedisError::Undecodable { key: KEY, field: "all" };
        let fields: HashMap<String, Vec<u8>> = redis::from_redis_value(fields).map_err(undecodable)?;
        if fields.is_empty() {
            format::check_not_emptied(&self.connections, &self.keys).await?;
            return Ok(None);
        }
        let fields = Fields { key: KEY, fields };
        let scopes = fields.text("scopes")?.split(' ').filter(|scope| !scope.is_empty()).map(str::parse);
        Ok(Some(ApiKey {
            id: id.clone(),
            name: fields
                .has("name")
                .then(|| fields.read("name", ApiKeyName::new(fields.text("name")?)))
                .transpose()?,
            tenant: fields.read("tenant", TenantId::new(fields.text("tenant")?))?,
            user_case: fields.read("user_case", fields.text("user_case")?.parse())?,
            scopes: fields.read("scopes", scopes.collect())?,
            hash: ApiKeyHash(fields.array("hash")?),
            created_at: fields.time("created_at", Some(fields.number("created_at")?))?,
            revoked_at: fields.optional_time("revoked_at")?,
            last_used_at: fields.optional_time("last_used_at")?,
        }))
    }
}

fn millis(at: Timestamp) -> String {
    at.unix_millis().to_string()
}
