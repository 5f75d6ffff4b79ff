//! An installation: the stores, the key ring, and the use cases that commands run on them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use mfa_crypto::{AesGcmVault, Argon2Hasher, AssertionKeys};
use mfa_domain::ports::{ApiKeyStore, DeliveryStore, ReferenceClock, Throttle};
use mfa_domain::{AccountKey, Mfa, Ports, TenantId, UserId};
use mfa_webauthn::RelyingParty;

use crate::config::{Config, Settings, StoreUrl};
use crate::failure::Misuse;
use crate::key_ring::{self, RingSource, Stamp};
use crate::policies::policies;
use crate::storage::{Absent, Ephemeral, InstallationTurn, MAKERS, Storage};
use crate::{data_dir, email, re_encryption};

/// Stores and a key ring that belong together.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    storage: Storage,
    vault: Arc<AesGcmVault>,
    /// The file of the ring, and its stamp when it was read.
    ring_file: Option<(PathBuf, Option<Stamp>)>,
    /// Held until there is an API key, which shows other servers that the installation exists.
    turn: Option<InstallationTurn>,
}

impl Installation {
    /// Opens the installation. If there is none, creates it or fails, as `absent` says.
    ///
    /// Refuses a key ring that does not belong to the store.
    pub(crate) async fn open(config: &Config, absent: Absent) -> Result<Self> {
        let settings = &config.settings;
        if absent == Absent::Create && settings.store != StoreUrl::Memory {
            data_dir::make(&settings.data_dir)?;
        }
        // Two processes that start at the same time must not create two rings.
        let _turn = match settings.store {
            StoreUrl::Memory => None,
            _ if !settings.data_dir.exists() => None,
            _ => Some(data_dir::lock(&settings.data_dir)?),
        };
        let storage = Storage::open(settings, absent).await?;
        let source = RingSource::of(config)?;
        // Of servers that start on an empty shared database, exactly one creates the ring and an API key.
        let mut turn = None;
        let mut shared = settings.store.is_shared() && has_api_keys(&storage).await?;
        if !shared && absent == Absent::Create {
            turn = storage.turn().await?;
            shared = turn.is_some() && has_api_keys(&storage).await?;
        }
        let opened = Self::on(storage, settings, source, shared, absent).await;
        match (opened, turn) {
            (Ok(opened), turn) => Ok(Self { turn, ..opened }),
            (Err(error), None) => Err(error),
            (Err(error), Some(turn)) => {
                turn.end().await;
                Err(error)
            }
        }
    }

    /// The installation on an open store. `shared` states whether another server has created a ring for it.
    async fn on(
        storage: Storage,
        settings: &Settings,
        source: RingSource<'_>,
        shared: bool,
        absent: Absent,
    ) -> Result<Self> {
        let in_use = storage.accounts.keys_in_use().await.context("the keys in use cannot be read")?;
        if absent == Absent::Refuse && in_use.is_empty() && !has_api_keys(&storage).await? {
            // With `no_key`, `serve` creates no installation on a shared database.
            let makers = if settings.no_key { "`api-key create --init` creates one" } else { MAKERS };
            let text =
                format!("there is no installation in {}; is the store right? {makers}", settings.store);
            return Err(Misuse(text).into());
        }
        // Taken before the ring is read, so that no later change is missed.
        let stamp = source.stamp();
        let ring = key_ring::for_store(&source, &in_use, &settings.store, shared)?;
        let stamp = stamp.or_else(|| source.stamp());
        let ring_file = match source {
            RingSource::File(path) if settings.store != StoreUrl::Memory => Some((path, stamp)),
            _ => None,
        };
        let mut vault = AesGcmVault::new(ring);
        if let Some((path, _)) = ring_file.clone() {
            vault = vault.with_reload(move || {
                key_ring::read_file(&path)?.with_context(|| format!("{} is missing", path.display()))
            });
        }
        let vault = Arc::new(vault);
        let mfa = Arc::new(use_cases(settings, &storage, vault.clone())?);
        Ok(Self { mfa, api_keys: Arc::clone(&storage.api_keys), storage, vault, ring_file, turn: None })
    }

    /// The account of the user whose id in the application is `user`.
    pub(crate) async fn account(&self, tenant: TenantId, user: UserId) -> Result<AccountKey> {
        self.storage.account(tenant, user).await
    }

    /// Lets other servers start on the same database, after the first API key was created.
    pub(crate) async fn made(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.end().await;
        }
    }

    /// Loads keys that are added while the server runs, so that new secrets are encrypted with them. (A secret that
    /// needs an unknown key makes the vault load the ring at once.)
    pub(crate) fn follow_key_ring(&self) {
        if let Some((path, known)) = self.ring_file.clone() {
            let (vault, accounts) = (Arc::clone(&self.vault), Arc::clone(&self.storage.accounts));
            tokio::spawn(key_ring::follow(path, known, vault, accounts));
        }
    }

    /// Re-encrypts secrets of older keys with the newest key while the server runs.
    pub(crate) fn re_encrypt_in_background(&self) {
        tokio::spawn(re_encryption::in_background(Arc::clone(&self.mfa)));
    }

    /// The store of the trail and of the positions of webhooks; `None` if the store supports no webhooks.
    pub(crate) fn deliveries(&self) -> Option<Arc<dyn DeliveryStore>> {
        self.storage.deliveries.clone()
    }

    /// The clock of the database server, if there is one.
    pub(crate) fn reference_clock(&self) -> Option<Arc<dyn ReferenceClock>> {
        self.storage.reference_clock()
    }

    /// Adds the challenge store, the sender and the relying party to the use cases, and returns the throttle.
    pub(crate) async fn begin_to_serve(
        &mut self,
        settings: &Settings,
        relying_party: Option<Arc<RelyingParty>>,
    ) -> Result<Arc<dyn Throttle>> {
        let Ephemeral { throttle, challenges } = self.storage.ephemeral(settings).await?;
        let mut ports = self.mfa.ports().clone().challenges(challenges).sender(email::sender(settings)?);
        if let Some(relying_party) = relying_party {
            ports = ports.webauthn(relying_party);
        }
        self.mfa = Arc::new(Mfa::new(ports, policies(settings)?)?);
        Ok(throttle)
    }

    /// Closes the stores.
    pub(crate) async fn close(mut self) {
        self.made().await;
        self.storage.close().await;
    }
}

async fn has_api_keys(storage: &Storage) -> Result<bool> {
    Ok(!storage.api_keys.list(None).await.context("the API keys cannot be read")?.is_empty())
}

/// The use cases on open stores.
pub(crate) fn use_cases(settings: &Settings, storage: &Storage, vault: Arc<AesGcmVault>) -> Result<Mfa> {
    let hasher = Arc::new(Argon2Hasher::new((&settings.argon2).into()));
    let mut ports = Ports::shared(Arc::clone(&storage.accounts), vault, hasher);
    if settings.assertions.enabled {
        ports = ports.signing_keys(Arc::new(AssertionKeys));
    }
    Ok(Mfa::new(ports, policies(settings)?)?)
}
