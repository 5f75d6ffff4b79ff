//! Addresses that codes are sent to.

use serde::{Deserialize, Serialize};

use crate::ChallengeId;

/// The public part of an address factor. The address itself is the sealed secret of the factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressDevice {
    /// The masked address.
    pub destination: String,
    /// The challenge that confirms the factor; `None` once it is confirmed.
    pub(crate) first: Option<ChallengeId>,
}

impl AddressDevice {
    /// A confirmed address.
    #[must_use]
    pub const fn confirmed(destination: String) -> Self {
        Self { destination, first: None }
    }
}

/// The stored form, as [`Data`](crate::Data).
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
