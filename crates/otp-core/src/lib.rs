#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "qr")]
extern crate std;

mod algorithm;
mod code;
mod hotp;
mod mac;
mod parameters;
#[cfg(feature = "qr")]
pub mod qr;
mod secret;
mod totp;
pub mod uri;

pub use crate::algorithm::{Algorithm, UnknownAlgorithm};
pub use crate::code::{Code, CodeError};
pub use crate::hotp::Hotp;
pub use crate::parameters::{Digits, LookAhead, ParameterError, Period, ResyncSteps, ResyncWindow, Window};
pub use crate::secret::{Secret, SecretError, SecretWarning, Strength};
pub use crate::totp::{TimeError, Totp, unix_seconds};
pub use crate::uri::{CompatibilityWarning, OtpauthUri, Parsed, Token, UriError, UriWarning, compatibility};
