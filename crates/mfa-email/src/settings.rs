//! Settings for sending codes by e-mail, and their errors.

use std::time::Duration;

use lettre::message::Mailbox;
use thiserror::Error;

use crate::dkim::{DkimSettings, InvalidDkim, aligned};
use crate::templates::{InvalidTemplates, Templates};
use crate::url::EmailUrl;

/// Settings for sending codes by e-mail.
#[derive(Debug)]
#[non_exhaustive]
pub struct EmailSettings {
    /// The mail server or folder that receives the mails.
    pub url: EmailUrl,
    /// The sender: `mfa@example.com` or `Example <mfa@example.com>`. Replies and bounces go there.
    pub from: String,
    /// The name of the service in the texts. Default: the name in `from`, or its domain.
    pub service: Option<String>,
    /// The language of the mails; it must have templates. Default `en`.
    pub language: String,
    /// The texts of the mails. Default: those of this crate.
    pub templates: Option<Templates>,
    /// Signs each mail with DKIM. Default: no signature.
    pub dkim: Option<DkimSettings>,
    /// Certificates (PEM) that are trusted in addition to those of the system.
    pub roots: Option<Vec<u8>>,
    /// The maximum number of open connections, 1 to 64. Default 4.
    pub connections: usize,
    /// The time limit of one mail, from the first step of connecting to the last reply. Default 50 s: a
    /// server that replies late has accepted the mail, so giving up early produces duplicates. A
    /// [`Sender`](mfa_domain::ports::Sender) has one minute, of which up to 5 s test whether an open
    /// connection still works.
    pub limit: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidEmail {
    /// `from` is not a valid sender address.
    #[error("from is not an address such as mfa@example.com or Example <mfa@example.com>, in ASCII")]
    From,
    /// The language has no templates. The text lists the languages that have some.
    #[error("there are no templates for the language; choose one of {0}")]
    Language(String),
    /// The number of connections is out of range.
    #[error("connections must be 1 to 64")]
    Connections,
    /// The templates cannot be used.
    #[error(transparent)]
    Templates(#[from] InvalidTemplates),
    /// Receivers would not accept the DKIM signature.
    #[error(transparent)]
    Dkim(#[from] InvalidDkim),
    /// The certificates cannot be read, or the system has none.
    #[error("the CA certificates cannot be used")]
    Roots,
    /// The path is not a writable folder, or is absent and cannot be created.
    #[error("{0} is not a writable folder")]
    Folder(String),
}

impl EmailSettings {
    /// Settings for mail from this address through `url`, with defaults for the rest.
    #[must_use]
    pub fn new(url: EmailUrl, from: impl Into<String>) -> Self {
        Self {
            url,
            from: from.into(),
            service: None,
            language: "en".to_owned(),
            templates: None,
            dkim: None,
            roots: None,
            connections: 4,
            limit: Duration::from_secs(50),
        }
    }
}

/// Checks a sender address, for programs that validate settings.
///
/// # Errors
/// [`InvalidEmail::From`] if mail cannot come from it.
pub fn check_from(from: &str) -> Result<(), InvalidEmail> {
    sender(from).map(drop)
}

pub(crate) fn sender(from: &str) -> Result<Mailbox, InvalidEmail> {
    let from: Mailbox = from.parse().map_err(|_| InvalidEmail::From)?;
    let is_whole = from.email.to_string().is_ascii() && !from.to_string().contains("://");
    if is_whole { Ok(from) } else { Err(InvalidEmail::From) }
}

/// Checks whether mails from an address can be signed for `domain`, or for its own domain if `None`; for
/// programs that validate settings.
///
/// # Errors
/// [`InvalidEmail::From`] and [`InvalidEmail::Dkim`].
pub fn check_dkim_domain(domain: Option<&str>, from: &str) -> Result<(), InvalidEmail> {
    let from = sender(from)?;
    let own = from.email.domain();
    aligned(domain.unwrap_or(own), own)?;
    Ok(())
}
