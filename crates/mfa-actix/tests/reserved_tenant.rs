//! API keys of the installation's own tenant: they are not made, and one that is in the store may call nothing.

use mfa_actix::api_key::{PlainApiKey, ReservedTenant};
use mfa_domain::TenantId;
use mfa_domain::ports::{ApiKey, ApiKeyStore, Clock, Scope};
use serde_json::json;

use crate::world::{World, signing_world};

#[actix_web::test]
async fn no_key_is_made_for_the_tenant_of_the_installation() {
    let world = signing_world().await;
    let plain = PlainApiKey::generate(world.mfa.ports().entropy.as_ref()).unwrap();
    let record = |tenant| plain.record(tenant, [Scope::Admin].into(), world.clock.now()).err();
    assert_eq!(record(TenantId::installation()), Some(ReservedTenant));
    assert_eq!(record(TenantId::new("mfa-server2").unwrap()), None);
}

#[actix_web::test]
async fn a_key_for_the_tenant_of_the_installation_that_is_in_the_store_may_call_nothing() {
    let world = signing_world().await;
    let published = world.mfa.published_keys().await.unwrap();
    let plain = PlainApiKey::generate(world.mfa.ports().entropy.as_ref()).unwrap();
    let scopes = Scope::ALL.into_iter().collect();
    let record = plain.record(TenantId::new("acme").unwrap(), scopes, world.clock.now()).unwrap();
    world.api_keys.insert(&ApiKey { tenant: TenantId::installation(), ..record }).await.unwrap();
    let intruder = World { key: plain.expose().to_owned(), ..world.clone() };
    let reason = json!({ "reason": "asked for" });
    for (method, path, body) in [
        ("GET", "/mfa/v1/users/signing-keys", None),
        ("DELETE", "/mfa/v1/users/signing-keys", None),
        ("POST", "/mfa/v1/users/signing-keys/reset", Some(reason)),
        ("POST", "/mfa/v1/users/alice/factors", Some(json!({ "kind": "totp", "label": "Phone" }))),
        ("POST", "/mfa/v1/users/alice/verify", Some(json!({ "code": "123456" }))),
        ("POST", "/mfa/v1/challenges", Some(json!({ "kind": "passkey" }))),
        ("GET", "/mfa/v1/events", None),
        ("GET", "/mfa/v1/nowhere", None),
    ] {
        let refused = intruder.call(method, path, body).await;
        assert_eq!((refused.status, refused.problem()), (403, "forbidden".to_owned()), "{method} {path}");
        assert_eq!(refused.json()["detail"], ReservedTenant.to_string(), "{method} {path}");
    }
    assert_eq!(world.mfa.published_keys().await.unwrap(), published);
    assert_eq!(world.mfa.signing_keys().await.unwrap().len(), 1);
}
