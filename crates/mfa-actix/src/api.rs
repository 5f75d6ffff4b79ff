//! The API as something to put into an actix application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use mfa_domain::Mfa;
use mfa_domain::ports::ApiKeyStore;

use crate::body::MAX_BODY;
use crate::clocks::Clocks;
use crate::envelope::envelope;
use crate::key_use::KeyUses;
use crate::metrics_page::{MetricsPage, RenderMetrics};
use crate::readiness::Readiness;
use crate::routes;
use crate::state::State;
use crate::throttling::Throttling;

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
        let state = State {
            mfa,
            api_keys,
            key_uses,
            throttling,
            readiness,
            issuer: None,
            request_timeout,
            metrics: None,
        };
        Self { state }
    }

    /// The issuer that authenticator apps show when a caller names none; the tenant by default.
    #[must_use]
    pub fn issuer(mut self, issuer: String) -> Self {
        self.state.issuer = Some(issuer);
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

    /// Adds the API to an application or to a scope of it. It answers whatever nothing before it
    /// has matched, so add it last.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let all = web::scope("")
            .app_data(web::Data::new(self.state.clone()))
            .app_data(PayloadConfig::new(MAX_BODY))
            .configure(routes::all)
            .default_service(web::to(routes::nowhere))
            .wrap(from_fn(envelope));
        config.service(all);
        // A request of the server as a whole has no path (`OPTIONS *`), and so is in no scope.
        config.default_service(web::route().to(routes::nowhere).wrap(from_fn(envelope)));
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}
