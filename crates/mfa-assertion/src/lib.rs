#![doc = include_str!("../README.md")]

mod assertion;
mod claims;
mod clock;
mod denied;
mod fetched;
mod guard;
mod json;
mod jws;
mod keys;
mod refusal;
mod step_up;
mod used_once;
mod verifier;

pub use assertion::{Acr, Assertion, UnknownAcr};
pub use clock::system_clock;
pub use denied::{Answer, Denied};
pub use fetched::{FetchError, FetchedKeys};
pub use guard::{Guard, Presented};
pub use keys::{InvalidKeySet, KeySet};
pub use refusal::Refusal;
pub use step_up::{StepUp, StepUpNeeded};
pub use used_once::{DynUsedOnce, MemoryUsedOnce, UsedOnce, UsedOnceError};
pub use verifier::{Expected, Verifier};
