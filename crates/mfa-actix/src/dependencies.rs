//! The dependencies of the API and the state of each.

use serde::Serialize;
use utoipa::ToSchema;

/// State of each dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Dependencies {
    /// Store of accounts and audit events.
    pub(crate) accounts: Health,
    /// Keys that open the stored secrets.
    pub(crate) keys: Health,
    /// Store of API keys.
    pub(crate) api_keys: Health,
    /// Throttle. While it fails, codes are checked without rate limits.
    pub(crate) throttle: Health,
    /// Clock of the server, compared with the database or a time server. Absent if it is not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<Health>,
}

/// State of a dependency: `ok`, `failing` (it does not work), or `unknown` (not checked yet, or not checkable
/// while another dependency fails).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Ok,
    Failing,
    /// Not checked yet, or not checkable while another dependency fails.
    Unknown,
}

impl Dependencies {
    /// The example in the OpenAPI document.
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
