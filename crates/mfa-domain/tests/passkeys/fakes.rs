//! Options for a user without passkeys: they ask for credentials that do not exist.

use std::collections::BTreeSet;

use mfa_domain::{AccountKey, KeyId, Mfa};
use mfa_testkit::{FakeAuthenticator, TotpUser};
use serde_json::Value;

use super::{World, alice, bob, operator, options, user};

async fn asked(world: &World, key: &AccountKey) -> Value {
    options(&world.begin_any(key).await)["allowCredentials"].clone()
}

#[tokio::test]
async fn fakes_are_the_same_in_each_call_on_each_replica_and_after_a_change_of_keys() {
    let mut world = World::new();
    let first = asked(&world, &alice()).await;
    assert_eq!(asked(&world, &alice()).await, first);
    world.mfa = world.replica();
    assert_eq!(asked(&world, &alice()).await, first);
    world.test.vault.rotate(KeyId::new("fake-2"));
    world.test.vault.forget_older();
    assert_eq!(asked(&world, &alice()).await, first);
    // An installation with the same vault and an empty store.
    let ports = World::new().test.ports;
    let ports = mfa_domain::Ports { vault: world.test.ports.vault.clone(), ..ports };
    world.mfa = std::sync::Arc::new(Mfa::new(ports, world.policies.clone()).unwrap());
    assert_eq!(asked(&world, &alice()).await, first);
}

#[tokio::test]
async fn fakes_differ_between_users_and_tenants_and_have_the_form_of_real_ones() {
    let world = World::new();
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let users = (0..100).map(|number| format!("user{number}"));
    let keys: Vec<_> = users.flat_map(|name| [user("acme", &name), user("other", &name)]).collect();
    let mut expected = 0;
    for key in &keys {
        let asked = asked(&world, key).await;
        let credentials = asked.as_array().unwrap();
        numbers.insert(credentials.len());
        expected += credentials.len();
        for credential in credentials {
            assert_eq!(credential["type"], "public-key");
            let id = credential["id"].as_str().unwrap();
            // 16 to 64 bytes.
            assert!((22..=86).contains(&id.len()), "{id}");
            assert!(!credential["transports"].as_array().unwrap().is_empty());
            ids.insert(id.to_owned());
        }
    }
    assert_eq!(numbers, BTreeSet::from([1, 2]));
    assert_eq!(ids.len(), expected);
}

#[tokio::test]
async fn a_user_without_passkeys_gets_what_an_unknown_one_gets() {
    let unknown = World::new();
    let expected = unknown.begin_any(&alice()).await;
    let world = World::new();
    TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let begun = world.begin_any(&alice()).await;
    let (mut one, mut other) = (options(&expected), options(&begun));
    assert_eq!(one["allowCredentials"], other["allowCredentials"]);
    for options in [&mut one, &mut other] {
        options["challenge"] = Value::Null;
    }
    assert_eq!(one, other);
    assert_eq!((expected.challenge.user, expected.challenge.factor), (begun.challenge.user, None));
    // A pending passkey makes no difference.
    world.offer(&bob()).await;
    assert_eq!(asked(&world, &bob()).await, asked(&unknown, &bob()).await);
}

#[tokio::test]
async fn a_user_with_a_passkey_gets_no_fakes_and_the_same_ones_after_its_removal() {
    let world = World::new();
    let before = asked(&world, &alice()).await;
    let factor = world.register(&alice(), &mut FakeAuthenticator::synced("phone")).await;
    let id = world.passkey(&alice(), factor).await.credential_id.to_string();
    let real = asked(&world, &alice()).await;
    assert_eq!(real.as_array().unwrap().len(), 1);
    assert_eq!(real[0]["id"], id);
    world.mfa.revoke(&alice(), &operator(), factor).await.unwrap();
    assert_eq!(asked(&world, &alice()).await, before);
}
