#![doc = include_str!("../README.md")]

mod connection;
mod folder;
mod mailer;
mod message;
mod pool;
mod recipient;
mod templates;
mod url;

pub use mailer::{EmailSettings, InvalidEmail, Mailer, check_from};
pub use recipient::{InvalidRecipient, check_address};
pub use templates::{InvalidTemplates, Templates};
pub use url::{EmailUrl, Encryption, InvalidEmailUrl, Login, MailServer};
