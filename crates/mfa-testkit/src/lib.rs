#![doc = include_str!("../README.md")]
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "the constants are valid, and no holder of a lock panics"
)]

pub mod account_store;
pub mod api_key_store;
pub mod challenge_store;
pub mod changes;
pub mod delivery_store;
pub mod mocks;
pub mod outbox;
pub mod signing_keys;
pub mod throttle;

mod clock;
mod entropy;
mod every_kind;
mod failing_store;
mod failing_throttle;
mod fake_webauthn;
mod hasher;
mod list_sender;
mod naive_challenges;
mod naive_store;
mod naive_throttle;
mod ports;
mod race;
pub mod reference_clock;
pub mod sent_codes;
mod time_server;
mod unguarded_challenges;
mod users;
mod vault;
mod violation;

pub use clock::{ManualClock, ShiftedClock};
pub use entropy::SeededEntropy;
pub use every_kind::EveryKind;
pub use failing_store::{FailingStore, Fault};
pub use failing_throttle::FailingThrottle;
pub use fake_webauthn::{FakeAuthenticator, FakeWebauthn};
pub use hasher::FakeHasher;
pub use list_sender::{ListSender, SendFailure, SentMessage};
pub use naive_challenges::NaiveChallenges;
pub use naive_store::NaiveStore;
pub use naive_throttle::NaiveThrottle;
pub use ports::{TestPorts, ports};
pub use time_server::{FakeTimeServer, TimeAnswer};
pub use unguarded_challenges::UnguardedChallenges;
pub use users::{HotpUser, TotpUser, submitted};
pub use vault::FakeVault;
pub use violation::Violation;

use violation::ensure;
