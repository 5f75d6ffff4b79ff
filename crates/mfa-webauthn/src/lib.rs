#![doc = include_str!("../README.md")]

mod authentication;
mod authenticator_data;
mod client_data;
mod metadata;
mod models;
mod options;
mod public_key;
mod registration;
mod relying_party;
mod settings;
mod state;
mod trusted;

pub use metadata::{InvalidMetadata, Metadata, MetadataEntry};
pub use relying_party::RelyingParty;
pub use settings::{AttestationPolicy, InvalidSettings, Settings};
pub use trusted::{InvalidRoots, TrustedAuthenticators};
