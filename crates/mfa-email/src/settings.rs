//! How codes are sent by e-mail, and what of it cannot work.

use std::time::Duration;

use lettre::message::Mailbox;
use thiserror::Error;

use crate::dkim::{DkimSettings, InvalidDkim, aligned};
use crate::templates::{InvalidTemplates, Templates};
use crate::url::EmailUrl;

/// How codes are sent by e-mail.
#[derive(Debug)]
#[non_exhaustive]
pub struct EmailSettings {
    /// Where mail is handed over.
    pub url: EmailUrl,
    /// Who it comes from: `mfa@example.com`, or `Example <mfa@example.com>`. Answers and bounces go there.
    pub from: String,
    /// What the service is called in the texts. Default: the name in `from`, or its domain.
    pub service: Option<String>,
    /// Default `en`; one that there are templates for.
    pub language: String,
    /// What mails say. Default: those of this crate.
    pub templates: Option<Templates>,
    /// Signs each mail with DKIM. Default: not at all.
    pub dkim: Option<DkimSettings>,
    /// Certificates (PEM) by which a mail server is trusted besides those of the system.
    pub roots: Option<Vec<u8>>,
    /// How many connections are open at a time, at most. Default 4; 1 to 64.
    pub connections: usize,
    /// How long one mail may take, from the first step of connecting to the last answer. Default 50 s: a mail server that
    /// answers late has taken the mail, so giving up early makes copies. A [`Sender`](mfa_domain::ports::Sender) has a
    /// minute, of which up to 5 s go to finding out whether an open connection still works.
    pub limit: Duration,
}

/// Settings that cannot work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidEmail {
    /// No mail can come from there.
    #[error("from is not an address such as mfa@example.com or Example <mfa@example.com>, in ASCII")]
    From,
    /// There is no template for it.
    #[error("language is none that there are templates for: {0}")]
    Language(String),
    /// There would be none, or too many.
    #[error("connections must be 1 to 64")]
    Connections,
    /// What mails say cannot be used.
    #[error(transparent)]
    Templates(#[from] InvalidTemplates),
    /// The signature would count for nothing.
    #[error(transparent)]
    Dkim(#[from] InvalidDkim),
    /// The certificates cannot be read, or the system has none.
    #[error("the certificates of authorities cannot be used")]
    Roots,
    /// It is no folder, or it is not there and cannot be made.
    #[error("{0} is not a folder that can be written to")]
    Folder(String),
}

impl EmailSettings {
    /// Mail that is handed over there and comes from that address, and what is usual.
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

/// Whether mail can come from there, for those who read settings.
///
/// # Errors
/// [`InvalidEmail::From`].
pub fn check_from(from: &str) -> Result<(), InvalidEmail> {
    sender(from).map(drop)
}

pub(crate) fn sender(from: &str) -> Result<Mailbox, InvalidEmail> {
    let from: Mailbox = from.parse().map_err(|_| InvalidEmail::From)?;
    let is_whole = from.email.to_string().is_ascii() && !from.to_string().contains("://");
    if is_whole { Ok(from) } else { Err(InvalidEmail::From) }
}

/// Whether mails from there can be signed for that domain, or for their own, for those who read settings.
///
/// # Errors
/// [`InvalidEmail::From`] and [`InvalidEmail::Dkim`].
pub fn check_dkim_domain(domain: Option<&str>, from: &str) -> Result<(), InvalidEmail> {
    let from = sender(from)?;
    let own = from.email.domain();
    aligned(domain.unwrap_or(own), own)?;
    Ok(())
}
