//! Sending e-mail as the settings say.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use mfa_domain::ports::{CodeMessage, InvalidRecipient, Sender, SenderError, SystemClock, SystemEntropy};
use mfa_domain::{Address, FactorKind};
use mfa_email::{EmailSettings, Mailer, Templates, check_address};
use tracing::warn;

use crate::config::Settings;
use crate::config::settings::Email;

/// What sends codes: mail, or a line in the log if the settings do not say where to.
pub(crate) fn sender(settings: &Settings) -> Result<Arc<dyn Sender>> {
    Ok(match mailer(settings)? {
        Some(mailer) => Arc::new(mailer),
        None => Arc::new(Unsent),
    })
}

/// Sends nothing, and says what would have gone where.
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
        warn!(kind = message.kind.as_str(), %to, purpose, code, "not sent: email.url names no mail server");
        Err(SenderError::refused("email.url names no mail server"))
    }
}

/// What sends mail; nothing if the settings do not say where to.
pub(crate) fn mailer(settings: &Settings) -> Result<Option<Mailer>> {
    let Email { url, from, service, language, template_dir, ca_file, connections } = &settings.email;
    let Some(url) = &url.0 else { return Ok(None) };
    let mut email = EmailSettings::new(url.clone(), from);
    email.service = Some(service.clone()).filter(|service| !service.is_empty());
    email.language.clone_from(language);
    email.connections = *connections;
    if !template_dir.as_os_str().is_empty() {
        email.templates = Some(Templates::read(template_dir).context("email.template_dir")?);
    }
    if !ca_file.as_os_str().is_empty() {
        let unreadable = || format!("email.ca_file: {} cannot be read", ca_file.display());
        email.roots = Some(fs::read(ca_file).with_context(unreadable)?);
    }
    let mailer = Mailer::new(email, Arc::new(SystemClock), Arc::new(SystemEntropy));
    Ok(Some(mailer.context("e-mail cannot be sent as configured")?))
}
