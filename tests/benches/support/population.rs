//! A data directory with many users, made without going through the server.

use std::path::Path;
use std::sync::Arc;

use mfa_actix::api_key::PlainApiKey;
use mfa_crypto::{AesGcmVault, KeyRing, OsEntropy};
use mfa_domain::account::{CodeHash, Context, HashedCode};
use mfa_domain::otp_core::{Hotp, Secret};
use mfa_domain::ports::{AccountStore, ApiKeyStore, Clock, Commit, Entropy, Scope, SystemClock, Vault};
use mfa_domain::{
    Account, AccountKey, Actor, Authenticator, BackupCodes, BackupCodesChange, EventKind, Factor, FactorId,
    FactorKind, FactorState, HotpDevice, Label, Policies, SecretContext, TenantId, UserId, Version,
};
use mfa_store_sqlite::SqliteStore;

/// The name of a user of the population.
pub fn user(number: u32) -> String {
    format!("user-{number:07}")
}

/// The secret of a user's only factor, an HOTP token with the default parameters.
pub fn secret(number: u32) -> Secret {
    let mut bytes = [0x5a; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Secret::from_bytes(&bytes).expect("a secret")
}

/// The code of a user's token.
pub fn code(number: u32, counter: u64) -> String {
    Hotp::default().generate(&secret(number), counter).as_str().to_owned()
}

/// Makes the data directory: a key ring, an API key, and users from `from` to `to`, each with an
/// HOTP token and ten backup codes. Gives the API key.
pub async fn populate(data: &Path, users: std::ops::Range<u32>) -> String {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let ring_file = data.join("keyring.toml");
    let ring = if let Ok(text) = std::fs::read_to_string(&ring_file) {
        KeyRing::parse(&text).expect("a ring")
    } else {
        let ring = KeyRing::generate(entropy.as_ref(), SystemClock.now()).expect("randomness");
        std::fs::write(&ring_file, ring.to_text().as_bytes()).expect("a writable folder");
        private(&ring_file);
        ring
    };
    private(data);
    let vault = Arc::new(AesGcmVault::new(ring, Arc::clone(&entropy)));
    let store = Arc::new(SqliteStore::open(&data.join("mfa.db")).await.expect("a store"));

    let api_key = PlainApiKey::generate(entropy.as_ref()).expect("randomness");
    let record = api_key.record(tenant(), Scope::ALL.into_iter().collect(), SystemClock.now());
    store.insert(&record).await.expect("a key");

    // Many at a time, so that they share transactions.
    let next = Arc::new(std::sync::atomic::AtomicU32::new(users.start));
    let tasks = (0..256).map(|_| {
        let (store, vault, next, end) =
            (Arc::clone(&store), Arc::clone(&vault), Arc::clone(&next), users.end);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= end {
                    return;
                }
                add(store.as_ref(), vault.as_ref(), number).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a user");
    }
    store.close().await;
    api_key.expose().to_owned()
}

async fn add(store: &SqliteStore, vault: &AesGcmVault, number: u32) {
    let key = AccountKey::new(tenant(), UserId::new(&user(number)).expect("an id"));
    let now = SystemClock.now();
    let mut random = [0; 10];
    OsEntropy.fill(&mut random).expect("randomness");
    let id = FactorId::fresh(now, &random);
    let context = SecretContext { account: &key, factor: id, kind: FactorKind::Hotp };
    let sealed = vault.seal(&secret(number), &context).await.expect("sealed");
    let factor = Factor {
        id,
        label: Label::new("Phone").expect("a label"),
        state: FactorState::Active,
        created_at: now,
        last_used_at: Some(now),
        authenticator: Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), secret: sealed, counter: 0 }),
    };
    let mut random = vec![0; 320];
    OsEntropy.fill(&mut random).expect("randomness");
    let hashed = |hash: &[u8]| HashedCode { hash: CodeHash(hash.to_vec()), spent_at: None };
    let codes = BackupCodes {
        scheme: "argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        codes: random.chunks(32).map(hashed).collect(),
        issued_at: now,
    };
    let (actor, policies) = (Actor::user("bench"), Policies::default());
    let mut draft = Account::default().draft(Context { key: &key, actor: &actor, now, policies: &policies });
    draft.record(EventKind::EnrolmentStarted, Some(id), [("factor_kind", "hotp".to_owned())]);
    draft.record(EventKind::FactorActivated, Some(id), [("factor_kind", "hotp".to_owned())]);
    draft.record(EventKind::BackupCodesIssued, None, [("codes", "10".to_owned())]);
    draft.put(factor);
    draft.backup_codes(BackupCodesChange::Replace(codes));
    let delta = draft.finish().expect("events");
    assert_eq!(store.commit(&key, Version(0), &delta).await.expect("a commit"), Commit::Won);
}

fn tenant() -> TenantId {
    TenantId::new("bench").expect("an id")
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
}
