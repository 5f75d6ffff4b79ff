//! Decisions about the keys that sign assertions, in the account of the installation.

use std::time::Duration;

use super::{Account, Authenticator, Context, Decision, Draft, Factor, FactorState, SigningKeyDevice};
use crate::audit::EventKind;
use crate::signing::{PUBLISHED_AFTER, PUBLISHED_BEFORE, SigningAlgorithm, SigningPublicKey};
use crate::{Delta, FactorId, Label, Reason, Sealed, Timestamp};

/// How far the clocks of replicas may differ.
const SKEW: Duration = Duration::from_secs(15);

/// When a new key is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRule {
    /// The algorithm that the newest key must have; `None` for any.
    pub(crate) algorithm: Option<SigningAlgorithm>,
    /// The age at which a key is replaced.
    pub(crate) rotate_after: Duration,
}

/// A key that was generated and sealed, and is in no account yet.
#[derive(Clone, Debug)]
pub(crate) struct NewSigningKey {
    pub(crate) id: FactorId,
    pub(crate) label: Label,
    pub(crate) sealed: Sealed,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) public: SigningPublicKey,
}

/// A signing key, without its private half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyInfo {
    /// Its id in the key set ([`SigningPublicKey::id`](crate::signing::SigningPublicKey::id)).
    pub id: String,
    /// The algorithm that it signs with.
    pub algorithm: SigningAlgorithm,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began to sign, or will.
    pub signs_from: Timestamp,
    /// What it does now.
    pub state: SigningKeyState,
}

/// What a signing key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKeyState {
    /// It is published and does not sign yet.
    Next,
    /// It signs.
    Signing,
    /// It signed before, and is published for the assertions that are still good.
    Previous,
}

impl SigningKeyState {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Previous => "previous",
        }
    }
}

impl Account {
    /// The signing keys in the order in which they sign.
    pub(crate) fn signing_keys(&self) -> Vec<(&Factor, &SigningKeyDevice)> {
        let mut keys: Vec<_> = self
            .active_factors()
            .filter_map(|factor| match &factor.authenticator {
                Authenticator::SigningKey(device) => Some((factor, device)),
                _ => None,
            })
            .collect();
        keys.sort_by_key(|(factor, device)| (device.signs_from, factor.id));
        keys
    }

    /// The signing keys, as operators see them.
    pub(crate) fn signing_key_infos(&self, now: Timestamp) -> Vec<SigningKeyInfo> {
        let keys = self.signing_keys();
        let signing = signing(&keys, now);
        let state = |place| match signing {
            Some(signing) if place == signing => SigningKeyState::Signing,
            Some(signing) if place < signing => SigningKeyState::Previous,
            _ => SigningKeyState::Next,
        };
        keys.iter()
            .enumerate()
            .map(|(place, (factor, device))| SigningKeyInfo {
                id: device.public.id(),
                algorithm: device.algorithm,
                created_at: factor.created_at,
                signs_from: device.signs_from,
                state: state(place),
            })
            .collect()
    }

    /// Whether a new key is due: there is none, or the newest has another algorithm or is too old. A key that a wrong
    /// clock dated ahead does not count, or the others would never grow old.
    pub(crate) fn signing_key_is_due(&self, now: Timestamp, rule: KeyRule) -> bool {
        let keys = self.signing_keys();
        let newest = keys.iter().rfind(|(factor, _)| factor.created_at <= now.plus(SKEW));
        newest.is_none_or(|(factor, device)| {
            rule.algorithm.is_some_and(|algorithm| algorithm != device.algorithm)
                || now.since(factor.created_at) >= rule.rotate_after
        })
    }

    /// Whether there are keys that nobody needs any more.
    pub(crate) fn has_superseded_signing_keys(&self, now: Timestamp) -> bool {
        !superseded(&self.signing_keys(), now).is_empty()
    }

    /// Adds a key, if one is given, and removes those that nobody needs any more. The new key signs at once if no
    /// other does; otherwise it is published first.
    pub(crate) fn tend_signing_keys(
        &self,
        context: Context<'_>,
        new: Option<NewSigningKey>,
    ) -> Option<Delta> {
        let keys = self.signing_keys();
        let mut draft = self.draft(context);
        for (factor, device) in superseded(&keys, context.now) {
            draft.end_signing_key(EventKind::SigningKeyRetired, factor, device, None);
        }
        if let Some(new) = new {
            put(&mut draft, new, signing(&keys, context.now).is_some());
        }
        draft.finish()
    }

    /// Removes a key at once, since somebody else may have it. If it was the one that signs, `new` does so at once in
    /// its place, and not a former key, which whoever has this one may have too. The answer is whether there was such
    /// a key.
    pub(crate) fn revoke_signing_key(
        &self,
        context: Context<'_>,
        id: &str,
        reason: &Reason,
        new: NewSigningKey,
    ) -> Decision<bool> {
        let keys = self.signing_keys();
        let Some(place) = keys.iter().position(|(_, device)| device.public.id() == id) else {
            return Decision::without_change(false);
        };
        let (factor, device) = keys[place];
        let mut draft = self.draft(context);
        draft.end_signing_key(EventKind::SigningKeyRevoked, factor, device, Some(reason));
        if signing(&keys, context.now).is_none_or(|signing| signing == place) {
            put(&mut draft, new, false);
        }
        Decision { answer: true, delta: draft.finish() }
    }
}

/// The place of the key that signs now: the last that has begun.
fn signing(keys: &[(&Factor, &SigningKeyDevice)], now: Timestamp) -> Option<usize> {
    keys.iter().rposition(|(_, device)| device.signs_from <= now)
}

/// The keys before the last one that began to sign long enough ago.
fn superseded<'a, 'k>(
    keys: &'a [(&'k Factor, &'k SigningKeyDevice)],
    now: Timestamp,
) -> &'a [(&'k Factor, &'k SigningKeyDevice)] {
    let settled = signing(keys, now.minus(PUBLISHED_AFTER));
    settled.map_or(&[], |settled| &keys[..settled])
}

fn put(draft: &mut Draft<'_>, new: NewSigningKey, another_signs: bool) {
    let now = draft.context.now;
    let NewSigningKey { id, label, sealed, algorithm, public } = new;
    let signs_from = if another_signs { now.plus(PUBLISHED_BEFORE) } else { now };
    let device = SigningKeyDevice { algorithm, public, signs_from };
    let detail =
        [("key", public.id()), ("algorithm", algorithm.to_string()), ("signs_from", signs_from.to_string())];
    draft.record(EventKind::SigningKeyMade, None, detail);
    draft.put(Factor {
        id,
        label,
        state: FactorState::Active,
        created_at: now,
        last_used_at: None,
        sealed: Some(sealed),
        authenticator: Authenticator::SigningKey(device),
    });
}

impl Draft<'_> {
    fn end_signing_key(
        &mut self,
        event: EventKind,
        factor: &Factor,
        device: &SigningKeyDevice,
        reason: Option<&Reason>,
    ) {
        let key = ("key", device.public.id());
        match reason {
            Some(reason) => self.record(event, None, [key, ("reason", reason.to_string())]),
            None => self.record(event, None, [key]),
        }
        self.remove(factor.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Session;
    use crate::{AccountKey, Actor, KeyId, Policies, TenantId, UserId};

    const RULE: KeyRule =
        KeyRule { algorithm: Some(SigningAlgorithm::Es256), rotate_after: Duration::from_hours(24) };

    struct World {
        account: Account,
        key: AccountKey,
        actor: Actor,
        policies: Policies,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            Self {
                account: Account::default(),
                key: AccountKey::new(TenantId::installation(), UserId::new("signing-keys").unwrap()),
                actor: Actor::admin("test"),
                policies: Policies::default(),
                now: Timestamp::from_unix_seconds(1_000_000),
            }
        }

        fn key(&self, number: u8) -> NewSigningKey {
            NewSigningKey {
                id: FactorId::fresh(self.now, &[number; 10]),
                label: Label::new("Signing key").unwrap(),
                sealed: Sealed { key: KeyId::new("k"), bytes: vec![number] },
                algorithm: SigningAlgorithm::Es256,
                public: SigningPublicKey::P256 { x: [number; 32], y: [number; 32] },
            }
        }

        fn decide<T>(&mut self, decide: impl Fn(&Account, Context<'_>) -> (T, Option<Delta>)) -> T {
            let Self { account, key, actor, policies, now } = self;
            let context = Context { key, actor, now: *now, policies, session: Session::default() };
            let (answer, delta) = decide(account, context);
            if let Some(delta) = delta {
                account.apply(&delta);
            }
            answer
        }

        fn add(&mut self, number: u8) {
            let new = self.key(number);
            self.decide(|account, context| ((), account.tend_signing_keys(context, Some(new.clone()))));
        }

        fn revoke(&mut self, number: u8, new: u8) -> bool {
            let (id, new) = (self.key(number).public.id(), self.key(new));
            let reason = Reason::new("lost backup").unwrap();
            self.decide(|account, context| {
                let Decision { answer, delta } =
                    account.revoke_signing_key(context, &id, &reason, new.clone());
                (answer, delta)
            })
        }

        fn states(&self) -> Vec<(u8, SigningKeyState)> {
            let number = |id: &str| (1..9).find(|number| self.key(*number).public.id() == id).unwrap();
            let infos = self.account.signing_key_infos(self.now);
            infos.iter().map(|info| (number(&info.id), info.state)).collect()
        }

        fn after(&mut self, time: Duration) {
            self.now = self.now.plus(time);
        }
    }

    use SigningKeyState::{Next, Previous, Signing};

    #[test]
    fn the_first_key_signs_at_once_and_every_other_is_published_before_and_after() {
        let mut world = World::new();
        assert!(world.account.signing_key_is_due(world.now, RULE));
        world.add(1);
        assert_eq!(world.states(), [(1, Signing)]);
        assert!(!world.account.signing_key_is_due(world.now, RULE));
        world.add(2);
        assert_eq!(world.states(), [(1, Signing), (2, Next)]);
        world.after(PUBLISHED_BEFORE.saturating_sub(Duration::from_millis(1)));
        assert_eq!(world.states(), [(1, Signing), (2, Next)]);
        world.after(Duration::from_millis(1));
        assert_eq!(world.states(), [(1, Previous), (2, Signing)]);
        world.after(PUBLISHED_AFTER.saturating_sub(Duration::from_millis(1)));
        world.add(3);
        assert_eq!(world.states(), [(1, Previous), (2, Signing), (3, Next)]);
        world.after(Duration::from_millis(1));
        assert!(world.account.has_superseded_signing_keys(world.now));
        world.decide(|account, context| ((), account.tend_signing_keys(context, None)));
        assert_eq!(world.states(), [(2, Signing), (3, Next)]);
        assert!(!world.account.has_superseded_signing_keys(world.now));
    }

    #[test]
    fn a_key_is_due_by_age_and_by_another_algorithm() {
        let mut world = World::new();
        world.add(1);
        let edwards = KeyRule { algorithm: Some(SigningAlgorithm::Ed25519), ..RULE };
        assert!(world.account.signing_key_is_due(world.now, edwards));
        assert!(!world.account.signing_key_is_due(world.now, KeyRule { algorithm: None, ..RULE }));
        world.after(RULE.rotate_after.saturating_sub(Duration::from_millis(1)));
        assert!(!world.account.signing_key_is_due(world.now, RULE));
        world.after(Duration::from_millis(1));
        assert!(world.account.signing_key_is_due(world.now, RULE));
    }

    #[test]
    fn a_key_that_a_wrong_clock_dated_ahead_keeps_no_other_from_growing_old() {
        let mut world = World::new();
        world.add(1);
        let begin = world.now;
        world.after(RULE.rotate_after * 10);
        world.add(2);
        world.now = begin;
        assert!(!world.account.signing_key_is_due(world.now, RULE));
        world.after(RULE.rotate_after);
        assert!(world.account.signing_key_is_due(world.now, RULE));
        world.add(3);
        assert!(!world.account.signing_key_is_due(world.now, RULE));
    }

    #[test]
    fn a_revoked_key_is_gone_at_once_and_there_is_always_one_that_signs() {
        let mut world = World::new();
        world.add(1);
        world.add(2);
        assert!(!world.revoke(7, 8));
        assert_eq!(world.states(), [(1, Signing), (2, Next)]);
        assert!(world.revoke(1, 3));
        assert_eq!(world.states(), [(3, Signing), (2, Next)]);
        world.after(PUBLISHED_BEFORE);
        assert_eq!(world.states(), [(3, Previous), (2, Signing)]);
        assert!(world.revoke(2, 4));
        assert_eq!(world.states(), [(3, Previous), (4, Signing)]);
        assert!(world.revoke(3, 5));
        assert_eq!(world.states(), [(4, Signing)]);
    }
}
