//! What the API depends on, and how each of it fares.

use serde::Serialize;
use utoipa::ToSchema;

/// How each dependency fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Dependencies {
    /// The store of accounts and audit events.
    pub(crate) accounts: Health,
    /// The keys of the secrets that are stored.
    pub(crate) keys: Health,
    /// The store of API keys.
    pub(crate) api_keys: Health,
    /// What counts how often somebody calls; while it fails, calls are not throttled.
    pub(crate) throttle: Health,
    /// The clock of this process, by that of the database or of a time server; absent if there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<Health>,
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Ok,
    Failing,
    /// It cannot be asked while another does not work.
    Unknown,
}

impl Dependencies {
    /// For the description of the API.
    pub(crate) const EXAMPLE: Self = Self {
        accounts: Health::Ok,
        keys: Health::Ok,
        api_keys: Health::Ok,
        throttle: Health::Ok,
        clock: Some(Health::Ok),
    };

    /// Whether codes can be checked.
    pub(crate) fn suffice(self) -> bool {
        [self.accounts, self.keys, self.api_keys] == [Health::Ok; 3] && self.clock != Some(Health::Failing)
    }
}
