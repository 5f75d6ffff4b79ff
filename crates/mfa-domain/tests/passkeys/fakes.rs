//! Options for a user without passkeys: they ask for credentials that do not exist.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::mfa::BegunChallenge;
use mfa_domain::passkey::{AssertionResponse, CredentialId};
use mfa_domain::ports::CredentialRefusal;
use mfa_domain::{AccountKey, CodeRejection, KeyId, Mfa, Undecided, Verdict};
use mfa_testkit::{FakeAuthenticator, TotpUser};
use serde_json::Value;

use super::{World, alice, bob, created, operator, options, shop, signed_by_any, user};

/// The first id that options ask for.
pub(super) fn asked_id(begun: &BegunChallenge) -> CredentialId {
    let id = options(begun)["allowCredentials"][0]["id"].clone();
    CredentialId::new(BASE64URL_NOPAD.decode(id.as_str().unwrap().as_bytes()).unwrap()).unwrap()
}

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

/// What a challenge without a user answers to this id, signed by nobody's key.
async fn answered(world: &World, tenant: &str, id: CredentialId) -> Verdict<()> {
    let mut stranger = FakeAuthenticator::synced("stranger");
    World::new().register(&alice(), &mut stranger).await;
    let tenant = user(tenant, "nobody").tenant;
    let begun = world.mfa.begin_passwordless(&tenant, &shop(), None).await.unwrap();
    let response = AssertionResponse { credential_id: id, ..signed_by_any(&mut stranger, &begun) };
    let answered = world.mfa.answer_passkey(&tenant, &shop(), begun.challenge.id, &response).await;
    answered.unwrap().map(|answered| panic!("{answered:?}"))
}

/// Otherwise a stranger who has the options for somebody could find out whether the ids are real.
#[tokio::test]
async fn without_a_user_an_invented_id_is_refused_like_a_real_one_and_only_in_its_tenant() {
    let world = World::new();
    world.register(&alice(), &mut FakeAuthenticator::synced("phone")).await;
    TotpUser::enrol(&world.mfa, &bob()).await.unwrap();
    let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Signature));
    let unknown = Verdict::Rejected(CodeRejection::UnknownCredential);
    // Among 100 are all lengths.
    let nobody = (0..100).map(|number| user("acme", &format!("user{number}")));
    for key in [alice(), bob()].into_iter().chain(nobody) {
        let id = asked_id(&world.begin_any(&key).await);
        assert_eq!(answered(&world, "acme", id.clone()).await, refused, "{key:?}");
        assert_eq!(answered(&world, "other", id.clone()).await, unknown, "{key:?}");
        for place in [0, id.as_bytes().len() - 1] {
            let mut near = id.as_bytes().to_vec();
            near[place] ^= 1;
            let near = CredentialId::new(near).unwrap();
            assert_eq!(answered(&world, "acme", near).await, unknown, "{key:?}");
        }
    }
    for short in [&[0_u8; 1][..], &[0; 8]] {
        assert_eq!(answered(&world, "acme", CredentialId::new(short).unwrap()).await, unknown);
    }
}

/// Otherwise a stranger could try which ids can be registered.
#[tokio::test]
async fn an_invented_id_is_taken_like_one_of_another_user_and_only_in_its_tenant() {
    let world = World::new();
    world.register(&alice(), &mut FakeAuthenticator::synced("phone")).await;
    let mut copy = FakeAuthenticator::synced("copy");
    for key in [alice(), user("acme", "nobody")] {
        let id = asked_id(&world.begin_any(&key).await);
        let offered = world.offer(&bob()).await;
        let before = (world.state(&bob()).await, world.events(&bob()).await);
        copy.next_id = Some(id.clone());
        let response = created(&mut copy, &offered);
        let confirm = async || world.mfa.confirm_passkey(&bob(), &shop(), offered.factor.id, &response).await;
        let confirmed = confirm().await;
        assert!(matches!(confirmed, Err(Undecided::HandleTaken)), "{key:?}: {confirmed:?}");
        assert_eq!(confirm().await.unwrap().into_result().unwrap_err(), CodeRejection::ChallengeOver);
        assert_eq!((world.state(&bob()).await, world.events(&bob()).await), before, "{key:?}");
        copy.next_id = Some(id);
        world.register(&user("other", key.user.as_str()), &mut copy).await;
    }
    world.register(&bob(), &mut copy).await;
}
