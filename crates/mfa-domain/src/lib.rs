#![doc = include_str!("../README.md")]

pub mod account;
pub mod actor;
pub mod address;
pub mod audit;
pub mod challenge;
pub mod code;
pub mod data;
pub mod delivery;
pub mod event_id;
pub mod handle;
pub mod identity;
pub mod mfa;
pub mod outbox;
pub mod passkey;
pub mod policy;
pub mod ports;
pub mod quota;
pub mod sealed;
pub mod signing;
pub mod tenant_settings;
pub mod text;
pub mod timestamp;
pub mod typed;

mod keyed_lock;
mod unicode;

pub use otp_core;

pub use account::{
    Account, AddressDevice, Assurance, Authenticator, BackupCodes, BackupCodesChange, CodeRejection, Context,
    Delta, Draft, Factor, FactorKind, FactorState, HandleChange, HotpDevice, PasskeyDevice, PolicyDenial,
    StoredFactor, TotpDevice, Verdict, Verification, Verified, Version, Versioned,
};
pub use actor::{Actor, Authority, Caller};
pub use address::Address;
pub use audit::{AuditEvent, AuditHead, EventKind};
pub use challenge::{
    Challenge, ChallengeData, ChallengeId, ChallengeKind, ChallengeState, Progress, Purpose,
};
pub use code::{BackupCode, SentCode, SubmittedCode};
pub use data::Data;
pub use delivery::{Delivery, EndpointId};
pub use event_id::EventId;
pub use handle::Handle;
pub use identity::{AccountKey, FactorId, TenantId, UserCase, UserId};
pub use mfa::{Mfa, Undecided};
pub use outbox::{Message, MessageId, MessageState, Sending};
pub use passkey::Passkey;
pub use policy::Policies;
pub use ports::Ports;
pub use quota::{Charge, Quota};
pub use sealed::{KeyId, SealContext, Sealed};
pub use tenant_settings::TenantSettings;
pub use text::{Label, Reason, ShownName};
pub use timestamp::Timestamp;
pub use typed::typed;
