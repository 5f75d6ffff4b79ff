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
use mfa_domain::ports::{ApiKeyStore, Clock, Scope};
use mfa_domain::{Actor, Mfa, Policies, TenantId};
use mfa_store_memory::{MemoryChallenges, MemoryStore, MemoryThrottle};
use mfa_testkit::{FailingStore, FakeVault, FakeWebauthn, ListSender, ManualClock, ports};
use serde_json::Value;

pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) key: String,
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
    let memory = Arc::new(MemoryStore::default());
    let store = Arc::new(FailingStore::new(memory.clone()));
    let test = ports(store.clone());
    let plain = PlainApiKey::generate(test.ports.entropy.as_ref()).unwrap();
    let tenant = TenantId::new("acme").unwrap();
    let record = plain.record(tenant, Scope::ALL.into_iter().collect(), test.clock.now());
    memory.insert(&record).await.unwrap();
    // Refusals are hardly held back, or tests would wait for them.
    let throttling = throttling.refusal_delay(Duration::from_millis(10));
    let sender = Arc::new(ListSender::default());
    let ports = test.ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
    let ports = ports.webauthn(Arc::new(FakeWebauthn::new("example.com")));
    let mfa = Arc::new(Mfa::new(ports, Policies::default()).unwrap());
    let api = Api::new(Arc::clone(&mfa), memory, throttling);
    let (key, vault, clock) = (plain.expose().to_owned(), test.vault, test.clock);
    World { api, key, store, vault, clock, sender, mfa }
}

impl World {
    /// Sends what is queued; the code of the latest message.
    pub(crate) async fn sent_code(&self) -> String {
        for message in self.mfa.claim_messages(100).await.unwrap().messages {
            self.mfa.deliver(&Actor::admin("courier"), message).await.unwrap();
        }
        self.sender.sent().last().unwrap().code.clone()
    }

    /// Calls an application that embeds the API below `/mfa`.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let api = self.api.clone();
        let embedded = web::scope("/mfa").configure(|config| api.configure(config));
        let app = App::new().route("/", web::get().to(async || "the host's own page")).service(embedded);
        let app = init_service(app).await;
        let mut request = TestRequest::with_uri(path)
            .method(method.parse().unwrap())
            .insert_header(("authorization", format!("Bearer {}", self.key)));
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

    /// The code of the problem that it must be.
    pub(crate) fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}
