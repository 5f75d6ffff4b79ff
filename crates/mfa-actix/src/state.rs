//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use mfa_domain::ports::{ApiKeyStore, Clock};
use mfa_domain::{Mfa, TenantSettings};

use crate::key_use::KeyUses;
use crate::metrics_page::MetricsPage;
use crate::pages::ReferencePage;
use crate::proof::ProofKeys;
use crate::readiness::Readiness;
use crate::routes::well_known::WellKnown;
use crate::throttling::Throttling;
use crate::waiting::Waiting;

/// The state that all handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    pub(crate) key_uses: KeyUses,
    pub(crate) throttling: Throttling,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The OpenAPI document. All answers share it, since it needs no API key.
    pub(crate) document: Bytes,
    /// The API reference made from `document`.
    pub(crate) reference: ReferencePage,
    pub(crate) tenants: TenantSettings,
    pub(crate) proof_keys: ProofKeys,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Option<MetricsPage>,
    pub(crate) waiting: Waiting,
    pub(crate) well_known: WellKnown,
}
