//! The API over fakes.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{App, web};
use mfa_actix::Api;
use mfa_actix::api_key::PlainApiKey;
use mfa_actix::throttling::Throttling;
use mfa_crypto::AssertionKeys;
use mfa_domain::ports::{ApiKeyStore, Clock, Scope, SigningKeys};
use mfa_domain::signing::SigningAlgorithm;
use mfa_domain::{Actor, Mfa, Policies, Ports, TenantId, TenantSettings};
use mfa_store_memory::{MemoryChallenges, MemoryStore, MemoryThrottle};
use mfa_testkit::{FailingStore, FakeVault, FakeWebauthn, ListSender, ManualClock, ports};
use serde_json::Value;

/// Who signs the assertions of [`signing_world`].
pub(crate) const ISSUER: &str = "https://mfa.example.com";

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) key: String,
    pub(crate) api_keys: Arc<MemoryStore>,
    pub(crate) store: Arc<FailingStore>,
    pub(crate) vault: Arc<FakeVault>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sender: Arc<ListSender>,
    pub(crate) mfa: Arc<Mfa>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Without parameters; empty if there is no body.
    pub(crate) media_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

pub(crate) async fn world() -> World {
    world_with(Throttling::new(Arc::new(MemoryThrottle::default()))).await
}

pub(crate) async fn world_with(throttling: Throttling) -> World {
    made(throttling, None, Policies::default()).await
}

/// A world that signs assertions.
pub(crate) async fn signing_world() -> World {
    signing_world_with(Policies::default()).await
}

/// A world that signs assertions and has these policies.
pub(crate) async fn signing_world_with(policies: Policies) -> World {
    let throttling = Throttling::new(Arc::new(MemoryThrottle::default()));
    let world = made(throttling, Some(Arc::new(AssertionKeys)), policies).await;
    world.make_signing_key().await;
    world.with_settings(TenantSettings::default().with_assertion_issuer(ISSUER))
}

/// A world that signs assertions by these keys, and has none yet.
pub(crate) async fn world_that_signs_by(keys: Arc<dyn SigningKeys>) -> World {
    let throttling = Throttling::new(Arc::new(MemoryThrottle::default()));
    let world = made(throttling, Some(keys), Policies::default()).await;
    world.with_settings(TenantSettings::default().with_assertion_issuer(ISSUER))
}

async fn made(
    throttling: Throttling,
    signing_keys: Option<Arc<dyn SigningKeys>>,
    policies: Policies,
) -> World {
    let memory = Arc::new(MemoryStore::default());
    let store = Arc::new(FailingStore::new(memory.clone()));
    let test = ports(store.clone());
    let plain = PlainApiKey::generate(test.ports.entropy.as_ref()).unwrap();
    let tenant = TenantId::new("acme").unwrap();
    let record = plain.record(tenant, Scope::ALL.into_iter().collect(), test.clock.now()).unwrap();
    memory.insert(&record).await.unwrap();
    // Refusals are hardly held back, or tests would wait for them.
    let throttling = throttling.refusal_delay(Duration::from_millis(10));
    let sender = Arc::new(ListSender::default());
    let ports = test.ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
    let ports = ports.webauthn(Arc::new(FakeWebauthn::new("example.com")));
    let ports = Ports { signing_keys, ..ports };
    let mfa = Arc::new(Mfa::new(ports, policies).unwrap());
    let api = Api::new(Arc::clone(&mfa), memory.clone(), throttling);
    let (key, vault, clock) = (plain.expose().to_owned(), test.vault, test.clock);
    World { api, key, api_keys: memory, store, vault, clock, sender, mfa }
}

impl World {
    /// The same world with these settings.
    pub(crate) fn with_settings(self, settings: TenantSettings) -> Self {
        Self { api: self.api.tenants(settings), ..self }
    }

    /// The same world, called with another API key.
    pub(crate) async fn with_key(&self, tenant: &str, scopes: &[Scope]) -> Self {
        let plain = PlainApiKey::generate(self.mfa.ports().entropy.as_ref()).unwrap();
        let scopes = scopes.iter().copied().collect();
        let record = plain.record(TenantId::new(tenant).unwrap(), scopes, self.clock.now()).unwrap();
        self.api_keys.insert(&record).await.unwrap();
        Self { key: plain.expose().to_owned(), ..self.clone() }
    }

    /// Makes a key that signs assertions, unless there is one.
    pub(crate) async fn make_signing_key(&self) {
        let (actor, age) = (Actor::admin("start"), Duration::from_hours(24 * 90));
        self.mfa.ensure_signing_key(&actor, SigningAlgorithm::Es256, age).await.unwrap();
    }

    /// Makes another key, which is published before it signs.
    pub(crate) async fn rotate_signing_key(&self) {
        self.mfa.rotate_signing_key(&Actor::admin("operator"), SigningAlgorithm::Es256).await.unwrap();
    }

    /// Sends what is queued; the code of the latest message.
    pub(crate) async fn sent_code(&self) -> String {
        for message in self.mfa.claim_messages(100).await.unwrap().messages {
            self.mfa.deliver(&Actor::admin("courier"), message).await.unwrap();
        }
        self.sender.sent().last().unwrap().code.clone()
    }

    /// Calls an application that embeds the API below `/mfa`.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(&[], method, path, body).await
    }

    /// Calls it with more headers.
    pub(crate) async fn call_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let api = self.api.clone();
        let embedded = web::scope("/mfa").configure(|config| api.configure(config));
        let app = App::new().route("/", web::get().to(async || "the host's own page")).service(embedded);
        let app = init_service(app).await;
        let mut request = TestRequest::with_uri(path)
            .method(method.parse().unwrap())
            .insert_header(("authorization", format!("Bearer {}", self.key)));
        for header in headers {
            request = request.append_header(*header);
        }
        if let Some(body) = body {
            request = request.set_json(body);
        }
        let response = match try_call_service(&app, request.to_request()).await {
            Ok(response) => response.into_parts().1.map_into_boxed_body(),
            Err(error) => error.error_response(),
        };
        let status = response.status().as_u16();
        let header =
            |headers: &HeaderMap, name| headers.get(name).map(|text| text.to_str().unwrap().to_owned());
        let media_type = header(response.headers(), CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().to_owned();
        let retry_after = header(response.headers(), RETRY_AFTER);
        let body = to_bytes(response.into_body()).await.unwrap();
        Answer { status, media_type, retry_after, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

impl Answer {
    /// The answer, if it has that status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The member of the body that the request had wrong.
    pub(crate) fn wrong_field(&self) -> String {
        assert_eq!((self.status, self.problem()), (422, "invalid-request".to_owned()), "{self:?}");
        self.json()["errors"][0]["field"].as_str().unwrap().to_owned()
    }

    /// The code of the problem that it must be.
    pub(crate) fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}
