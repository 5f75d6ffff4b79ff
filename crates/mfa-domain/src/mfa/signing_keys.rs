//! The keys that sign assertions, and signing with them.
//!
//! They are kept in the account of the installation, sealed, so that every replica signs with the same key. A process
//! keeps the set in memory for at most [`KEPT_FOR`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_lock::{Mutex, RwLock};
use serde_json::{Value, json};

use super::{Mfa, Undecided};
use crate::account::{
    Account, Decision, Factor, KeyRule, NewSigningKey, SigningKeyDevice, SigningKeyInfo, SigningKeyState,
};
use crate::ports::{KeyPair, SignerError, SigningKeys, StoreError};
use crate::sealed::SealContext;
use crate::signing::{AssertionClaims, SigningAlgorithm, SigningPublicKey};
use crate::{AccountKey, Actor, FactorKind, Label, Reason, TenantId, Timestamp, UserId};

/// The user of [`TenantId::installation`] whose account holds the signing keys.
const USER: &str = "signing-keys";

/// How long a process keeps the keys before it reads them again. Far shorter than the time for which a key is
/// published before it signs.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// How long a process publishes keys that it cannot read again.
const PUBLISHED_UNREAD_FOR: Duration = Duration::from_hours(1);

/// The key that signs now. Get it with [`Mfa::assertion_key`] before a verification, so that a missing key uses up no
/// code.
#[derive(Clone)]
pub struct AssertionKey {
    id: Arc<str>,
    algorithm: SigningAlgorithm,
    pair: Arc<dyn KeyPair>,
}

/// The keys in memory.
#[derive(Debug, Default)]
pub(super) struct KeysInMemory {
    set: RwLock<Option<Arc<KeySet>>>,
    /// Held by the one task that reads the keys.
    reading: Mutex<()>,
}

/// The signing keys of the installation, as they were read.
#[derive(Debug)]
struct KeySet {
    read_at: Timestamp,
    /// In the order in which they sign.
    keys: Vec<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    key: AssertionKey,
    public: SigningPublicKey,
    signs_from: Timestamp,
}

impl Mfa {
    /// The key that signs now; `None` if nothing is to be signed, since there is no
    /// [`SigningKeys`](crate::Ports::signing_keys).
    ///
    /// # Errors
    /// [`Undecided`] if a port failed, or if there is no key: call [`ensure_signing_key`](Self::ensure_signing_key)
    /// when the program starts.
    pub async fn assertion_key(&self) -> Result<Option<AssertionKey>, Undecided> {
        let Some(ports) = &self.ports.signing_keys else { return Ok(None) };
        let now = self.ports.clock.now();
        let set = self.key_set(ports.as_ref(), now).await?;
        // Where the clock is behind that of the replica that made the only key, that key signs already.
        let key = set.keys.iter().rfind(|key| key.signs_from <= now).or_else(|| set.keys.first());
        Ok(Some(key.ok_or_else(|| SignerError::new("there is no signing key"))?.key.clone()))
    }

    /// Signs an assertion: a JSON Web Signature in compact form (RFC 7515, 7.1).
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub fn sign_assertion(
        &self,
        key: &AssertionKey,
        claims: &AssertionClaims<'_>,
    ) -> Result<String, Undecided> {
        let mut jti = [0; 16];
        self.ports.entropy.fill(&mut jti)?;
        let now = self.ports.clock.now();
        let input = claims.signing_input(key.algorithm, &key.id, jti, now).map_err(SignerError::new)?;
        let signature = key.pair.sign(input.as_bytes())?;
        Ok(format!("{input}.{}", data_encoding::BASE64URL_NOPAD.encode(&signature)))
    }

    /// The public keys that assertions are checked with, as a JSON Web Key Set (RFC 7517, 5); `None` if nothing is
    /// signed. While the store fails, the last keys that were read are published for an hour more.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn published_keys(&self) -> Result<Option<String>, Undecided> {
        let Some(ports) = &self.ports.signing_keys else { return Ok(None) };
        let now = self.ports.clock.now();
        let kept = self.keys_in_memory.set.read().await.clone();
        let kept = kept.filter(|set| now.since(set.read_at) < PUBLISHED_UNREAD_FOR);
        let set = match kept {
            // Somebody else reads them, perhaps in vain: a slow store must not keep every host waiting.
            Some(kept) if self.keys_in_memory.reading.try_lock().is_none() => kept,
            kept => match self.key_set(ports.as_ref(), now).await {
                Ok(set) => set,
                Err(error) => kept.ok_or(error)?,
            },
        };
        let keys: Vec<Value> = set.keys.iter().map(|key| key.public.to_jwk(key.key.algorithm)).collect();
        Ok(Some(json!({ "keys": keys }).to_string()))
    }

    /// Makes a key if there is none, or if the newest has another algorithm or is older than `rotate_after`, and
    /// removes keys that nobody needs any more. Returns all keys. Call it when the program starts, and
    /// [`replace_old_signing_key`](Self::replace_old_signing_key) every hour.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed, or if there is no [`SigningKeys`](crate::Ports::signing_keys).
    pub async fn ensure_signing_key(
        &self,
        actor: &Actor,
        algorithm: SigningAlgorithm,
        rotate_after: Duration,
    ) -> Result<Vec<SigningKeyInfo>, Undecided> {
        let rule = KeyRule { algorithm: Some(algorithm), rotate_after };
        self.tend_signing_keys(actor, algorithm, rule).await
    }

    /// As [`ensure_signing_key`](Self::ensure_signing_key), but leaves a newest key of another algorithm: two running
    /// replicas that are configured differently would replace each other's keys for ever.
    ///
    /// # Errors
    /// As [`Mfa::ensure_signing_key`].
    pub async fn replace_old_signing_key(
        &self,
        actor: &Actor,
        algorithm: SigningAlgorithm,
        rotate_after: Duration,
    ) -> Result<Vec<SigningKeyInfo>, Undecided> {
        self.tend_signing_keys(actor, algorithm, KeyRule { algorithm: None, rotate_after }).await
    }

    async fn tend_signing_keys(
        &self,
        actor: &Actor,
        algorithm: SigningAlgorithm,
        rule: KeyRule,
    ) -> Result<Vec<SigningKeyInfo>, Undecided> {
        let key = place()?;
        let account = self.ports.accounts.load_without_backup_codes(&key).await?.value;
        let now = self.ports.clock.now();
        let due = account.signing_key_is_due(now, rule);
        if due || account.has_superseded_signing_keys(now) {
            let new = if due { Some(self.fresh_signing_key(&key, algorithm).await?) } else { None };
            self.change::<(), Undecided>(&key, actor.into(), |account, context| {
                let due = account.signing_key_is_due(context.now, rule);
                let new = new.clone().filter(|_| due);
                Ok(Decision { answer: (), delta: account.tend_signing_keys(context, new) })
            })
            .await?;
            self.forget_keys().await;
        }
        self.signing_keys().await
    }

    /// Makes a new key, which is published for
    /// [`PUBLISHED_BEFORE`](crate::signing::PUBLISHED_BEFORE) before it signs. Returns all keys.
    ///
    /// # Errors
    /// As [`Mfa::ensure_signing_key`].
    pub async fn rotate_signing_key(
        &self,
        actor: &Actor,
        algorithm: SigningAlgorithm,
    ) -> Result<Vec<SigningKeyInfo>, Undecided> {
        let key = place()?;
        let new = self.fresh_signing_key(&key, algorithm).await?;
        self.change::<(), Undecided>(&key, actor.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.tend_signing_keys(context, Some(new.clone())) })
        })
        .await?;
        self.forget_keys().await;
        self.signing_keys().await
    }

    /// Ends a key at once, since somebody else may have it. If it was the one that signs, a new one does so at once:
    /// hosts that keep the key set for a while refuse assertions until they fetch it again. Other replicas may sign
    /// with the ended key for a minute more.
    ///
    /// Returns whether there was such a key.
    ///
    /// # Errors
    /// As [`Mfa::ensure_signing_key`].
    pub async fn revoke_signing_key(
        &self,
        actor: &Actor,
        id: &str,
        algorithm: SigningAlgorithm,
        reason: &Reason,
    ) -> Result<bool, Undecided> {
        let key = place()?;
        let new = self.fresh_signing_key(&key, algorithm).await?;
        let revoked = self
            .change::<bool, Undecided>(&key, actor.into(), |account, context| {
                Ok(account.revoke_signing_key(context, id, reason, new.clone()))
            })
            .await?;
        self.forget_keys().await;
        Ok(revoked)
    }

    /// All signing keys, without their private halves, in the order in which they sign.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, Undecided> {
        let account = self.ports.accounts.load_without_backup_codes(&place()?).await?.value;
        Ok(account.signing_key_infos(self.ports.clock.now()))
    }

    async fn fresh_signing_key(
        &self,
        account: &AccountKey,
        algorithm: SigningAlgorithm,
    ) -> Result<NewSigningKey, Undecided> {
        let ports = self.ports.signing_keys.as_ref();
        let ports = ports.ok_or_else(|| SignerError::new("no keys can be made"))?;
        let private = ports.generate(algorithm)?;
        let public = ports.read(algorithm, &private)?.public_key();
        let now = self.ports.clock.now();
        let id = self.fresh_factor_id(now)?;
        let context = SealContext::Factor { account, factor: id, kind: &FactorKind::SigningKey };
        let sealed = self.ports.vault.seal(&private, &context).await?;
        let label = Label::new("Signing key").map_err(StoreError::new)?;
        Ok(NewSigningKey { id, label, sealed, algorithm, public })
    }

    /// The keys, from memory if they were read within [`KEPT_FOR`].
    async fn key_set(&self, ports: &dyn SigningKeys, now: Timestamp) -> Result<Arc<KeySet>, Undecided> {
        let KeysInMemory { set, reading } = &self.keys_in_memory;
        // A clock that was set back makes the keys look new for longer; they are read again then.
        let fresh = |set: &Option<Arc<KeySet>>| {
            let kept = set.as_ref().filter(|set| set.read_at <= now && now.since(set.read_at) < KEPT_FOR);
            kept.cloned()
        };
        if let Some(kept) = fresh(&*set.read().await) {
            return Ok(kept);
        }
        let _reading = reading.lock().await;
        if let Some(kept) = fresh(&*set.read().await) {
            return Ok(kept);
        }
        let key = place()?;
        let account = self.ports.accounts.load_without_backup_codes(&key).await?.value;
        let read = Arc::new(KeySet { read_at: now, keys: self.loaded(ports, &key, &account, now).await? });
        *set.write().await = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Opens the private keys.
    async fn loaded(
        &self,
        ports: &dyn SigningKeys,
        account: &AccountKey,
        read: &Account,
        now: Timestamp,
    ) -> Result<Vec<Loaded>, Undecided> {
        let mut keys = Vec::new();
        let infos = read.signing_key_infos(now);
        for ((factor, device), info) in read.signing_keys().into_iter().zip(infos) {
            let pair = match self.opened(ports, account, factor, device).await {
                Ok(pair) => pair,
                // It must not stop the signing. Hosts refuse what it signed.
                Err(error) if info.state == SigningKeyState::Previous => {
                    tracing::error!(key = device.public.id(), "a signing key cannot be read: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (id, algorithm) = (device.public.id().into(), device.algorithm);
            let key = AssertionKey { id, algorithm, pair };
            keys.push(Loaded { key, public: device.public, signs_from: device.signs_from });
        }
        Ok(keys)
    }

    async fn opened(
        &self,
        ports: &dyn SigningKeys,
        account: &AccountKey,
        factor: &Factor,
        device: &SigningKeyDevice,
    ) -> Result<Arc<dyn KeyPair>, Undecided> {
        let sealed = factor.sealed.as_ref();
        let sealed = sealed.ok_or_else(|| StoreError::unreadable("the signing key has no private key"))?;
        let context = SealContext::Factor { account, factor: factor.id, kind: &FactorKind::SigningKey };
        let private = self.ports.vault.open(sealed, &context).await?;
        let pair = ports.read(device.algorithm, &private)?;
        // The public key is not sealed. Whoever can write to the store must not make us publish theirs.
        if pair.public_key() != device.public {
            return Err(StoreError::unreadable("the public key is not that of the signing key").into());
        }
        Ok(pair)
    }

    async fn forget_keys(&self) {
        *self.keys_in_memory.set.write().await = None;
    }
}

/// The account of the signing keys.
fn place() -> Result<AccountKey, Undecided> {
    let user = UserId::new(USER).map_err(StoreError::new)?;
    Ok(AccountKey::new(TenantId::installation(), user))
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("id", &self.id).finish_non_exhaustive()
    }
}
