//! Composes mails from templates, recipient and code.

use std::fmt;

use lettre::message::Mailbox;
use mfa_domain::ports::{CodeMessage, SenderError};
use mfa_domain::{Address, Purpose, Timestamp};
use zeroize::Zeroizing;

use crate::recipient::Recipient;
use crate::settings::{InvalidEmail, sender};
use crate::templates::{Rendered, Templates, Values};

/// Composes the mails that [`Mailer`](crate::Mailer) sends.
pub struct Composer {
    from: Mailbox,
    service: String,
    language: String,
    templates: Templates,
}

/// A mail as its reader sees it, without the HTML part. It contains a code, so `Debug` prints no field.
pub struct MailText {
    /// The sender's address, as in `From`.
    pub from: String,
    /// The recipient's address.
    pub to: String,
    /// The subject.
    pub subject: Zeroizing<String>,
    /// The plain-text part.
    pub text: Zeroizing<String>,
}

impl Composer {
    /// Composes mails from `from` in `language`, which must have templates.
    ///
    /// `service` is the name of the service in the texts; default: the name in `from`, or its domain.
    /// `templates` default to those of this crate. Every language is checked with that name.
    ///
    /// # Errors
    /// [`InvalidEmail`] if an argument cannot be used.
    pub fn new(
        from: &str,
        service: Option<String>,
        language: String,
        templates: Option<Templates>,
    ) -> Result<Self, InvalidEmail> {
        let from = sender(from)?;
        let templates = templates.map_or_else(Templates::built_in, Ok)?;
        if !templates.languages().any(|known| known == language) {
            let known = templates.languages().collect::<Vec<_>>().join(", ");
            return Err(InvalidEmail::Language(known));
        }
        let usual = || from.name.clone().unwrap_or_else(|| from.email.domain().to_owned());
        let service = service.unwrap_or_else(usual);
        templates.check(&service)?;
        Ok(Self { from, service, language, templates })
    }

    /// Composes the mail with this code without sending it, for programs that print it instead.
    ///
    /// # Errors
    /// [`SenderError`] if the address cannot receive mail, or a template fails.
    pub fn text(&self, message: &CodeMessage<'_>, now: Timestamp) -> Result<MailText, SenderError> {
        let CodeMessage { to, code, purpose, expires_at, .. } = *message;
        let (to, rendered) = self.write(to, code.as_str(), purpose, expires_at, now)?;
        let Rendered { subject, text, .. } = rendered;
        Ok(MailText { from: self.from.to_string(), to: to.address().to_string(), subject, text })
    }

    pub(crate) fn from(&self) -> &Mailbox {
        &self.from
    }

    pub(crate) fn write(
        &self,
        to: &Address,
        code: &str,
        purpose: Purpose,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(Recipient, Rendered), SenderError> {
        let to = Recipient::of(to).map_err(SenderError::refused)?;
        // Rounded down, so that no mail promises more time than is left.
        let minutes = expires_at.since(now).as_secs() / 60;
        let values = Values { code, minutes, purpose: name(purpose), service: &self.service };
        let rendered = self.templates.render(&self.language, values).map_err(SenderError::not_sent)?;
        Ok((to, rendered))
    }
}

/// The purpose as templates name it.
fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Enrol => "enrol",
        Purpose::Change => "change",
        Purpose::Recover => "recover",
        _ => "verify",
    }
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("from", &self.from.to_string()).finish_non_exhaustive()
    }
}

impl fmt::Debug for MailText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailText(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mail_promises_no_more_time_than_there_is() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let to = Address::new("eve@example.com").unwrap();
        for (language, left, told) in [
            ("en", 0, "for less than a minute."),
            ("en", 59, "for less than a minute."),
            ("en", 60, "for one minute."),
            ("en", 119, "for one minute."),
            ("en", 120, "for 2 minutes."),
            ("en", 600, "for 10 minutes."),
            ("de", 59, "Er gilt einmal und weniger als eine Minute lang."),
            ("de", 61, "Er gilt einmal und eine Minute lang."),
            ("de", 179, "Er gilt einmal und 2 Minuten lang."),
        ] {
            let composer = Composer::new("mfa@example.com", None, language.to_owned(), None).unwrap();
            let expires_at = now.plus(Duration::from_secs(left));
            let (_, Rendered { text, html, .. }) =
                composer.write(&to, "31415926", Purpose::Verify, expires_at, now).unwrap();
            for part in [&text, &html] {
                assert!(part.contains(told), "{left} seconds: {}", **part);
            }
        }
    }
}
