//! Sample changes to commit, for a store author's own tests of crashes, files and connections.

use std::time::Duration;

use mfa_domain::account::{Context, Draft, Session};
use mfa_domain::otp_core::Hotp;
use mfa_domain::passkey::{Aaguid, Attestation, CredentialId, UserHandle};
use mfa_domain::ports::{AccountStore, ChallengeStore, Commit, StoreError};
use mfa_domain::{
    Account, AccountKey, Actor, Authenticator, Caller, Challenge, ChallengeData, ChallengeId, ChallengeKind,
    ChallengeState, Delta, EventKind, Factor, FactorId, FactorState, HotpDevice, KeyId, Label, Message,
    MessageId, Passkey, PasskeyDevice, Policies, Progress, Purpose, Sealed, TenantId, Timestamp, UserId,
    Versioned,
};

/// The key of a user of the tenant `acme`.
///
/// # Panics
/// If `user` is not a valid user id.
#[must_use]
pub fn key(user: &str) -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(user).unwrap())
}

/// The time of changes without a time of their own.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

/// An HOTP factor whose secret has `secret` bytes.
#[must_use]
pub fn factor(counter: u64, secret: usize) -> Factor {
    Factor {
        id: FactorId::fresh(now(), &[1; 10]),
        label: Label::new("Token").unwrap(),
        state: FactorState::Active,
        created_at: now(),
        last_used_at: None,
        sealed: Some(Sealed { key: KeyId::new("k1"), bytes: vec![7; secret] }),
        authenticator: Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), counter }),
    }
}

/// An active passkey of a relying party. Its public key is not sealed, so it signs in nobody.
#[must_use]
pub fn passkey(number: u16, rp_id: &str) -> Factor {
    let mut random = [0; 10];
    random[..2].copy_from_slice(&number.to_be_bytes());
    let passkey = Passkey {
        credential_id: CredentialId::new(random).unwrap(),
        user_handle: UserHandle::new([7; 32]).unwrap(),
        rp_id: rp_id.to_owned(),
        sign_count: 0,
        aaguid: Aaguid::default(),
        transports: Vec::new(),
        discoverable: None,
        user_verified: true,
        backup_eligible: None,
        backed_up: false,
        attestation: Attestation::default(),
    };
    Factor {
        id: FactorId::fresh(now(), &random),
        label: Label::new("Key").unwrap(),
        state: FactorState::Active,
        created_at: now(),
        last_used_at: None,
        sealed: None,
        authenticator: Authenticator::Passkey(PasskeyDevice::Registered(Box::new(passkey))),
    }
}

/// Commits one event at each of these times, in seconds since 1970, one per change.
///
/// # Errors
/// [`StoreError`] if the store fails.
pub async fn happen(
    store: &dyn AccountStore,
    key: &AccountKey,
    times: impl IntoIterator<Item = u64>,
) -> Result<(), StoreError> {
    let (policies, actor) = (Policies::default(), Actor::user("test"));
    for seconds in times {
        let Versioned { value, version } = store.load(key).await?;
        let now = Timestamp::from_unix_seconds(seconds);
        let mut draft = value.draft(Context {
            key,
            actor: &actor,
            now,
            policies: &policies,
            session: Session::default(),
        });
        draft.record(EventKind::Verified, None, []);
        let _ = store.commit(key, version, &draft.finish().unwrap()).await?;
    }
    Ok(())
}

/// A change of an account with one event and the edits of `edit`.
#[must_use]
pub fn delta(account: &Account, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) -> Delta {
    let (policies, actor) = (Policies::default(), Actor::user("test"));
    let mut draft = account.draft(Context {
        key,
        actor: &actor,
        now: now(),
        policies: &policies,
        session: Session::default(),
    });
    draft.record(EventKind::Verified, None, []);
    edit(&mut draft);
    draft.finish().unwrap()
}

/// Commits a change to an account at its stored version.
///
/// # Errors
/// [`StoreError`] if the store fails.
pub async fn change(
    store: &dyn AccountStore,
    key: &AccountKey,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Result<Commit, StoreError> {
    let Versioned { value, version } = store.load(key).await?;
    store.commit(key, version, &delta(&value, key, edit)).await
}

/// A message to alice, due from `queued_at` on and valid for ten minutes. No vault opens its content.
#[must_use]
pub fn message(number: u8, queued_at: Timestamp) -> Message {
    let id = MessageId::from_entropy([number; MessageId::LENGTH]);
    let content = Sealed { key: KeyId::new("k1"), bytes: vec![number; 200] };
    Message::queued(id, key("alice"), queued_at, queued_at.plus(Duration::from_mins(10)), content)
}

/// A challenge of alice in one session, open for ten minutes.
#[must_use]
pub fn challenge(number: u8, created_at: Timestamp) -> Challenge {
    let AccountKey { tenant, user } = key("alice");
    Challenge {
        id: ChallengeId::from_entropy([number; ChallengeId::LENGTH]),
        tenant,
        user: Some(user),
        factor: None,
        kind: ChallengeKind::EmailCode,
        purpose: Purpose::Verify,
        caller: Caller::new("shop"),
        nonce: "Session-1".parse().ok(),
        created_at,
        expires_at: created_at.plus(Duration::from_mins(10)),
        progress: Progress::new(ChallengeData::default()),
    }
}

/// The progress of a challenge that was answered.
#[must_use]
pub fn over() -> Progress {
    Progress { state: ChallengeState::Over, ..Progress::new(ChallengeData::default()) }
}

/// Ends a challenge as an answer does, retrying after concurrent changes. Returns the challenge if it existed
/// and was not over.
///
/// # Errors
/// [`StoreError`] if the store fails.
pub async fn end(store: &dyn ChallengeStore, id: &ChallengeId) -> Result<Option<Challenge>, StoreError> {
    loop {
        let Some(Versioned { value, version }) = store.get(id).await? else { return Ok(None) };
        if value.progress.state == ChallengeState::Over {
            return Ok(None);
        }
        if store.swap(id, version, &over()).await? == Commit::Won {
            return Ok(Some(value));
        }
    }
}
