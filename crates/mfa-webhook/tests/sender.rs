//! A sender against a real receiver, on a clock that the test sets.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountStore, Clock, Commit, DeliveryStore, EventPosition, EventQuery, StoreError, TrailPage, Vault,
};
use mfa_domain::{AccountKey, AuditHead, Delivery, EndpointId, TenantId, UserId, Version, Versioned};
use mfa_store_memory::MemoryStore;
use mfa_testkit::changes::{change, key};
use mfa_testkit::{FakeVault, ManualClock, SeededEntropy};
use mfa_webhook::{Endpoint, Filter, Http, Secrets, Sender, SigningSecrets, Step, WebhookUrl};
use tokio::sync::oneshot;

mod support;
use support::receiver::{Receiver, Reply};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A store, a clock and a receiver, and senders between them.
struct Scene {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    receiver: Receiver,
}

impl Scene {
    async fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::default(), receiver: Receiver::start().await }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            id: id(),
            url: WebhookUrl::parse(&self.receiver.url(), false).unwrap(),
            secrets: Secrets::new(|| Ok(SigningSecrets::parse(SECRET)?)),
            filter: Filter::default(),
            timeout: Duration::from_secs(20),
            from_the_beginning: true,
        }
    }

    fn sender(&self) -> Sender {
        self.sender_of(self.endpoint())
    }

    fn sender_of(&self, endpoint: Endpoint) -> Sender {
        let http = Http::new(false).unwrap();
        Sender::new(
            endpoint,
            self.store.clone(),
            Arc::new(FakeVault::default()),
            self.clock.clone(),
            Arc::new(SeededEntropy::default()),
            http,
        )
    }

    async fn happen(&self, events: usize) {
        for n in 0..events {
            let commit = change(self.store.as_ref(), &key(&format!("user-{}", n % 3)), |_| ()).await.unwrap();
            assert_eq!(commit, Commit::Won);
        }
    }

    async fn kept(&self) -> Delivery {
        self.store.delivery(&id()).await.unwrap().unwrap().value
    }

    /// The positions of the events of each message, and the status that it was answered with.
    fn messages(&self) -> Vec<(Vec<u64>, u16)> {
        let received = self.receiver.received();
        received.iter().map(|message| (positions(&message.body), message.status)).collect()
    }
}

fn id() -> EndpointId {
    EndpointId::new("siem").unwrap()
}

/// Where the events of a message are in the trail: each has an id of its tenant.
fn positions(body: &[u8]) -> Vec<u64> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let vault = FakeVault::default();
    let position = |event: &serde_json::Value| {
        let tenant = TenantId::new(event["tenant"].as_str().unwrap()).unwrap();
        vault.event_position(&tenant, event["id"].as_str().unwrap().parse().unwrap()).unwrap().0
    };
    body["data"]["events"].as_array().unwrap().iter().map(position).collect()
}

/// Takes turns until there is nothing to do.
async fn run_dry(sender: &mut Sender) {
    while sender.step().await.unwrap() == Step::Moved {}
}

#[tokio::test]
async fn events_arrive_in_order_in_batches_and_signed() {
    let scene = Scene::new().await;
    scene.happen(120).await;
    run_dry(&mut scene.sender()).await;
    let expected = [(1..=50).collect(), (51..=100).collect(), (101..=120).collect::<Vec<u64>>()];
    assert_eq!(scene.messages(), expected.map(|ids| (ids, 204)));
    for message in scene.receiver.received() {
        let (webhook, timestamp) = (message.header("webhook-id"), message.header("webhook-timestamp"));
        assert_eq!(timestamp, scene.clock.now().unix_seconds().to_string());
        let secrets = SigningSecrets::parse(SECRET).unwrap();
        let signature = secrets.sign(webhook, timestamp.parse().unwrap(), &message.body);
        assert_eq!(message.header("webhook-signature"), signature);
        assert!(!webhook.contains('.'), "{webhook}");
        assert_eq!((message.path.as_str(), message.header("content-type")), ("/hook", "application/json"));
    }
    assert_eq!(scene.kept().await, Delivery::starting_after(EventPosition(120)));
}

/// A message may hold events of several tenants, and its id those of two.
#[tokio::test]
async fn ids_are_those_of_the_tenants() {
    let scene = Scene::new().await;
    let tenants = ["acme", "umbrella"].map(|name| TenantId::new(name).unwrap());
    for tenant in tenants.iter().cycle().take(4) {
        let key = AccountKey::new(tenant.clone(), UserId::new("alice").unwrap());
        assert_eq!(change(scene.store.as_ref(), &key, |_| ()).await.unwrap(), Commit::Won);
    }
    run_dry(&mut scene.sender()).await;
    assert_eq!(scene.messages(), [(vec![1, 2, 3, 4], 204)]);
    let ids = [1, 4].map(|n| FakeVault::default().event_id(&tenants[(n - 1) % 2], EventPosition(n as u64)));
    let message = scene.receiver.received().remove(0);
    let id = message.header("webhook-id");
    let hash = id.strip_prefix(&format!("events_{}_{}_", ids[0], ids[1])).unwrap_or_else(|| panic!("{id}"));
    assert_eq!((hash.len(), hash.bytes().all(|byte| byte.is_ascii_hexdigit())), (16, true));
}

#[tokio::test]
async fn a_new_endpoint_begins_with_what_happens_from_then_on() {
    let scene = Scene::new().await;
    scene.happen(3).await;
    let mut sender = scene.sender_of(Endpoint { from_the_beginning: false, ..scene.endpoint() });
    sender.begin().await.unwrap();
    scene.happen(2).await;
    sender.begin().await.unwrap();
    run_dry(&mut sender).await;
    assert_eq!(scene.messages(), [(vec![4, 5], 204)]);
}

#[tokio::test]
async fn whatever_is_no_2xx_is_tried_again_as_the_same_message_and_nothing_overtakes_it() {
    let scene = Scene::new().await;
    scene.happen(2).await;
    let timeout = Duration::from_millis(300);
    let mut sender = scene.sender_of(Endpoint { timeout, ..scene.endpoint() });
    let elsewhere = Receiver::start().await;
    let replies = [
        (Reply::Status(500), "status_500"),
        (Reply::Status(400), "status_400"),
        (Reply::Status(304), "status_304"),
        (Reply::With(302, "location", elsewhere.url()), "status_302"),
        (Reply::With(308, "location", elsewhere.url()), "status_308"),
        (Reply::Close, "no_answer"),
        (Reply::Nonsense, "no_answer"),
        (Reply::Hang, "timeout"),
        (Reply::Endless(503), "status_503"),
    ];
    for (failures, (reply, how)) in (1..).zip(replies.clone()) {
        scene.receiver.next([reply]);
        let step = loop {
            match sender.step().await.unwrap() {
                Step::Moved => {}
                step => break step,
            }
        };
        assert_eq!(step, Step::Failed, "{how}");
        let kept = scene.kept().await;
        assert_eq!((kept.failures, kept.last_failure.as_deref()), (failures, Some(how)));
        assert_eq!((kept.position, kept.through), (EventPosition(0), Some(EventPosition(2))));
        assert_eq!(sender.step().await.unwrap(), Step::Nothing, "it did not wait");
        scene.clock.advance(Delivery::LONGEST_BACKOFF);
        // More happens, and is not part of what is tried again.
        scene.happen(1).await;
    }
    run_dry(&mut sender).await;
    let messages = scene.receiver.received();
    let (last, tries) = messages.split_last().unwrap();
    assert_eq!(tries.len(), replies.len() + 1);
    for again in tries {
        assert_eq!(
            (&again.body, again.header("webhook-id")),
            (&tries[0].body, tries[0].header("webhook-id"))
        );
    }
    assert_ne!(tries[0].header("webhook-timestamp"), tries[1].header("webhook-timestamp"));
    assert_eq!(positions(&last.body), (3..=11).collect::<Vec<_>>());
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn an_answer_of_any_size_costs_nothing() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::Endless(200)]);
    run_dry(&mut scene.sender()).await;
    assert_eq!(scene.kept().await.position, EventPosition(1));
    // What fits into the buffers of two sockets, of 100 MB.
    assert!(scene.receiver.bytes_sent() < 50_000_000, "{} bytes were read", scene.receiver.bytes_sent());
}

#[tokio::test]
async fn waits_grow_and_a_receiver_may_ask_for_more_within_reason() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    let mut sender = scene.sender();
    sender.begin().await.unwrap();
    let seconds = |text: &str| Reply::With(429, "retry-after", text.to_owned());
    for (reply, least, most) in [
        (Reply::Status(500), 0.5, 1.0),
        (Reply::Status(500), 1.0, 2.0),
        (Reply::Status(500), 2.0, 4.0),
        (seconds("120"), 120.0, 120.0),
        (seconds("0"), 8.0, 16.0),
        (seconds("99999999"), 3600.0, 3600.0),
        (seconds("soon"), 32.0, 64.0),
    ] {
        scene.receiver.next([reply.clone()]);
        assert_eq!(sender.step().await.unwrap(), Step::Failed);
        let kept = scene.kept().await;
        let wait = kept.not_before.since(scene.clock.now());
        assert!((least..=most).contains(&wait.as_secs_f64()), "{wait:?} after {reply:?}");
        scene.clock.advance(wait.saturating_sub(Duration::from_millis(1)));
        assert_eq!(sender.step().await.unwrap(), Step::Nothing, "too early after {reply:?}");
        scene.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(sender.step().await.unwrap(), Step::Moved);
    assert_eq!(scene.kept().await, Delivery::starting_after(EventPosition(1)));
}

#[tokio::test]
async fn retries_are_in_the_table_and_a_restart_does_not_storm() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::With(503, "retry-after", "60".to_owned())]);
    let mut first = scene.sender();
    first.begin().await.unwrap();
    assert_eq!(first.step().await.unwrap(), Step::Failed);
    drop(first);
    for _ in 0..10 {
        let mut restarted = scene.sender();
        restarted.begin().await.unwrap();
        assert_eq!(restarted.step().await.unwrap(), Step::Nothing);
    }
    assert_eq!(scene.messages().len(), 1);
    scene.clock.advance(Duration::from_mins(1));
    run_dry(&mut scene.sender()).await;
    assert_eq!(scene.messages().len(), 2);
}

#[tokio::test]
async fn a_batch_that_is_gone_from_the_store_is_not_waited_for() {
    let scene = Scene::new().await;
    scene.happen(3).await;
    scene.receiver.next([Reply::Status(500)]);
    let mut sender = scene.sender();
    sender.begin().await.unwrap();
    assert_eq!(sender.step().await.unwrap(), Step::Failed);
    scene.happen(3).await;
    for user in ["user-0", "user-1", "user-2"] {
        let user = key(user);
        let query =
            EventQuery { tenant: user.tenant.clone(), user: Some(user.user.clone()), after: None, limit: 1 };
        let oldest = scene.store.events(&query).await.unwrap().events.remove(0).event;
        let base = AuditHead { sequence: oldest.sequence, hash: oldest.hash };
        assert_eq!(scene.store.trim(&user, AuditHead::default(), base).await.unwrap(), Commit::Won);
    }
    scene.clock.advance(Delivery::LONGEST_BACKOFF);
    run_dry(&mut sender).await;
    assert_eq!(scene.messages(), [(vec![1, 2, 3], 500), (vec![4, 5, 6], 204)]);
    assert_eq!(scene.kept().await, Delivery::starting_after(EventPosition(6)));
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_everything_once_it_is_up() {
    let mut scene = Scene::new().await;
    scene.happen(2).await;
    let mut sender = scene.sender();
    sender.begin().await.unwrap();
    scene.receiver.go_down().await;
    for _ in 0..3 {
        assert_eq!(sender.step().await.unwrap(), Step::Failed);
        assert_eq!(scene.kept().await.last_failure.as_deref(), Some("connect"));
        scene.clock.advance(Delivery::LONGEST_BACKOFF);
        scene.happen(1).await;
    }
    scene.receiver.come_up().await;
    run_dry(&mut sender).await;
    assert_eq!(scene.messages(), [(vec![1, 2], 204), (vec![3, 4, 5], 204)]);
}

#[tokio::test]
async fn who_is_gone_gets_nothing_until_resumed() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::Status(410)]);
    let mut sender = scene.sender();
    sender.begin().await.unwrap();
    assert_eq!(sender.step().await.unwrap(), Step::Failed);
    scene.clock.advance(Duration::from_hours(1000));
    assert_eq!(sender.step().await.unwrap(), Step::Nothing);
    let Versioned { value, version } = scene.store.delivery(&id()).await.unwrap().unwrap();
    assert!(value.stopped);
    assert_eq!(scene.store.swap(&id(), version, &value.resumed()).await.unwrap(), Commit::Won);
    run_dry(&mut sender).await;
    assert_eq!(scene.messages(), [(vec![1], 410), (vec![1], 204)]);
}

#[tokio::test]
async fn an_endpoint_is_sent_what_it_wants_and_no_more() {
    let scene = Scene::new().await;
    scene.happen(60).await;
    let other = TenantId::new("other").unwrap();
    let alice = mfa_domain::AccountKey::new(other.clone(), key("alice").user);
    assert_eq!(change(scene.store.as_ref(), &alice, |_| ()).await.unwrap(), Commit::Won);
    scene.happen(300).await;
    let filter = Filter { tenants: HashSet::from([other]), ..Filter::default() };
    run_dry(&mut scene.sender_of(Endpoint { filter, ..scene.endpoint() })).await;
    assert_eq!(scene.messages(), [(vec![61], 204)]);
    assert_eq!(scene.kept().await.position, EventPosition(361));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_a_failure_and_no_message() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    let secrets = Secrets::new(|| Err(std::io::ErrorKind::NotFound.into()));
    let mut sender = scene.sender_of(Endpoint { secrets, ..scene.endpoint() });
    sender.begin().await.unwrap();
    assert_eq!(sender.step().await.unwrap(), Step::Failed);
    assert_eq!(scene.kept().await.last_failure.as_deref(), Some("secret"));
    assert!(scene.messages().is_empty());
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_gets_nothing() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    // It is no TLS server at all, which is as far as this test needs to go: nothing is sent in the clear.
    let url = WebhookUrl::parse(&scene.receiver.url().replace("http:", "https:"), false).unwrap();
    let mut sender =
        scene.sender_of(Endpoint { url, timeout: Duration::from_millis(500), ..scene.endpoint() });
    sender.begin().await.unwrap();
    assert_eq!(sender.step().await.unwrap(), Step::Failed);
    assert!(scene.messages().is_empty());
}

#[tokio::test]
async fn one_that_fails_does_not_hold_up_another() {
    let scene = Scene::new().await;
    scene.happen(2).await;
    scene.receiver.always(Reply::Status(500));
    let healthy = Receiver::start().await;
    let url = WebhookUrl::parse(&healthy.url(), false).unwrap();
    let other = Endpoint { id: EndpointId::new("other").unwrap(), url, ..scene.endpoint() };
    let (mut failing, mut other) = (scene.sender(), scene.sender_of(other));
    run_dry(&mut failing).await;
    run_dry(&mut other).await;
    assert_eq!(scene.kept().await.failures, 1);
    assert_eq!(healthy.received().len(), 1);
}

#[tokio::test]
async fn while_one_replica_sends_the_other_waits_and_takes_over_when_that_dies() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::Hang]);
    let (mut one, mut other) = (scene.sender(), scene.sender());
    one.begin().await.unwrap();
    let dying = tokio::spawn(async move { one.step().await });
    scene.receiver.arrived(1).await;
    assert_eq!(other.step().await.unwrap(), Step::Nothing, "two sent at the same time");
    dying.abort();
    assert_eq!(other.step().await.unwrap(), Step::Nothing, "it took over from somebody alive");
    scene.clock.advance(Duration::from_secs(25));
    run_dry(&mut other).await;
    assert_eq!(scene.messages(), [(vec![1], 0), (vec![1], 204)]);
    let received = scene.receiver.received();
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
}

#[tokio::test]
async fn who_is_stopped_in_the_middle_lets_go_of_the_claim() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::Hang]);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(scene.sender().run(async { drop(stopped.await) }));
    scene.receiver.arrived(1).await;
    stop.send(()).unwrap();
    running.await.unwrap();
    // At once, on a clock that stood still.
    run_dry(&mut scene.sender()).await;
    assert_eq!(scene.messages(), [(vec![1], 0), (vec![1], 204)]);
}

/// Somebody whose clock is ahead takes over while the first one sends: the first one must not move on.
#[tokio::test]
async fn a_message_of_somebody_who_lost_the_claim_moves_nothing() {
    let scene = Scene::new().await;
    scene.happen(1).await;
    scene.receiver.next([Reply::Late(Duration::from_millis(300)), Reply::Status(500)]);
    let (mut slow, mut other) = (scene.sender(), scene.sender());
    slow.begin().await.unwrap();
    let sending = tokio::spawn(async move { slow.step().await.unwrap() });
    scene.receiver.arrived(1).await;
    scene.clock.advance(Duration::from_mins(1));
    assert_eq!(other.step().await.unwrap(), Step::Failed);
    assert_eq!(sending.await.unwrap(), Step::Nothing);
    let kept = scene.kept().await;
    assert_eq!(
        (kept.position, kept.failures),
        (EventPosition(0), 1),
        "a claim that was lost moved the position"
    );
}

/// A store that fails at some swaps, before or after it has made them.
#[derive(Debug)]
struct Flaky {
    inner: Arc<MemoryStore>,
    swaps: std::sync::atomic::AtomicU32,
}

#[async_trait]
impl DeliveryStore for Flaky {
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError> {
        self.inner.delivery(endpoint).await
    }

    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError> {
        let number = self.swaps.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match number % 7 {
            1 | 3 => Err(StoreError::new("told to fail")),
            5 => {
                let _ = self.inner.swap(endpoint, expected, next).await?;
                Err(StoreError::new("told to lose the answer"))
            }
            _ => self.inner.swap(endpoint, expected, next).await,
        }
    }

    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError> {
        self.inner.trail(after, limit).await
    }

    async fn last_event(&self) -> Result<EventPosition, StoreError> {
        self.inner.last_event().await
    }
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_loses_no_event() {
    let scene = Scene::new().await;
    scene.happen(400).await;
    let flaky = Arc::new(Flaky { inner: scene.store.clone(), swaps: 0.into() });
    let entropy = Arc::new(SeededEntropy::default());
    let http = Http::new(false).unwrap();
    let mut sender = Sender::new(
        scene.endpoint(),
        flaky,
        Arc::new(FakeVault::default()),
        scene.clock.clone(),
        entropy,
        http,
    );
    for _ in 0..1000 {
        let _ = sender.step().await;
        // So that claims of which nobody knows end.
        scene.clock.advance(Duration::from_secs(30));
    }
    assert_eq!(scene.kept().await.position, EventPosition(400));
    let mut seen = Vec::new();
    for (ids, _) in scene.messages() {
        // A message is the one before once more, or what comes next.
        let again = seen.ends_with(&ids);
        assert!(again || ids[0] == seen.last().map_or(1, |last| last + 1), "{ids:?} after {:?}", seen.last());
        if !again {
            seen.extend(ids);
        }
    }
    assert_eq!(seen, (1..=400).collect::<Vec<_>>());
    assert!(scene.messages().len() > 8, "nothing was sent twice, so nothing was tried");
}
