//! Sending e-mail as the settings say.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use mfa_domain::ports::{SystemClock, SystemEntropy};
use mfa_email::{EmailSettings, Mailer, Templates};

use crate::config::Settings;
use crate::config::settings::Email;

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
