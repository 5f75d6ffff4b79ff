//! The API as an application embeds it, over fakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::App;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use async_trait::async_trait;
use mfa_actix::api_key::PlainApiKey;
use mfa_actix::throttling::{Quotas, Throttling};
use mfa_actix::{Api, Clocks};
use mfa_domain::ports::{AccountPage, AccountQuery, AccountStore, ApiKeyStore, Clock, Commit, EventPage};
use mfa_domain::ports::{Deviation, EventQuery, ReferenceClock, ReferenceClockError, Scope, StoreError};
use mfa_domain::ports::{Throttle, ThrottleKey};
use mfa_domain::{
    Account, AccountKey, AuditHead, Charge, Delta, Handle, KeyId, Quota, TenantId, Timestamp, Version,
    Versioned,
};
use mfa_store_memory::{MemoryStore, MemoryThrottle};
use mfa_testkit::{FailingThrottle, Fault, ports};
use serde_json::{Value, json};

use crate::world::{World, world, world_with};

async fn call(world: &World, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let answer = world.call(method, path, body).await;
    (answer.status, answer.body)
}

fn problem(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no problem: {body}"));
    body["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[actix_web::test]
async fn it_lives_in_a_scope_of_another_application() {
    let world = world().await;
    assert_eq!(call(&world, "GET", "/", None).await, (200, "the host's own page".to_owned()));
    assert_eq!(call(&world, "GET", "/mfa/healthz", None).await.0, 200);
    let (status, body) = call(&world, "GET", "/mfa/v1/users/alice", None).await;
    assert_eq!((status, body.contains(r#""enrolled":false"#)), (200, true), "{body}");
    let (status, body) = call(&world, "GET", "/mfa/nowhere", None).await;
    assert_eq!((status, problem(&body)), (404, "not-found".to_owned()));
}

/// `OPTIONS *` and `CONNECT` name no path.
#[actix_web::test]
async fn a_request_without_a_path_is_answered_as_every_other() {
    let api = world().await.api;
    let app = init_service(App::new().configure(|config| api.configure(config))).await;
    for (method, target) in [("OPTIONS", "*"), ("CONNECT", "example.com:443"), ("GET", "/nowhere")] {
        let request = TestRequest::with_uri(target).method(method.parse().unwrap()).to_request();
        let response = call_service(&app, request).await;
        assert_eq!(response.headers().get_all("x-request-id").count(), 1, "{method} {target}");
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
        assert_eq!(response.status(), 404, "{method} {target}");
        let body = read_body(response).await;
        assert_eq!(problem(std::str::from_utf8(&body).unwrap()), "not-found", "{method} {target}");
    }
}

#[actix_web::test]
async fn a_store_that_fails_is_503_whatever_is_asked_and_its_error_is_not_shown() {
    let world = world().await;
    let reason = json!({ "reason": "test" });
    let id = "0190b5c3-0000-7000-8000-000000000000";
    let calls = [
        ("GET", "/mfa/v1/users/alice".to_owned(), None),
        ("DELETE", "/mfa/v1/users/alice".to_owned(), None),
        ("POST", "/mfa/v1/users/alice/factors".to_owned(), Some(json!({ "kind": "totp", "label": "x" }))),
        ("PATCH", format!("/mfa/v1/users/alice/factors/{id}"), Some(json!({ "label": "x" }))),
        ("DELETE", format!("/mfa/v1/users/alice/factors/{id}"), None),
        ("POST", format!("/mfa/v1/users/alice/factors/{id}/confirm"), Some(json!({ "code": "123456" }))),
        (
            "POST",
            format!("/mfa/v1/users/alice/factors/{id}/resynchronise"),
            Some(json!({ "codes": ["123456", "123456"] })),
        ),
        ("POST", "/mfa/v1/users/alice/verify".to_owned(), Some(json!({ "code": "123456" }))),
        ("POST", "/mfa/v1/users/alice/backup-codes".to_owned(), None),
        ("POST", "/mfa/v1/users/alice/unlock".to_owned(), Some(reason.clone())),
        ("POST", "/mfa/v1/users/alice/reset".to_owned(), Some(reason)),
        ("GET", "/mfa/v1/users/alice/events".to_owned(), None),
        ("GET", "/mfa/v1/events".to_owned(), None),
        ("GET", "/mfa/readyz".to_owned(), None),
    ];
    world.store.set(Fault::Everything);
    for (method, path, body) in calls {
        let (status, body) = call(&world, method, &path, body).await;
        assert_eq!((status, problem(&body)), (503, "unavailable".to_owned()), "{method} {path}");
        assert!(!body.contains("told to fail"), "{body}");
    }
    world.store.set(Fault::Conflict);
    let offer = json!({ "kind": "totp", "label": "x" });
    let (status, body) = call(&world, "POST", "/mfa/v1/users/alice/factors", Some(offer)).await;
    assert_eq!((status, problem(&body)), (503, "busy".to_owned()));
}

/// A store that never answers.
#[derive(Debug)]
struct SilentStore;

#[async_trait]
impl AccountStore for SilentStore {
    async fn load(&self, _: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        std::future::pending().await
    }

    async fn commit(&self, _: &AccountKey, _: Version, _: &Delta) -> Result<Commit, StoreError> {
        std::future::pending().await
    }

    async fn find(&self, _: &TenantId, _: &Handle) -> Result<Option<AccountKey>, StoreError> {
        std::future::pending().await
    }

    async fn page(&self, _: &AccountQuery) -> Result<AccountPage, StoreError> {
        std::future::pending().await
    }

    async fn events(&self, _: &EventQuery) -> Result<EventPage, StoreError> {
        std::future::pending().await
    }

    async fn trim(&self, _: &AccountKey, _: AuditHead, _: AuditHead) -> Result<Commit, StoreError> {
        std::future::pending().await
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        std::future::pending().await
    }
}

#[actix_web::test]
async fn a_store_that_does_not_answer_is_503_in_time() {
    let mut world = world().await;
    let memory = Arc::new(MemoryStore::default());
    let test = ports(Arc::new(SilentStore));
    let plain = PlainApiKey::generate(test.ports.entropy.as_ref()).unwrap();
    let record =
        plain.record(TenantId::new("acme").unwrap(), [Scope::Verify].into(), test.clock.now()).unwrap();
    memory.insert(&record).await.unwrap();
    let throttling = Throttling::new(Arc::new(MemoryThrottle::default()));
    world.api = Api::new(Arc::new(test.mfa()), memory, throttling).request_timeout(Duration::from_millis(50));
    world.key = plain.expose().to_owned();
    let (status, body) =
        call(&world, "POST", "/mfa/v1/users/a/verify", Some(json!({ "code": "123456" }))).await;
    assert_eq!((status, problem(&body)), (503, "unavailable".to_owned()));
}

#[actix_web::test]
async fn a_throttle_that_fails_or_does_not_answer_stops_no_verification() {
    for throttle in [FailingThrottle::AtOnce, FailingThrottle::Silently] {
        let world = world_with(Throttling::new(Arc::new(throttle))).await;
        let code = json!({ "code": "123456" });
        let (status, body) = call(&world, "POST", "/mfa/v1/users/alice/verify", Some(code)).await;
        assert_eq!((status, problem(&body)), (409, "not-enrolled".to_owned()), "{throttle:?}");
        let stranger = World { key: "mfa_wrong".to_owned(), ..world };
        let (status, body) = call(&stranger, "GET", "/mfa/v1/users/alice", None).await;
        assert_eq!((status, problem(&body)), (401, "unauthorized".to_owned()), "{throttle:?}");
    }
}

/// Fails, and counts how often it was asked to.
#[derive(Debug, Default)]
struct AskedThrottle(AtomicUsize);

#[async_trait]
impl Throttle for AskedThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        FailingThrottle::AtOnce.charge(key, quota, now).await
    }
}

#[actix_web::test]
async fn a_throttle_that_failed_is_left_alone_for_a_while() {
    let throttle = Arc::new(AskedThrottle::default());
    let world = world_with(Throttling::new(throttle.clone())).await;
    for _ in 0..5 {
        assert_eq!(call(&world, "GET", "/mfa/v1/users/alice", None).await.0, 200);
    }
    assert_eq!(throttle.0.load(Ordering::Relaxed), 1);
}

/// Works until it is told to fail.
#[derive(Debug, Default)]
struct BreakingThrottle {
    inner: MemoryThrottle,
    fails: AtomicBool,
}

#[async_trait]
impl Throttle for BreakingThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return FailingThrottle::AtOnce.charge(key, quota, now).await;
        }
        self.inner.charge(key, quota, now).await
    }
}

fn address(address: &str) -> Value {
    json!({ "kind": "email", "label": "Mail", "address": address })
}

/// A user whose address is confirmed, and who has not logged in since: the factor.
async fn enrol_address(world: &World, user: &str) -> String {
    let factors = format!("/mfa/v1/users/{user}/factors");
    let offered =
        world.call("POST", &factors, Some(address(&format!("{user}@example.com")))).await.expect(201).json();
    let factor = offered["factor"]["id"].as_str().unwrap().to_owned();
    let code = json!({ "code": world.sent_code().await });
    world.call("POST", &format!("{factors}/{factor}/confirm"), Some(code)).await.expect(200);
    factor
}

#[actix_web::test]
async fn every_call_that_sends_is_refused_while_the_throttle_fails() {
    let throttle = Arc::new(BreakingThrottle::default());
    let world = world_with(Throttling::new(throttle.clone())).await;
    let factor = enrol_address(&world, "eve").await;
    let challenges = "/mfa/v1/users/eve/challenges";
    let begin = || Some(json!({ "factor": factor }));
    let begun = world.call("POST", challenges, begin()).await.expect(201).json();
    let resend = format!("/mfa/v1/challenges/{}/resend", begun["challenge"]["id"].as_str().unwrap());
    world.sent_code().await;

    throttle.fails.store(true, Ordering::Relaxed);
    for (path, body) in [
        (challenges, begin()),
        (resend.as_str(), Some(json!({}))),
        ("/mfa/v1/users/bob/factors", Some(address("bob@example.com"))),
    ] {
        let refused = world.call("POST", path, body).await.expect(503);
        assert_eq!(refused.problem(), "unavailable", "{path}");
    }
    assert!(world.mfa.claim_messages(100).await.unwrap().messages.is_empty());
    // What sends nothing anyway is told why.
    let refused = world.call("POST", "/mfa/v1/users/eve/factors", Some(address("eve@example.org"))).await;
    assert_eq!((refused.status, refused.problem()), (403, "proof-required".to_owned()));

    throttle.fails.store(false, Ordering::Relaxed);
    // As long as a throttle that failed is left alone.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.call("POST", &resend, Some(json!({}))).await.expect(202);
}

/// Or whoever may send nothing to Eve could keep her from her codes.
#[actix_web::test]
async fn an_enrolment_that_is_refused_is_not_charged_as_a_message() {
    let one = Quota::new(1, Duration::from_hours(1)).unwrap();
    for quotas in [
        Quotas { recipient: one, ..Quotas::default() },
        // One each for the enrolments of Mallory and Eve.
        Quotas { tenant_messages: Quota::new(2, Duration::from_hours(1)).unwrap(), ..Quotas::default() },
    ] {
        let throttling = Throttling::new(Arc::new(MemoryThrottle::default())).quotas(quotas);
        let world = world_with(throttling).await;
        enrol_address(&world, "mallory").await;
        for _ in 0..5 {
            let refused =
                world.call("POST", "/mfa/v1/users/mallory/factors", Some(address("eve@example.com"))).await;
            assert_eq!((refused.status, refused.problem()), (403, "proof-required".to_owned()));
        }
        world.call("POST", "/mfa/v1/users/eve/factors", Some(address("eve@example.com"))).await.expect(201);
    }
}

#[actix_web::test]
async fn ready_tells_of_each_dependency() {
    async fn ready(world: &World) -> (u16, Value) {
        let (status, body) = call(world, "GET", "/mfa/readyz", None).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        (status, body["dependencies"].clone())
    }
    let all = json!({ "accounts": "ok", "keys": "ok", "api_keys": "ok", "throttle": "ok" });
    let with = |dependency: &str, health: &str| {
        let mut all = all.clone();
        all[dependency] = json!(health);
        all
    };
    assert_eq!(ready(&world().await).await, (200, all.clone()));

    for throttle in [FailingThrottle::AtOnce, FailingThrottle::Silently] {
        let unthrottled = world_with(Throttling::new(Arc::new(throttle))).await;
        assert_eq!(ready(&unthrottled).await, (200, with("throttle", "failing")));
    }

    let keyless = world().await;
    let offer = json!({ "kind": "totp", "label": "x" });
    assert_eq!(call(&keyless, "POST", "/mfa/v1/users/alice/factors", Some(offer)).await.0, 201);
    keyless.vault.rotate(KeyId::new("fake-2"));
    keyless.vault.forget_older();
    assert_eq!(ready(&keyless).await, (503, with("keys", "failing")));

    let storeless = world().await;
    storeless.store.set(Fault::Everything);
    let mut failing = with("accounts", "failing");
    failing["keys"] = json!("unknown");
    assert_eq!(ready(&storeless).await, (503, failing.clone()));
    // An answer is good for a moment, so that no number of questions becomes a load.
    storeless.store.set(None);
    assert_eq!(ready(&storeless).await, (503, failing));
}

/// A clock that stopped in 1970.
#[derive(Debug)]
struct Stopped;

#[async_trait]
impl ReferenceClock for Stopped {
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
        let now = clock.now();
        Ok(Deviation::between(now, Timestamp::default(), now))
    }
}

#[actix_web::test]
async fn a_clock_that_is_far_off_is_not_ready_and_answers_all_the_same() {
    let mut world = world().await;
    let clocks = Clocks::new(world.clock.clone()).with("database", Arc::new(Stopped), Duration::from_secs(5));
    world.api = world.api.clocks(clocks.clone());
    clocks.compare().await;
    let (status, body) = call(&world, "GET", "/mfa/readyz", None).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["dependencies"]["clock"]), (503, &json!("failing")));
    assert_eq!(call(&world, "GET", "/mfa/v1/users/alice", None).await.0, 200);
}

#[actix_web::test]
async fn a_request_is_throttled_before_its_body_is_looked_at_and_by_the_user_that_it_means() {
    let quotas = Quotas { user: Quota::new(1, Duration::from_mins(1)).unwrap(), ..Quotas::default() };
    let throttle = Arc::new(MemoryThrottle::default());
    let world = world_with(Throttling::new(throttle).quotas(quotas)).await;
    let post = async |path: &str, body| call(&world, "POST", path, Some(body)).await;
    let code = || json!({ "code": "123456" });
    let (status, body) = post("/mfa/v1/users/a+1/verify", code()).await;
    assert_eq!((status, problem(&body)), (409, "not-enrolled".to_owned()));
    // However the path spells the user, and whatever the body is.
    for path in ["/mfa/v1/users/a+1/verify", "/mfa/v1/users/a%2B1/verify", "/mfa/v1/users/%61%2b1/verify"] {
        for body in [code(), json!(null), json!({ "code": "1".repeat(20_000) })] {
            let (status, body) = post(path, body).await;
            assert_eq!((status, problem(&body)), (429, "throttled".to_owned()), "{path}");
        }
    }
    for path in ["/mfa/v1/users/A+1/verify", "/mfa/v1/users/b/verify"] {
        let (status, body) = post(path, code()).await;
        assert_eq!((status, problem(&body)), (409, "not-enrolled".to_owned()), "{path}");
    }
    // To read and to help is not refused.
    assert_eq!(call(&world, "GET", "/mfa/v1/users/a+1", None).await.0, 200);
    assert_eq!(post("/mfa/v1/users/a+1/unlock", json!({ "reason": "flooded" })).await.0, 204);
}
