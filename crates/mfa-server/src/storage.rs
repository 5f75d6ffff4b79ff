//! Opens the stores that the settings name.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use mfa_domain::ports::{AccountStore, ApiKeyStore, ChallengeStore, DeliveryStore, ReferenceClock, Throttle};
use mfa_domain::{AccountKey, TenantId, UserCase, UserId};
use mfa_store_memory::{MemoryChallenges, MemoryStore, MemoryThrottle};
use mfa_store_postgres::PostgresStore;
use mfa_store_redis::{RedisStore, RedisUrl};
use mfa_store_sqlite::SqliteStore;
use tracing::warn;

use crate::config::{EphemeralUrl, Settings, StoreUrl};
use crate::data_dir;
use crate::failure::Misuse;

mod later_redis;

use later_redis::LaterRedis;

/// How to create an installation, for messages.
pub(crate) const MAKERS: &str = "`serve` and `api-key create --init` create one";

/// What to do if there is no installation yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Create,
    Refuse,
}

/// Open stores.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    /// `None` for Redis, which does not order the events of all tenants.
    pub(crate) deliveries: Option<Arc<dyn DeliveryStore>>,
    opened: Opened,
}

/// The stores to close.
#[derive(Debug)]
enum Opened {
    Memory,
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    Redis { url: RedisUrl, store: Arc<RedisStore> },
}

/// The stores of short-lived state.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    pub(crate) throttle: Arc<dyn Throttle>,
    pub(crate) challenges: Arc<dyn ChallengeStore>,
}

/// Held by the process that creates an installation on a shared store.
#[derive(Debug)]
pub(crate) enum InstallationTurn {
    Postgres(mfa_store_postgres::InstallationTurn),
    Redis(mfa_store_redis::InstallationTurn),
}

impl Storage {
    /// The account of the user whose id in the application is `user`.
    pub(crate) async fn account(&self, tenant: TenantId, user: UserId) -> Result<AccountKey> {
        let list = self.api_keys.list(Some(&tenant)).await.context("the API keys cannot be read")?;
        // All keys of a tenant have the same `user_case`. A tenant without a key has no users.
        let case = match (list.keys.first(), list.unreadable.first()) {
            (Some(key), _) => key.user_case,
            (None, Some(unreadable)) => {
                bail!("cannot tell whether tenant {tenant} ignores case in user ids: {unreadable}")
            }
            (None, None) => UserCase::default(),
        };
        let user = case.id(user).map_err(|error| Misuse(error.to_string()))?;
        Ok(AccountKey::new(tenant, user))
    }

    pub(crate) async fn open(settings: &Settings, absent: Absent) -> Result<Self> {
        if let StoreUrl::Redis(url) = &settings.store {
            let redis = RedisStore::open(url.expose());
            let redis = Arc::new(redis.await.with_context(|| format!("the store {url} cannot be opened"))?);
            let opened = Opened::Redis { url: url.clone(), store: Arc::clone(&redis) };
            return Ok(Self { accounts: redis.clone(), api_keys: redis, deliveries: None, opened });
        }
        if let StoreUrl::Postgres(url) = &settings.store {
            let postgres = PostgresStore::open_with(url.expose(), &(&settings.postgres).into())
                .await
                .with_context(|| format!("the database {url} cannot be opened"))?;
            let shared = Arc::new(postgres.clone());
            let opened = Opened::Postgres(postgres);
            return Ok(Self::of(&shared, opened));
        }
        let Some(path) = database(settings)? else {
            if absent == Absent::Refuse {
                let text = "this command needs a database, but the store is memory:";
                return Err(Misuse(text.to_owned()).into());
            }
            let memory = Arc::new(MemoryStore::default());
            return Ok(Self::of(&memory, Opened::Memory));
        };
        if absent == Absent::Refuse && !path.exists() {
            let text = format!("there is no database {}; is --data-dir right? {MAKERS}", path.display());
            return Err(Misuse(text).into());
        }
        if !path.exists() {
            // Creates the file for the owner of its folder. `SqliteStore::open` reports an error if that fails.
            let _ = data_dir::open_or_make(&path);
        }
        let sqlite = SqliteStore::open(&path)
            .await
            .with_context(|| format!("the database {} cannot be opened", path.display()))?;
        let shared = Arc::new(sqlite.clone());
        Ok(Self::of(&shared, Opened::Sqlite(sqlite)))
    }

    /// Uses one store for everything.
    fn of<S: AccountStore + ApiKeyStore + DeliveryStore>(store: &Arc<S>, opened: Opened) -> Self {
        let deliveries = Some(store.clone() as Arc<dyn DeliveryStore>);
        Self { accounts: store.clone(), api_keys: store.clone(), deliveries, opened }
    }

    /// Prevents other servers from creating an installation on the same database until the turn is ended.
    pub(crate) async fn turn(&self) -> Result<Option<InstallationTurn>> {
        const OTHER: &str = "another server is starting on the same database";
        Ok(match &self.opened {
            Opened::Memory | Opened::Sqlite(_) => None,
            Opened::Postgres(postgres) => {
                Some(InstallationTurn::Postgres(postgres.turn().await.context(OTHER)?))
            }
            Opened::Redis { store, .. } => Some(InstallationTurn::Redis(store.turn().await.context(OTHER)?)),
        })
    }

    /// The clock of the database server; `None` if the database uses the clock of this machine.
    pub(crate) fn reference_clock(&self) -> Option<Arc<dyn ReferenceClock>> {
        match &self.opened {
            Opened::Memory | Opened::Sqlite(_) => None,
            Opened::Postgres(postgres) => Some(Arc::new(postgres.clone())),
            Opened::Redis { store, .. } => Some(store.clone()),
        }
    }

    /// The stores of short-lived state that the settings select. If servers share a database, challenges are never
    /// in the memory of one server, since any of them may get the answer.
    pub(crate) async fn ephemeral(&self, settings: &Settings) -> Result<Ephemeral> {
        let own = Arc::new(MemoryThrottle::default());
        Ok(match (&settings.ephemeral, &self.opened) {
            (EphemeralUrl::Redis(url), _) | (EphemeralUrl::Store, Opened::Redis { url, .. }) => {
                let throttle = Arc::new(LaterRedis::throttle(url.clone()).await?);
                Ephemeral { throttle, challenges: Arc::new(LaterRedis::challenges(url.clone()).await?) }
            }
            (EphemeralUrl::Memory, Opened::Redis { url, .. }) => {
                Ephemeral { throttle: own, challenges: Arc::new(LaterRedis::challenges(url.clone()).await?) }
            }
            (_, Opened::Memory) => {
                Ephemeral { throttle: own, challenges: Arc::new(MemoryChallenges::default()) }
            }
            (EphemeralUrl::Memory, Opened::Sqlite(sqlite)) => {
                Ephemeral { throttle: own, challenges: Arc::new(sqlite.clone()) }
            }
            (EphemeralUrl::Memory, Opened::Postgres(postgres)) => {
                Ephemeral { throttle: own, challenges: Arc::new(postgres.clone()) }
            }
            (EphemeralUrl::Store, Opened::Sqlite(sqlite)) => {
                let sqlite = Arc::new(sqlite.clone());
                Ephemeral { throttle: sqlite.clone(), challenges: sqlite }
            }
            (EphemeralUrl::Store, Opened::Postgres(postgres)) => {
                let postgres = Arc::new(postgres.clone());
                Ephemeral { throttle: postgres.clone(), challenges: postgres }
            }
        })
    }

    /// Completes queued changes. SQLite also moves its write-ahead log into the database.
    pub(crate) async fn close(self) {
        match self.opened {
            Opened::Memory | Opened::Redis { .. } => {}
            Opened::Sqlite(sqlite) => sqlite.close().await,
            Opened::Postgres(postgres) => postgres.close().await,
        }
    }
}

impl InstallationTurn {
    /// Lets the next server start.
    pub(crate) async fn end(self) {
        match self {
            Self::Postgres(turn) => drop(turn),
            Self::Redis(turn) => {
                if let Err(error) = turn.end().await {
                    warn!(%error, "the lock for starting could not be released; other servers may wait 30 seconds to start");
                }
            }
        }
    }
}

/// The file of the database; `None` if the store is not SQLite.
pub(crate) fn database(settings: &Settings) -> Result<Option<PathBuf>> {
    match &settings.store {
        StoreUrl::Memory | StoreUrl::Postgres(_) | StoreUrl::Redis(_) => Ok(None),
        StoreUrl::Sqlite(path) => data_dir::inside(&settings.data_dir, path).map(Some),
    }
}
