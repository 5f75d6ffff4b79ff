//! `try --email`: codes by e-mail, shown in the terminal instead of a mailbox.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use mfa_domain::mfa::{Delivered, NewAddress};
use mfa_domain::ports::{Clock, CodeMessage, Sender, SenderError, SystemClock};
use mfa_domain::{Address, FactorId, Label, Mfa, SentCode, Verdict};
use mfa_email::{Composer, MailText};
use mfa_store_memory::MemoryChallenges;

use super::{NO_CODE, Trial, ask, or_say, say_rejection};
use crate::config::Settings;
use crate::email::composer;
use crate::output;
use crate::policies::policies;

/// The recipient. The domain is reserved and has no mailboxes (RFC 2606, 3).
const ADDRESS: &str = "you@example.com";

/// The sender if `email.from` is empty.
const FROM: &str = "mfa@example.com";

const QUESTION: &str = "Enter the code in the mail:";

/// Shows each mail instead of sending it.
#[derive(Debug)]
struct Terminal(Composer);

/// The same use cases, with mails that are shown in the terminal.
pub(super) fn shown(mfa: &Mfa, settings: &Settings, issuer: &str) -> Result<Mfa> {
    let mut email = settings.email.clone();
    if email.from.is_empty() {
        FROM.clone_into(&mut email.from);
        if email.service.is_empty() {
            issuer.clone_into(&mut email.service);
        }
    }
    let terminal = Arc::new(Terminal(composer(&email)?));
    let challenges = Arc::new(MemoryChallenges::default());
    let ports = mfa.ports().clone().challenges(challenges).sender(terminal);
    Ok(Mfa::new(ports, policies(settings)?)?)
}

impl Trial {
    pub(super) async fn email(&self) -> Result<()> {
        output::say(format_args!(
            "This enrols the address {ADDRESS} in memory; nothing is stored, and no mail is sent. The first mail would be:"
        ))?;
        let new = NewAddress::email(Label::new("Mailbox")?, Address::new(ADDRESS)?);
        let enrolment = self.mfa.enrol_address(&self.key, &self.actor, new).await?;
        self.deliver().await?;
        self.confirm(enrolment.factor.id, QUESTION).await?;

        output::say("\nNow you log in. The mail would be:")?;
        self.log_in(enrolment.factor.id).await
    }

    /// Asks until a code is accepted, then shows that it is not accepted again.
    async fn log_in(&self, factor: FactorId) -> Result<()> {
        let begun = match self.mfa.begin_challenge(&self.key, &self.actor, factor).await? {
            Verdict::Accepted(begun) => begun,
            Verdict::Rejected(rejection) => bail!("no code was sent: {rejection}"),
        };
        self.deliver().await?;
        let answer = async |code: &SentCode| {
            self.mfa.answer_challenge(&self.key.tenant, &self.actor, begun.challenge.id, code).await
        };
        loop {
            let Some(text) = ask(QUESTION)? else { bail!(NO_CODE) };
            let Some(code) = or_say(SentCode::parse(&text))? else { continue };
            match answer(&code).await? {
                Verdict::Accepted(_) => output::say("Accepted: verified.")?,
                Verdict::Rejected(rejection) => {
                    say_rejection(rejection)?;
                    continue;
                }
            }
            output::say("\nA code is accepted only once. The same code again:")?;
            return match answer(&code).await? {
                Verdict::Accepted(_) => bail!("the code was accepted twice"),
                Verdict::Rejected(rejection) => say_rejection(rejection),
            };
        }
    }

    /// Shows the mail that is queued.
    async fn deliver(&self) -> Result<()> {
        let queued = self.mfa.claim_messages(1).await?.messages;
        ensure!(!queued.is_empty(), "no mail is queued");
        for message in queued {
            let delivered = self.mfa.deliver(&self.actor, message).await?;
            ensure!(delivered == Delivered::Sent, "the mail could not be shown");
        }
        Ok(())
    }
}

#[async_trait]
impl Sender for Terminal {
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        let mail = self.0.text(message, SystemClock.now())?;
        say_mail(&mail).map_err(SenderError::not_sent)
    }
}

/// Indented, so that it stands out.
fn say_mail(MailText { from, to, subject, text }: &MailText) -> Result<()> {
    output::say(format_args!("\n  From: {from}\n  To: {to}\n  Subject: {}\n", subject.as_str()))?;
    for line in text.trim_end().lines() {
        output::say(format_args!("  {line}").to_string().trim_end())?;
    }
    output::say("")
}
