//! Sends e-mail with the settings of `[email]`.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use mfa_domain::ports::{CodeMessage, InvalidRecipient, Sender, SenderError, SystemClock, SystemEntropy};
use mfa_domain::{Address, FactorKind};
use mfa_email::{Composer, DkimKey, DkimSettings, EmailSettings, Mailer, Templates, check_address};
use tracing::warn;

use crate::config::Settings;
use crate::config::settings::Email;
use crate::data_dir;

/// The sender of codes: e-mail, or a line in the log if `email.url` is empty.
pub(crate) fn sender(settings: &Settings) -> Result<Arc<dyn Sender>> {
    Ok(match mailer(settings)? {
        Some(mailer) => Arc::new(mailer),
        None => Arc::new(Unsent),
    })
}

/// Sends nothing, and logs address and code, masked.
#[derive(Debug)]
struct Unsent;

#[async_trait]
impl Sender for Unsent {
    fn check(&self, _: &FactorKind, to: &Address) -> Result<(), InvalidRecipient> {
        check_address(to).map_err(|invalid| InvalidRecipient(invalid.to_string()))
    }

    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        let code = "•".repeat(message.code.as_str().len());
        let (to, purpose) = (message.to.masked(), message.purpose.as_str());
        warn!(kind = message.kind.as_str(), %to, purpose, code, "a code was not sent: email.url is not set");
        Err(SenderError::refused("email.url is not set"))
    }
}

/// The mailer; `None` if `email.url` is empty.
pub(crate) fn mailer(settings: &Settings) -> Result<Option<Mailer>> {
    let settings = &settings.email;
    let (templates, dkim) = (templates(settings)?, dkim(settings)?);
    let Some(url) = &settings.url.0 else { return Ok(None) };
    let mut email = EmailSettings::new(url.clone(), &settings.from);
    email.service = service(settings);
    email.language.clone_from(&settings.language);
    email.connections = settings.connections;
    email.templates = templates;
    email.dkim = dkim;
    let ca_file = &settings.ca_file;
    if !ca_file.as_os_str().is_empty() {
        let unreadable = || format!("email.ca_file: {} cannot be read", ca_file.display());
        email.roots = Some(fs::read(ca_file).with_context(unreadable)?);
    }
    let mailer = Mailer::new(email, Arc::new(SystemClock), Arc::new(SystemEntropy));
    Ok(Some(mailer.context(UNFIT)?))
}

/// The composer of the mails that [`mailer`] sends.
pub(crate) fn composer(settings: &Email) -> Result<Composer> {
    let Email { from, language, .. } = settings;
    let composer = Composer::new(from, service(settings), language.clone(), templates(settings)?);
    composer.context(UNFIT)
}

const UNFIT: &str = "no e-mail can be sent with these settings";

fn service(settings: &Email) -> Option<String> {
    Some(settings.service.clone()).filter(|service| !service.is_empty())
}

fn templates(settings: &Email) -> Result<Option<Templates>> {
    let folder = &settings.template_dir;
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    Templates::read(folder).map(Some).context("email.template_dir")
}

fn dkim(settings: &Email) -> Result<Option<DkimSettings>> {
    let Email { dkim_key_file: file, dkim_selector, dkim_domain, .. } = settings;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let named = || format!("email.dkim_key_file: {}", file.display());
    let read = data_dir::read_key_file(file, "DKIM key").context("email.dkim_key_file")?;
    let pem = read.with_context(|| format!("{} does not exist", named()))?;
    Ok(Some(DkimSettings {
        key: DkimKey::from_pem(pem.as_bytes()).with_context(named)?,
        selector: dkim_selector.clone(),
        domain: Some(dkim_domain.clone()).filter(|domain| !domain.is_empty()),
    }))
}
