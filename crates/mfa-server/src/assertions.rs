//! Signed assertions with the settings of `[assertions]`: their issuer, and the keys that sign them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mfa_actix::Clocks;
use mfa_domain::account::{SigningKeyInfo, SigningKeyState};
use mfa_domain::signing::SigningAlgorithm;
use mfa_domain::{Actor, Mfa, Undecided};
use tracing::{info, warn};

use crate::config::Settings;
use crate::failure::describe;

/// How often the age of the newest key is checked.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// Pause after a failure.
const AFTER_A_FAILURE: Duration = Duration::from_mins(1);

const UNUSABLE: &str = "no key can sign assertions; `signing-keys list` shows the keys, and `signing-keys revoke` \
                        replaces a damaged one";

/// The issuer of a server that listens on `address`.
pub(crate) fn issuer(settings: &Settings, address: SocketAddr) -> String {
    match settings.assertions.issuer.as_str() {
        "" => format!("http://{address}"),
        issuer => issuer.to_owned(),
    }
}

/// Creates the first signing key, and replaces keys by age while the server runs. Fails if no key can sign.
pub(crate) async fn start(
    settings: &Settings,
    address: SocketAddr,
    mfa: &Arc<Mfa>,
    clocks: Clocks,
) -> Result<()> {
    if !settings.assertions.enabled {
        info!("assertions are off");
        return Ok(());
    }
    let mut rotation = Rotation {
        mfa: Arc::clone(mfa),
        algorithm: settings.assertions.algorithm.into(),
        rotate_after: settings.assertions.rotate_after,
        clocks,
        told: Vec::new(),
    };
    rotation.begin().await.context(UNUSABLE)?;
    // Opens the keys. If that fails, it must fail now, not at every verification.
    mfa.assertion_key().await.context(UNUSABLE)?;
    tokio::spawn(rotation.keep());
    info!(issuer = issuer(settings, address), "assertions are on");
    Ok(())
}

/// Replaces signing keys by age. All servers that share a database do so, and use the key that the first of them makes.
struct Rotation {
    mfa: Arc<Mfa>,
    algorithm: SigningAlgorithm,
    rotate_after: Duration,
    /// While the clock is far off, no key is made or removed.
    clocks: Clocks,
    /// The keys that sign now and next, at the last look.
    told: Vec<String>,
}

impl Rotation {
    async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            while let Err(error) = self.look().await {
                metrics::counter!("mfa_signing_key_failures_total").increment(1);
                warn!("the keys that sign assertions could not be checked: {}", describe(&error.into()));
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }

    /// Creates a key if there is none of the configured algorithm, or if it is too old.
    async fn begin(&mut self) -> Result<(), Undecided> {
        if self.clocks.is_far_off() && !self.mfa.signing_keys().await?.is_empty() {
            return Ok(());
        }
        let keys = self.mfa.ensure_signing_key(&actor(), self.algorithm, self.rotate_after).await?;
        self.tell(&keys);
        Ok(())
    }

    /// Creates a key if the newest is too old.
    async fn look(&mut self) -> Result<(), Undecided> {
        if self.clocks.is_far_off() {
            return Ok(());
        }
        let keys = self.mfa.replace_old_signing_key(&actor(), self.algorithm, self.rotate_after).await?;
        self.tell(&keys);
        Ok(())
    }

    fn tell(&mut self, keys: &[SigningKeyInfo]) {
        let current = || keys.iter().filter(|key| key.state != SigningKeyState::Previous);
        for SigningKeyInfo { id: key, algorithm, signs_from, state, .. } in current() {
            if !self.told.contains(key) {
                let state = state.as_str();
                info!(key, %algorithm, %signs_from, state, "a key for assertions");
            }
        }
        self.told = current().map(|key| key.id.clone()).collect();
        if let Some(SigningKeyInfo { algorithm, .. }) = keys.last()
            && *algorithm != self.algorithm
        {
            let configured = self.algorithm;
            warn!(
                %algorithm, %configured,
                "the newest signing key has another algorithm than `assertions.algorithm`; servers that share a \
                 database need the same one"
            );
        }
    }
}

fn actor() -> Actor {
    Actor::admin("server:signing-keys")
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use mfa_crypto::AssertionKeys;
    use mfa_domain::ports::EventQuery;
    use mfa_domain::{EventKind, KeyId, Policies, TenantId};
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::{FailingStore, Fault, TestPorts, ports};
    use tokio::time::sleep;

    use super::*;

    /// A server with the default settings on a store that can fail.
    struct World {
        test: TestPorts,
        store: Arc<FailingStore>,
        mfa: Arc<Mfa>,
        settings: Settings,
    }

    impl World {
        fn new() -> Self {
            let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
            let test = ports(store.clone());
            let ports = test.ports.clone().signing_keys(Arc::new(AssertionKeys));
            let mfa = Arc::new(Mfa::new(ports, Policies::default()).unwrap());
            Self { test, store, mfa, settings: Settings::default() }
        }

        /// Both clocks of the test: that of the use cases, and that of pauses.
        async fn wait(&self, time: Duration) {
            self.test.clock.advance(time);
            sleep(time).await;
        }

        async fn start(&self) -> Result<()> {
            let clocks = Clocks::new(Arc::clone(&self.mfa.ports().clock));
            start(&self.settings, self.settings.listen, &self.mfa, clocks).await
        }

        async fn states(&self) -> Vec<SigningKeyState> {
            self.mfa.signing_keys().await.unwrap().iter().map(|key| key.state).collect()
        }
    }

    use SigningKeyState::{Next, Signing};

    #[tokio::test(start_paused = true)]
    async fn a_start_makes_the_first_key_and_the_running_server_replaces_it_by_age() {
        let world = World::new();
        world.start().await.unwrap();
        assert_eq!(world.states().await, [Signing]);
        // As with two servers on one database.
        world.start().await.unwrap();
        assert_eq!(world.states().await, [Signing]);

        let rotate_after = world.settings.assertions.rotate_after;
        world.test.clock.advance(rotate_after.saturating_sub(LOOK_EVERY * 2));
        world.wait(LOOK_EVERY + Duration::from_secs(1)).await;
        assert_eq!(world.states().await, [Signing]);
        world.wait(LOOK_EVERY).await;
        assert_eq!(world.states().await, [Signing, Next]);

        let query = EventQuery { tenant: TenantId::installation(), user: None, after: None, limit: 100 };
        let events = world.mfa.events(&query).await.unwrap().events;
        let made: Vec<_> =
            events.iter().map(|recorded| (&recorded.event.kind, &*recorded.event.actor)).collect();
        assert_eq!(made, [(&EventKind::SigningKeyMade, "admin server:signing-keys"); 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_counted_and_tried_again_soon() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let _counting = metrics::set_default_local_recorder(&recorder);
        let world = World::new();
        world.start().await.unwrap();
        world.test.clock.advance(world.settings.assertions.rotate_after);
        world.store.set(Fault::Everything);
        sleep(LOOK_EVERY + AFTER_A_FAILURE + Duration::from_secs(1)).await;
        assert!(page.render().contains("mfa_signing_key_failures_total 2"), "{}", page.render());
        world.store.set(None);
        assert_eq!(world.states().await, [Signing]);
        sleep(AFTER_A_FAILURE).await;
        assert_eq!(world.states().await, [Signing, Next]);
    }

    #[tokio::test]
    async fn a_start_without_a_usable_key_fails() {
        let world = World::new();
        world.store.set(Fault::Everything);
        let error = world.start().await.unwrap_err();
        assert!(error.to_string().starts_with("no key can sign assertions"), "{error:#}");

        world.store.set(None);
        world.start().await.unwrap();
        // Another server, which no longer has the key that sealed the private key.
        world.test.vault.rotate(KeyId::new("fake-2"));
        world.test.vault.forget_older();
        let mfa = Mfa::new(world.mfa.ports().clone(), Policies::default()).unwrap();
        let error = World { mfa: Arc::new(mfa), ..world }.start().await.unwrap_err();
        assert!(error.to_string().starts_with("no key can sign assertions"), "{error:#}");
    }

    #[tokio::test]
    async fn no_key_is_made_while_assertions_are_off() {
        let mut world = World::new();
        world.settings.assertions.enabled = false;
        world.start().await.unwrap();
        assert!(world.states().await.is_empty());
    }

    #[test]
    fn the_issuer_is_the_address_unless_one_is_set() {
        let mut settings = Settings::default();
        let of = |settings: &Settings, address: &str| issuer(settings, address.parse().unwrap());
        assert_eq!(of(&settings, "127.0.0.1:49152"), "http://127.0.0.1:49152");
        assert_eq!(of(&settings, "[::1]:8080"), "http://[::1]:8080");
        settings.assertions.issuer = "https://mfa.example.com".to_owned();
        assert_eq!(of(&settings, "127.0.0.1:8080"), "https://mfa.example.com");
    }
}
