//! The store cannot be read: nothing is signed by keys that may have been revoked, and hosts can still check.

use std::time::Duration;

use mfa_domain::Undecided;
use mfa_testkit::Fault;

use super::{MILLISECOND, World, ensure, published, signed};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn while_the_store_fails_keys_sign_for_a_minute_and_are_published_for_an_hour() {
    for fault in [Fault::Load, Fault::Everything] {
        let world = World::new();
        let mfa = world.replica();
        ensure(&mfa).await;
        let (set, read_at) = (published(&mfa).await, world.now());
        world.store.set(fault);
        for (after, signs, publishes) in [
            (MINUTE.saturating_sub(MILLISECOND), true, true),
            (MINUTE, false, true),
            (HOUR.saturating_sub(MILLISECOND), false, true),
            (HOUR, false, false),
        ] {
            world.test.clock.set(read_at.plus(after));
            match mfa.assertion_key().await {
                Ok(Some(_)) => assert!(signs, "{fault:?} {after:?}"),
                Err(Undecided::Store(_)) => assert!(!signs, "{fault:?} {after:?}"),
                other => panic!("{fault:?} {after:?}: {other:?}"),
            }
            match mfa.published_keys().await {
                Ok(keys) => assert_eq!((publishes, keys.as_ref()), (true, Some(&set)), "{fault:?} {after:?}"),
                Err(Undecided::Store(_)) => assert!(!publishes, "{fault:?} {after:?}"),
                Err(error) => panic!("{fault:?} {after:?}: {error:?}"),
            }
        }
        world.store.set(None);
        assert_eq!(published(&mfa).await, set);
        assert!(world.check(&set, &signed(&mfa).await).is_ok());
    }
}

#[tokio::test]
async fn a_replica_that_starts_while_the_store_fails_has_no_keys() {
    let world = World::new();
    ensure(&world.replica()).await;
    let mfa = world.replica();
    world.store.set(Fault::Load);
    let key = mfa.assertion_key().await;
    assert!(matches!(key, Err(Undecided::Store(_))), "{key:?}");
    let keys = mfa.published_keys().await;
    assert!(matches!(keys, Err(Undecided::Store(_))), "{keys:?}");
    world.store.set(None);
    signed(&mfa).await;
}

/// As when a clock was ahead: keys that were read then are not kept until that time comes.
#[tokio::test]
async fn keys_that_were_read_in_the_future_are_read_again() {
    let world = World::new();
    let mfa = world.replica();
    ensure(&mfa).await;
    let now = world.now();
    world.wait(HOUR);
    published(&mfa).await;
    world.test.clock.set(now);
    world.store.set(Fault::Load);
    let key = mfa.assertion_key().await;
    assert!(matches!(key, Err(Undecided::Store(_))), "{key:?}");
    world.store.set(None);
    signed(&mfa).await;
}
