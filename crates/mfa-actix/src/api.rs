//! The API as something to put into an actix application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, ServiceConfig};
use mfa_domain::ports::{ApiKeyStore, Clock};
use mfa_domain::{Mfa, TenantSettings};

use crate::clocks::Clocks;
use crate::key_use::KeyUses;
use crate::metrics_page::{MetricsPage, RenderMetrics};
use crate::openapi::{self, openapi_json};
use crate::readiness::Readiness;
use crate::routes::{self, Part};
use crate::state::State;
use crate::throttling::Throttling;
use crate::waiting::Waiting;

/// The HTTP API: routes, API keys, problems, request ids, limits.
///
/// Everything below `/v1` asks for an API key; `/healthz`, `/readyz`, `/metrics`, `/openapi.json`
/// and `/problems/{code}` do not. Clone it freely: all clones share one state.
#[derive(Clone)]
pub struct Api {
    state: State,
}

impl Api {
    /// The API of `mfa`, for callers with a key in `api_keys`, within the limits of `throttling`.
    #[must_use]
    pub fn new(mfa: Arc<Mfa>, api_keys: Arc<dyn ApiKeyStore>, throttling: Throttling) -> Self {
        // A 503 is promised within two seconds.
        let request_timeout = Duration::from_millis(1900);
        let asked = (Arc::clone(&mfa), Arc::clone(&api_keys), throttling.clone());
        let readiness = Arc::new(Readiness::new(asked.0, asked.1, asked.2, None));
        let key_uses = KeyUses::default();
        let clock = Arc::clone(&mfa.ports().clock);
        let state = State {
            mfa,
            api_keys,
            key_uses,
            throttling,
            readiness,
            clock,
            document: openapi_json().into(),
            tenants: TenantSettings::default(),
            request_timeout,
            metrics: None,
            waiting: Waiting::default(),
        };
        Self { state }
    }

    /// What holds for each tenant.
    #[must_use]
    pub fn tenants(mut self, settings: TenantSettings) -> Self {
        self.state.tenants = settings;
        self
    }

    /// How long a request may take before it is answered with 503; 1.9 seconds by default, so that the 503
    /// is there within two. Calls that give out backup codes may take five times as long, for the slow
    /// hashes that these need.
    #[must_use]
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.state.request_timeout = limit;
        self
    }

    /// Not to be ready while the clock is wrong, by the clocks that it is compared with. Somebody has to
    /// [watch](Clocks::watch) them.
    #[must_use]
    pub fn clocks(mut self, clocks: Clocks) -> Self {
        let State { mfa, api_keys, throttling, .. } = self.state.clone();
        self.state.readiness = Arc::new(Readiness::new(mfa, api_keys, throttling, Some(clocks)));
        self
    }

    /// What `/metrics` answers, in the text format of Prometheus; without it there is no such page.
    #[must_use]
    pub fn metrics(mut self, render: RenderMetrics) -> Self {
        self.state.metrics = Some(MetricsPage::new(render));
        self
    }

    /// The time by this clock; by default by that of the use cases.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.state.clock = clock;
        self
    }

    /// What the description of the API is titled; `Multi-factor authentication` by default.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        self.state.document = openapi::document(title).into();
        self
    }

    /// Ends calls that wait for a change: each is answered with what is known, and none waits from now on. For a server
    /// that is about to stop, which they would keep from it. It holds for all clones.
    pub fn end_waits(&self) {
        self.state.waiting.end();
    }

    /// Adds everything to an application or to a scope of it. It answers whatever nothing before it
    /// has matched, so add it last.
    pub fn configure(&self, config: &mut ServiceConfig) {
        self.configure_health(config);
        self.configure_metrics(config);
        self.configure_calls(config);
    }

    /// Adds the calls alone, with `/openapi.json` and `/problems/{code}`. They answer whatever nothing before them has
    /// matched, so add them last.
    pub fn configure_calls(&self, config: &mut ServiceConfig) {
        let state = Data::new(self.state.clone());
        routes::mount(config, &state, Part::Api);
        routes::mount_nowhere(config, &state);
    }

    /// Adds `/healthz` and `/readyz` alone, as to a port that only probes reach.
    pub fn configure_health(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::Health);
    }

    /// Adds `/metrics` alone.
    pub fn configure_metrics(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::Metrics);
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}
