#![doc = include_str!("../README.md")]

mod composer;
mod connection;
mod dkim;
mod folder;
mod mailer;
mod message;
mod outage;
mod pool;
mod recipient;
mod settings;
mod templates;
mod url;

pub use composer::{Composer, MailText};
pub use dkim::{DkimKey, DkimRecord, DkimSettings, InvalidDkim, InvalidDkimKey, check_dkim_selector};
pub use mailer::Mailer;
pub use recipient::{InvalidRecipient, check_address};
pub use settings::{EmailSettings, InvalidEmail, check_dkim_domain, check_from};
pub use templates::{InvalidTemplates, Templates};
pub use url::{EmailUrl, Encryption, InvalidEmailUrl, Login, MailServer};
