//! Sending codes by e-mail.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE32_NOPAD;
use lettre::message::Mailbox;
use lettre::transport::smtp::extension::ClientId;
use mfa_domain::ports::{self, Clock, CodeMessage, Entropy, Sender, SenderError};
use mfa_domain::{Address, FactorKind, Purpose, Timestamp};
use thiserror::Error;

use crate::connection::Smtp;
use crate::folder::Folder;
use crate::message::Mail;
use crate::pool::Pool;
use crate::recipient::{InvalidRecipient, Recipient, check_address};
use crate::templates::{InvalidTemplates, Templates, Values};
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
    /// Certificates (PEM) by which a mail server is trusted besides those of the system.
    pub roots: Option<Vec<u8>>,
    /// How many connections are open at a time, at most. Default 4; 1 to 64.
    pub connections: usize,
    /// How long one mail may take, from the first step of connecting to the last answer. Default 30 s.
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
    /// The certificates cannot be read, or the system has none.
    #[error("the certificates of authorities cannot be used")]
    Roots,
    /// The folder is not there, or is none.
    #[error("{0} is not a folder that can be written to")]
    Folder(String),
}

/// Sends codes by e-mail: the [`Sender`] of factors of kind `email`.
///
/// A mail that was begun is ended, whether anybody still waits for it or not: a connection that is left in the middle of
/// a mail would take the answer to that one for the answer to the next.
pub struct Mailer {
    from: Mailbox,
    service: String,
    language: String,
    templates: Templates,
    transport: Transport,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

enum Transport {
    Pool(Pool),
    Folder(Folder),
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
            roots: None,
            connections: 4,
            limit: Duration::from_secs(30),
        }
    }
}

impl Mailer {
    /// Sends nothing and connects to nothing yet. Call it on a Tokio runtime.
    ///
    /// # Errors
    /// [`InvalidEmail`] names what cannot work.
    pub fn new(
        settings: EmailSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, InvalidEmail> {
        let EmailSettings { url, from, service, language, templates, roots, connections, limit } = settings;
        let from = sender(&from)?;
        let templates = templates.map_or_else(Templates::built_in, Ok)?;
        if !templates.languages().any(|known| known == language) {
            let known = templates.languages().collect::<Vec<_>>().join(", ");
            return Err(InvalidEmail::Language(known));
        }
        let usual = || from.name.clone().unwrap_or_else(|| from.email.domain().to_owned());
        let service = service.unwrap_or_else(usual);
        let transport = match url {
            EmailUrl::Server(server) => {
                if !(1..=64).contains(&connections) {
                    return Err(InvalidEmail::Connections);
                }
                let hello = ClientId::Domain(from.email.domain().to_owned());
                let smtp = Smtp::new(server, roots.as_deref(), hello, limit);
                Transport::Pool(Pool::new(smtp.map_err(|_| InvalidEmail::Roots)?, connections))
            }
            EmailUrl::Folder(folder) => {
                let shown = folder.display().to_string();
                Transport::Folder(Folder::new(folder).map_err(|_| InvalidEmail::Folder(shown))?)
            }
        };
        Ok(Self { from, service, language, templates, transport, clock, entropy })
    }

    /// Sends a mail with a code that is good for nothing, so that an operator sees whether mail arrives.
    ///
    /// # Errors
    /// [`SenderError`] says how far it came.
    pub async fn test(&self, to: &Address) -> Result<(), SenderError> {
        let now = self.clock.now();
        let mail = self.mail(to, "00000000", Purpose::Verify, now.plus(Duration::from_mins(10)), now)?;
        self.hand_over(mail).await
    }

    fn mail(
        &self,
        to: &Address,
        code: &str,
        purpose: Purpose,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Mail, SenderError> {
        let to = Recipient::of(to).map_err(|error: InvalidRecipient| SenderError::refused(error))?;
        let minutes = expires_at.since(now).as_secs().div_ceil(60).max(1);
        let values = Values { code, minutes, purpose: name(purpose), service: &self.service };
        let text = self.templates.render(&self.language, values).map_err(SenderError::not_sent)?;
        let mut random = [0; 16];
        self.entropy.fill(&mut random).map_err(SenderError::not_sent)?;
        let id = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
        Mail::new(&self.from, &to, text, now, &id).map_err(SenderError::not_sent)
    }

    async fn hand_over(&self, mail: Mail) -> Result<(), SenderError> {
        match &self.transport {
            Transport::Pool(pool) => pool.send(mail).await,
            Transport::Folder(folder) => {
                let written = folder.write(mail, self.clock.now()).await;
                if let Err(error) = &written {
                    let why = error.source().map(ToString::to_string);
                    tracing::error!(why, "a mail could not be put into its folder");
                }
                written
            }
        }
    }
}

#[async_trait]
impl Sender for Mailer {
    fn check(&self, _: &FactorKind, to: &Address) -> Result<(), ports::InvalidRecipient> {
        check_address(to).map_err(|invalid| ports::InvalidRecipient(invalid.to_string()))
    }

    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        let CodeMessage { to, code, purpose, expires_at, .. } = *message;
        match self.mail(to, code.as_str(), purpose, expires_at, self.clock.now()) {
            Ok(mail) => self.hand_over(mail).await,
            Err(error) => {
                let why = error.source().map(ToString::to_string);
                tracing::error!(why, "a mail could not be written");
                Err(error)
            }
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

fn sender(from: &str) -> Result<Mailbox, InvalidEmail> {
    let from: Mailbox = from.parse().map_err(|_| InvalidEmail::From)?;
    let is_whole = from.email.to_string().is_ascii() && !from.to_string().contains("://");
    if is_whole { Ok(from) } else { Err(InvalidEmail::From) }
}

/// As templates know it.
fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Enrol => "enrol",
        Purpose::Change => "change",
        Purpose::Recover => "recover",
        _ => "verify",
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("from", &self.from.to_string()).finish_non_exhaustive()
    }
}
