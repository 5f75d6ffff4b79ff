//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use mfa_domain::ports::{ApiKeyStore, Clock};
use mfa_domain::{Mfa, TenantSettings};

use crate::key_use::KeyUses;
use crate::metrics_page::MetricsPage;
use crate::readiness::Readiness;
use crate::throttling::Throttling;
use crate::waiting::Waiting;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    pub(crate) key_uses: KeyUses,
    pub(crate) throttling: Throttling,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The description of the API, shared by all answers, since anybody may ask for it.
    pub(crate) document: Bytes,
    pub(crate) tenants: TenantSettings,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Option<MetricsPage>,
    pub(crate) waiting: Waiting,
}
