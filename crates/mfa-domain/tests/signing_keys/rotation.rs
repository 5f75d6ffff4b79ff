//! Keys follow each other: no host meets an assertion whose key it does not know, and every key goes at last.

use std::time::Duration;

use mfa_assertion::{KeySet, Refusal};
use mfa_domain::account::SigningKeyState;
use mfa_domain::signing::{PUBLISHED_BEFORE, SigningAlgorithm};
use mfa_domain::{EventKind, Mfa, Timestamp};

use super::{
    ES256, MILLISECOND, NEVER, World, check, ensure, ids, operator, published, reason, signed, signer,
};

/// How often each replica publishes and signs in the simulation.
const STEP: Duration = Duration::from_secs(20);
const STEPS_OF_A_MINUTE: usize = 3;
const HOURS: usize = 3;
const ROTATE_AFTER: Duration = Duration::from_mins(20);

/// A set of keys that a replica published.
struct Published {
    text: String,
    keys: KeySet,
    /// When a replica published it last.
    last: Timestamp,
}

/// Two replicas for some hours, of which one rotates the keys at this step of each minute. The other has read them
/// before, and knows of the new key up to a minute later.
struct Simulation {
    world: World,
    /// Every set that hosts may have.
    sets: Vec<Published>,
    /// The most keys of a set.
    most: usize,
    /// How many hosts met an assertion by a key that they did not know.
    refused: usize,
}

impl Simulation {
    /// Hosts keep a set for up to `age`. They fetch it at any time from either replica, so that each set counts that
    /// either has published within that time.
    async fn run(age: Duration, rotates_at: usize) -> Self {
        let mut simulation = Self { world: World::new(), sets: Vec::new(), most: 0, refused: 0 };
        let replicas = [simulation.world.replica(), simulation.world.replica()];
        ensure(&replicas[0]).await;
        for step in 0..HOURS * 60 * STEPS_OF_A_MINUTE {
            if step % STEPS_OF_A_MINUTE == rotates_at {
                replicas[0].ensure_signing_key(&operator(), ES256, ROTATE_AFTER).await.unwrap();
            }
            for mfa in &replicas {
                simulation.publish(mfa).await;
            }
            let now = simulation.world.now();
            simulation.sets.retain(|set| now.since(set.last) <= age);
            for mfa in &replicas {
                simulation.present(&signed(mfa).await);
            }
            simulation.world.wait(STEP);
        }
        simulation
    }

    async fn publish(&mut self, mfa: &Mfa) {
        let (text, last) = (published(mfa).await, self.world.now());
        if let Some(known) = self.sets.iter_mut().find(|set| set.text == text) {
            known.last = last;
            return;
        }
        let keys = KeySet::from_json(&text).unwrap();
        self.most = self.most.max(keys.key_ids().count());
        self.sets.push(Published { text, keys, last });
    }

    fn present(&mut self, assertion: &str) {
        for set in &self.sets {
            match check(&set.keys, assertion, self.world.now()) {
                Ok(_) => {}
                Err(Refusal::UnknownKey) => self.refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn no_host_whose_keys_are_five_minutes_old_meets_an_unknown_key_and_every_key_goes_at_last() {
    for rotates_at in 0..STEPS_OF_A_MINUTE {
        let after = Simulation::run(Duration::from_mins(5), rotates_at).await;
        assert_eq!(after.refused, 0, "{rotates_at}");
        let kinds = after.world.kinds().await;
        let count = |kind: &EventKind| kinds.iter().filter(|other| *other == kind).count();
        let (made, retired) = (count(&EventKind::SigningKeyMade), count(&EventKind::SigningKeyRetired));
        assert!(made >= 8 && retired >= 3, "{rotates_at}: {made} were made, {retired} retired");
        assert_eq!(after.world.stored().await.len(), made - retired, "{rotates_at}");
        assert!(after.most <= 5, "{rotates_at}: {} keys were published at once", after.most);
    }
}

/// So the simulation finds what it looks for.
#[tokio::test]
async fn a_host_whose_keys_are_older_than_a_key_is_published_before_it_signs_meets_an_unknown_one() {
    let age = PUBLISHED_BEFORE + Duration::from_mins(1);
    assert!(Simulation::run(age, 1).await.refused > 0);
}

#[tokio::test]
async fn replicas_follow_a_rotation_within_a_minute_and_change_keys_at_the_same_time() {
    let world = World::new();
    let (one, other) = (world.replica(), world.replica());
    let first = ensure(&one).await;
    let before = published(&other).await;
    world.wait(Duration::from_secs(1));
    let keys = one.rotate_signing_key(&operator(), ES256).await.unwrap();
    let second = keys[1].id.clone();
    let states: Vec<_> = keys.iter().map(|key| (&key.id, key.state)).collect();
    assert_eq!(states, [(&first, SigningKeyState::Signing), (&second, SigningKeyState::Next)]);
    assert_eq!(keys[1].signs_from, world.now().plus(PUBLISHED_BEFORE));
    let after = published(&one).await;
    assert_eq!(ids(&after), [first.clone(), second.clone()]);

    world.wait(Duration::from_secs(59).saturating_sub(MILLISECOND));
    assert_eq!(published(&other).await, before);
    world.wait(MILLISECOND);
    assert_eq!(published(&other).await, after);

    world.test.clock.set(keys[1].signs_from.minus(MILLISECOND));
    for (signs, wait) in [(&first, MILLISECOND), (&second, Duration::ZERO)] {
        for mfa in [&one, &other] {
            let assertion = signed(mfa).await;
            assert_eq!(signer(&assertion), *signs);
            assert!(world.check(&after, &assertion).is_ok());
        }
        world.wait(wait);
    }
    let states: Vec<_> = one.signing_keys().await.unwrap().iter().map(|key| key.state).collect();
    assert_eq!(states, [SigningKeyState::Previous, SigningKeyState::Signing]);
}

#[tokio::test]
async fn a_key_of_another_algorithm_is_published_before_it_signs_too() {
    let world = World::new();
    let mfa = world.replica();
    let first = ensure(&mfa).await;
    let keys = mfa.ensure_signing_key(&operator(), SigningAlgorithm::EdDsa, NEVER).await.unwrap();
    assert_eq!(keys.len(), 2);
    let set = published(&mfa).await;
    assert_eq!(signer(&signed(&mfa).await), first);
    world.wait(PUBLISHED_BEFORE);
    let assertion = signed(&mfa).await;
    assert_eq!(signer(&assertion), keys[1].id);
    assert!(world.check(&set, &assertion).is_ok());
}

async fn revoke(mfa: &Mfa, id: &str) -> bool {
    mfa.revoke_signing_key(&operator(), id, ES256, &reason()).await.unwrap()
}

#[tokio::test]
async fn a_revoked_key_is_gone_at_once_and_from_other_replicas_within_a_minute() {
    let world = World::new();
    let (one, other) = (world.replica(), world.replica());
    let first = ensure(&one).await;
    let old = signed(&other).await;
    assert!(!revoke(&one, "nobodys").await);
    assert_eq!(world.kinds().await, [EventKind::SigningKeyMade]);

    assert!(revoke(&one, &first).await);
    let set = published(&one).await;
    assert_eq!(world.check(&set, &old), Err(Refusal::UnknownKey));
    assert!(world.check(&set, &signed(&one).await).is_ok(), "another key signs at once");
    let events = world.events().await;
    let kinds: Vec<_> = events.iter().skip(1).map(|event| &event.kind).collect();
    assert_eq!(kinds, [&EventKind::SigningKeyRevoked, &EventKind::SigningKeyMade]);
    let detail = (&events[1].detail["key"], events[1].detail["reason"].as_str());
    assert_eq!(detail, (&first, "lost backup"));

    world.wait(Duration::from_mins(1).saturating_sub(MILLISECOND));
    assert_eq!(signer(&signed(&other).await), first);
    world.wait(MILLISECOND);
    assert_eq!(published(&other).await, set);
    assert!(world.check(&set, &signed(&other).await).is_ok());
}
