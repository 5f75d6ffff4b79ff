//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::Mfa;
use mfa_domain::ports::ApiKeyStore;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    pub(crate) issuer: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Option<RenderMetrics>,
}

/// What `/metrics` answers.
pub(crate) type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;
