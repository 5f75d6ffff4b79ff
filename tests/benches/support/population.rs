//! Users by number: what they are called, what they have, and their codes.

use std::path::Path;
use std::sync::Arc;

use mfa_actix::api_key::PlainApiKey;
use mfa_crypto::{AesGcmVault, KeyRing};
use mfa_domain::account::{CodeHash, Context, HashedCode, Session};
use mfa_domain::otp_core::{Hotp, Secret, Totp};
use mfa_domain::ports::{ApiKey, Clock, Entropy, Scope, SystemClock, SystemEntropy, Vault};
use mfa_domain::{
    Account, AccountKey, Actor, Address, AddressDevice, Authenticator, BackupCodes, BackupCodesChange, Delta,
    EventKind, Factor, FactorId, FactorKind, FactorState, HotpDevice, Label, Policies, SealContext, TenantId,
    TotpDevice, UserId,
};

/// Everybody's tenant.
pub const TENANT: &str = "bench";

/// A backup code that nobody has.
pub const WRONG_BACKUP_CODE: &str = "AAAA-AAAA-AAAA-AAAA";

/// The name of a user of the population.
pub fn user(number: u32) -> String {
    format!("user-{number:08}")
}

/// The code of a user's token for that counter.
pub fn hotp(number: u32, counter: u64) -> String {
    Hotp::default().generate(&secret(number), counter).as_str().to_owned()
}

/// The code that a user's app shows now.
pub fn totp(number: u32) -> String {
    let now = SystemClock.now().unix_seconds();
    Totp::default().generate(&secret(number), now).expect("a time").as_str().to_owned()
}

/// Where a user's codes are sent.
pub fn address(number: u32) -> Address {
    Address::new(&format!("{}@example.com", user(number))).expect("an address")
}

/// The secret of a user's only factor.
fn secret(number: u32) -> Secret {
    let mut bytes = [0x5a; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Secret::from_bytes(&bytes).expect("a secret")
}

/// A data directory with a key ring, and the vault on that.
pub fn vault(data: &Path) -> AesGcmVault {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
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
    AesGcmVault::new(ring)
}

/// An API key that may do everything: in the clear, and as it is stored.
pub fn api_key() -> (String, ApiKey) {
    let key = PlainApiKey::generate(&SystemEntropy).expect("randomness");
    let record = key.record(tenant(), Scope::ALL.into_iter().collect(), SystemClock.now());
    let record = record.expect("a tenant with users");
    (key.expose().to_owned(), record)
}

/// What a server would have committed for a user who enrolled: a factor with the default parameters,
/// so many backup codes, and three events.
pub async fn enrolled(
    vault: &AesGcmVault,
    number: u32,
    kind: &FactorKind,
    codes: usize,
) -> (AccountKey, Delta) {
    let key = AccountKey::new(tenant(), UserId::new(&user(number)).expect("an id"));
    let now = SystemClock.now();
    let mut random = [0; 10];
    SystemEntropy.fill(&mut random).expect("randomness");
    let id = FactorId::fresh(now, &random);
    let context = SealContext::Factor { account: &key, factor: id, kind };
    let (token, address) = (secret(number), address(number));
    let secret = match kind {
        FactorKind::Email => address.expose().as_bytes(),
        _ => token.expose(),
    };
    let secret = vault.seal(secret, &context).await.expect("sealed");
    let authenticator = match kind {
        FactorKind::Email => Authenticator::Email(AddressDevice::confirmed(address.masked())),
        FactorKind::Hotp => Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), counter: 0 }),
        _ => Authenticator::Totp(TotpDevice::new(Totp::default())),
    };
    let factor = Factor {
        id,
        label: Label::new("Phone").expect("a label"),
        state: FactorState::Active,
        created_at: now,
        last_used_at: Some(now),
        sealed: Some(secret),
        authenticator,
    };
    let mut random = vec![0; 16 * codes];
    SystemEntropy.fill(&mut random).expect("randomness");
    let hashed = |hash: &[u8]| HashedCode { hash: CodeHash(hash.to_vec()), spent_at: None };
    let set = BackupCodes {
        scheme: "argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        codes: random.chunks(16).map(hashed).collect(),
        issued_at: now,
    };
    let (actor, policies) = (Actor::user("bench"), Policies::default());
    let nobody = Account::default();
    let session = Session::default();
    let mut draft = nobody.draft(Context { key: &key, actor: &actor, now, policies: &policies, session });
    let factor_kind = kind.as_str().to_owned();
    draft.record(EventKind::EnrolmentStarted, Some(id), [("factor_kind", factor_kind.clone())]);
    draft.record(EventKind::FactorActivated, Some(id), [("factor_kind", factor_kind)]);
    draft.record(EventKind::BackupCodesIssued, None, [("codes", codes.to_string())]);
    draft.put(factor);
    draft.backup_codes(BackupCodesChange::Replace(set));
    let delta = draft.finish().expect("events");
    (key, delta)
}

fn tenant() -> TenantId {
    TenantId::new(TENANT).expect("an id")
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
}
