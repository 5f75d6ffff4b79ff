//! Sends codes by e-mail.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE32_NOPAD;
use lettre::transport::smtp::extension::ClientId;
use mfa_domain::ports::{Clock, CodeMessage, Entropy, InvalidRecipient, Sender, SenderError};
use mfa_domain::{Address, FactorKind, Purpose, Timestamp};

use crate::composer::Composer;
use crate::connection::Smtp;
use crate::dkim::{DkimRecord, DkimSigner};
use crate::folder::Folder;
use crate::message::Mail;
use crate::pool::Pool;
use crate::recipient::check_address;
use crate::settings::{EmailSettings, InvalidEmail};
use crate::url::EmailUrl;

/// Sends codes by e-mail: the [`Sender`] for factors of kind `email`.
///
/// Dropping the future of a send does not interrupt a mail that was begun. A connection abandoned in the
/// middle of a mail would take the reply to that mail for the reply to the next.
pub struct Mailer {
    composer: Composer,
    signer: Option<DkimSigner>,
    transport: Transport,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

enum Transport {
    Pool(Pool),
    Folder(Folder),
}

impl Mailer {
    /// Creates a mailer. It does not connect, send or change a file yet. Requires a Tokio runtime.
    ///
    /// # Errors
    /// [`InvalidEmail`] if a setting cannot be used.
    pub fn new(
        settings: EmailSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, InvalidEmail> {
        let EmailSettings { url, from, service, language, templates, dkim, roots, connections, limit } =
            settings;
        let composer = Composer::new(&from, service, language, templates)?;
        let domain = composer.from().email.domain();
        let signer = dkim.map(|dkim| DkimSigner::new(dkim, domain)).transpose()?;
        let transport = match url {
            EmailUrl::Server(server) => {
                if !(1..=64).contains(&connections) {
                    return Err(InvalidEmail::Connections);
                }
                let hello = ClientId::Domain(domain.to_owned());
                let smtp = Smtp::new(server, roots.as_deref(), hello, limit);
                Transport::Pool(Pool::new(smtp.map_err(|_| InvalidEmail::Roots)?, connections))
            }
            EmailUrl::Folder(folder) => {
                let shown = folder.display().to_string();
                Transport::Folder(Folder::new(folder).map_err(|_| InvalidEmail::Folder(shown))?)
            }
        };
        Ok(Self { composer, signer, transport, clock, entropy })
    }

    /// The DNS record to publish, if mails are signed.
    #[must_use]
    pub fn dkim_record(&self) -> Option<DkimRecord> {
        self.signer.as_ref().map(DkimSigner::record)
    }

    /// Sends a mail with an invalid code, so that an operator sees whether mail arrives.
    ///
    /// # Errors
    /// [`SenderError`] with the step that failed.
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
        let (to, text) = self.composer.write(to, code, purpose, expires_at, now)?;
        let mut random = [0; 16];
        self.entropy.fill(&mut random).map_err(SenderError::not_sent)?;
        let id = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
        let mail = Mail::new(self.composer.from(), &to, text, now, &id).map_err(SenderError::not_sent)?;
        match &self.signer {
            Some(signer) => mail.signed(signer, now).map_err(SenderError::not_sent),
            None => Ok(mail),
        }
    }

    async fn hand_over(&self, mail: Mail) -> Result<(), SenderError> {
        match &self.transport {
            Transport::Pool(pool) => pool.send(mail).await,
            Transport::Folder(folder) => {
                let written = folder.write(mail, self.clock.now()).await;
                if let Err(error) = &written {
                    let why = error.source().map(ToString::to_string);
                    tracing::error!(why, "could not write a mail to the folder");
                }
                written
            }
        }
    }
}

#[async_trait]
impl Sender for Mailer {
    fn check(&self, _: &FactorKind, to: &Address) -> Result<(), InvalidRecipient> {
        check_address(to).map_err(|invalid| InvalidRecipient(invalid.to_string()))
    }

    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        let CodeMessage { to, code, purpose, expires_at, .. } = *message;
        match self.mail(to, code.as_str(), purpose, expires_at, self.clock.now()) {
            Ok(mail) => self.hand_over(mail).await,
            Err(error) => {
                let why = error.source().map(ToString::to_string);
                tracing::error!(why, "could not compose a mail");
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("composer", &self.composer).finish_non_exhaustive()
    }
}
