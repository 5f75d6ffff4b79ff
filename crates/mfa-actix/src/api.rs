//! The API, for an actix-web application to mount.

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
use crate::pages::ReferencePage;
use crate::proof::ProofKeys;
use crate::readiness::Readiness;
use crate::routes::well_known::WellKnown;
use crate::routes::{self, Part};
use crate::state::State;
use crate::throttling::Throttling;
use crate::waiting::Waiting;

/// The HTTP API: routes, API keys, problems, request ids, limits.
///
/// Calls below `/v1` need an API key; `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/problems/{code}`,
/// `/assets/passkey.js` and what is below `/.well-known/` do not. Cloning is cheap, and all clones share one
/// state.
#[derive(Clone)]
pub struct Api {
    state: State,
}

impl Api {
    /// The API of `mfa`, for callers with a key in `api_keys`, within the limits of `throttling`.
    #[must_use]
    pub fn new(mfa: Arc<Mfa>, api_keys: Arc<dyn ApiKeyStore>, throttling: Throttling) -> Self {
        // A slow request must get its 503 within two seconds.
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
            reference: ReferencePage::default(),
            tenants: TenantSettings::default(),
            proof_keys: ProofKeys::default(),
            request_timeout,
            metrics: None,
            waiting: Waiting::default(),
            well_known: WellKnown::default(),
        };
        Self { state }
    }

    /// Sets the settings of the tenants.
    ///
    /// [`TenantSettings::with_assertion_issuer`] turns signed assertions on. They also need
    /// [`Ports::signing_keys`](mfa_domain::Ports::signing_keys), without which every verification answers 503 then, and
    /// a key: call [`Mfa::ensure_signing_key`] when the program starts, and [`Mfa::replace_old_signing_key`] every hour.
    ///
    /// Without assertions, no proof of a change counts over HTTP. Then set
    /// [`ProofScope::Account`](mfa_domain::policy::ProofScope::Account), or users with a factor can change none.
    #[must_use]
    pub fn tenants(mut self, settings: TenantSettings) -> Self {
        if settings.signs_assertions() && self.state.mfa.ports().signing_keys.is_none() {
            tracing::error!("assertions have an issuer, but no port makes the keys that sign them");
        }
        self.state.tenants = settings;
        self
    }

    /// Sets the time limit of a request, including its body. A request that takes longer gets 503. Default:
    /// 1.9 seconds, so that the 503 arrives within two. Calls that issue backup codes may take five times as
    /// long, since each code needs a slow hash.
    #[must_use]
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.state.request_timeout = limit;
        self
    }

    /// Makes `/readyz` answer 503 while the clock of this process is far off, compared with these clocks. Run
    /// [`Clocks::watch`] as well: it makes the comparisons.
    #[must_use]
    pub fn clocks(mut self, clocks: Clocks) -> Self {
        let State { mfa, api_keys, throttling, .. } = self.state.clone();
        self.state.readiness = Arc::new(Readiness::new(mfa, api_keys, throttling, Some(clocks)));
        self
    }

    /// Serves the result of `render`, in the Prometheus text format, at `/metrics`. Without it, `/metrics`
    /// answers 404.
    #[must_use]
    pub fn metrics(mut self, render: RenderMetrics) -> Self {
        self.state.metrics = Some(MetricsPage::new(render));
        self
    }

    /// Sets the documents at `/.well-known/webauthn` and `/.well-known/passkey-endpoints`. Without them, both
    /// answer 404.
    #[must_use]
    pub fn well_known(mut self, documents: WellKnown) -> Self {
        self.state.well_known = documents;
        self
    }

    /// Sets the clock of throttles and `Retry-After`. Default: the clock of the use cases.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.state.clock = clock;
        self
    }

    /// Sets the title of the OpenAPI document. Default: `Multi-factor authentication`.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        self.state.document = openapi::document(title).into();
        self.state.reference = ReferencePage::default();
        self
    }

    /// Ends all calls that wait for a change (`?wait=`). Each is answered with the present state, and later
    /// calls do not wait. Call it before the server stops, so that these calls do not delay it. Applies to
    /// all clones.
    pub fn end_waits(&self) {
        self.state.waiting.end();
    }

    /// Mounts everything except the [pages](Self::configure_pages) in an application or scope. Add it last:
    /// it answers every request not matched before.
    pub fn configure(&self, config: &mut ServiceConfig) {
        self.configure_health(config);
        self.configure_metrics(config);
        self.configure_well_known(config);
        self.configure_calls(config);
    }

    /// Mounts only the calls, `/openapi.json`, `/problems/{code}` and `/assets/passkey.js`. Add them last:
    /// they answer every request not matched before.
    pub fn configure_calls(&self, config: &mut ServiceConfig) {
        let state = Data::new(self.state.clone());
        routes::mount(config, &state, Part::Api);
        routes::mount_nowhere(config, &state);
    }

    /// Mounts only `/healthz` and `/readyz`, for example on a port that only probes can reach.
    pub fn configure_health(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::Health);
    }

    /// Mounts only `/metrics`.
    pub fn configure_metrics(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::Metrics);
    }

    /// Mounts only the documents below `/.well-known/`. Browsers look for them at the root of a domain: if
    /// the API is in a scope, also mount them outside it.
    pub fn configure_well_known(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::WellKnown);
    }

    /// Mounts two pages for browsers: an overview with version, readiness and first calls at `/`, and the API
    /// reference at `/docs`. Only a browser gets the page at `/`; other requests for `/` go to the services
    /// added later. Both pages link to `/healthz`, `/readyz` and `/openapi.json` in the same scope. Add them
    /// before the calls.
    pub fn configure_pages(&self, config: &mut ServiceConfig) {
        routes::mount(config, &Data::new(self.state.clone()), Part::Pages);
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}
