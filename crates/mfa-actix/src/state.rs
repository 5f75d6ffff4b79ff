//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::Mfa;
use mfa_domain::ports::ApiKeyStore;

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
    pub(crate) issuer: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Option<MetricsPage>,
}
