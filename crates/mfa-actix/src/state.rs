//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::Mfa;
use mfa_domain::ports::ApiKeyStore;

use crate::clocks::Clocks;
use crate::key_use::KeyUses;
use crate::metrics_page::MetricsPage;
use crate::readiness::Readiness;
use crate::throttling::Throttling;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    pub(crate) key_uses: KeyUses,
    pub(crate) throttling: Throttling,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) clocks: Option<Clocks>,
    pub(crate) issuer: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Option<MetricsPage>,
}

impl State {
    /// How long a request may take. Giving out backup codes takes a slow hash for each of them, and
    /// many users may enrol at the same time.
    pub(crate) fn time_limit(&self, route: &str) -> Duration {
        let issues_codes = route.ends_with("/confirm") || route.ends_with("/backup-codes");
        self.request_timeout * if issues_codes { 5 } else { 1 }
    }
}
