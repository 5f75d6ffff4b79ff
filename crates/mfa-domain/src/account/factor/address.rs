//! Addresses that codes are sent to.

use serde::{Deserialize, Serialize};

use crate::ChallengeId;

/// What is known of an address that codes are sent to. The address itself is the factor's sealed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressDevice {
    /// What may be shown of the address.
    pub destination: String,
    /// Of a factor that waits for its first code: the challenge which that code answers.
    pub(crate) first: Option<ChallengeId>,
}

impl AddressDevice {
    /// One that is confirmed: it waits for no first code.
    #[must_use]
    pub const fn confirmed(destination: String) -> Self {
        Self { destination, first: None }
    }
}

/// The same as [`Data`](crate::Data).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressData {
    v: u32,
    destination: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<String>,
}

impl AddressData {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn of(device: &AddressDevice) -> Self {
        let AddressDevice { destination, first } = device;
        Self {
            v: Self::VERSION,
            destination: destination.clone(),
            first: first.as_ref().map(ChallengeId::to_string),
        }
    }

    pub(super) fn read(self) -> Option<AddressDevice> {
        let first = self.first.as_deref().map(str::parse).transpose().ok()?;
        Some(AddressDevice { destination: self.destination, first })
    }
}
