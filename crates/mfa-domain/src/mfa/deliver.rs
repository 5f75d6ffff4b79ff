//! Sending what is queued.

use super::resend::Installed;
use super::{Call, Mfa, Undecided};
use crate::account::Decision;
use crate::outbox::OpenContent;
use crate::ports::{Claimed, CodeMessage, Commit, SenderError, StoreError, UnreadableMessage, VaultError};
use crate::sealed::SealContext;
use crate::{
    Actor, ChallengeId, ChallengeState, Message, MessageState, Sending, TenantId, Timestamp, Version,
    Versioned,
};

/// What became of a message that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// A server took it.
    Sent,
    /// It was not sent, as far as is known, and is tried again.
    Queued,
    /// It was given up.
    Failed,
    /// Another one took its place, or somebody else had claimed it.
    Superseded,
}

impl Mfa {
    /// Claims up to `limit` messages that are due, of all tenants. Pass each to [`deliver`](Self::deliver) within
    /// [`Message::CLAIM`]; whoever does not come to it leaves it to the next claim after that. What cannot be
    /// read is named in the log, comes again as often as what is not delivered, and has failed once it expired.
    ///
    /// ```no_run
    /// # async fn run(mfa: mfa_domain::Mfa) -> Result<(), mfa_domain::Undecided> {
    /// use mfa_domain::Actor;
    /// let courier = Actor::admin("courier");
    /// loop {
    ///     let queued = mfa.message_queued();
    ///     for message in mfa.claim_messages(16).await?.messages {
    ///         if let Err(error) = mfa.deliver(&courier, message).await {
    ///             eprintln!("it comes again in two minutes: {error}");
    ///         }
    ///     }
    ///     // Or after a second, for what other replicas have queued and what is tried again.
    ///     queued.await;
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Undecided`] if the store failed. Then some may be claimed, and come again later.
    pub async fn claim_messages(&self, limit: u32) -> Result<Claimed, Undecided> {
        let now = self.ports.clock.now();
        let claimed = self.outbox()?.claim(now, now.plus(Message::CLAIM), limit).await?;
        self.end_unreadable(&claimed.unreadable, now).await;
        Ok(claimed)
    }

    /// The same for whoever was just [told](Self::message_queued) that a message was queued: it may leave out what was not
    /// queued through this `Mfa`, where that is faster. So it does not take the place of
    /// [`claim_messages`](Self::claim_messages) once a second.
    ///
    /// # Errors
    /// As [`claim_messages`](Self::claim_messages).
    pub async fn claim_recent_messages(&self, limit: u32) -> Result<Claimed, Undecided> {
        let now = self.ports.clock.now();
        let claimed = self.outbox()?.claim_recent(now, now.plus(Message::CLAIM), limit).await?;
        self.end_unreadable(&claimed.unreadable, now).await;
        Ok(claimed)
    }

    /// Sends a message that was claimed, and keeps what became of it: sent, to be tried again, or given up, of which the
    /// trail of the account tells as `actor`'s doing. One whose code answers nothing any more, since its challenge is over
    /// or its factor is gone or another code took its place, is not sent. The trail tells nothing of a code that nobody
    /// waits for: its challenge was answered, cancelled or guessed at too often, or its factor is gone. It takes as long as the sender takes.
    ///
    /// # Errors
    /// [`Undecided`] if a port other than the sender failed. Then it stays claimed, and comes again later; it may have
    /// been sent.
    pub async fn deliver(&self, actor: &Actor, claimed: Versioned<Message>) -> Result<Delivered, Undecided> {
        let Versioned { value: message, version } = claimed;
        let body = self.open_message(&message).await;
        if message.is_expired(self.ports.clock.now()) {
            return self.give_up(actor, &message, version, "expired", body.ok().as_ref()).await;
        }
        let body = body?;
        match self.still_answers(&message, &body).await? {
            Installed::Yes => {}
            Installed::Superseded => return Ok(Delivered::Superseded),
            Installed::Over => return self.give_up(actor, &message, version, "over", Some(&body)).await,
        }
        let OpenContent { kind, purpose, to, code, .. } = &body;
        let code_message = CodeMessage {
            kind,
            to,
            code,
            purpose: *purpose,
            expires_at: message.expires_at,
            account: &message.account,
            challenge: challenge_of(&message),
        };
        let error = match self.ports.sender.send(&code_message).await {
            Ok(()) => {
                let sent = message.sending.sent();
                return self.keep(&message, version, &sent, Delivered::Sent).await;
            }
            Err(error) => error,
        };
        let how = error.as_str();
        let may_pass = !matches!(error, SenderError::Refused(_));
        let now = self.ports.clock.now();
        let again = may_pass.then(|| message.after_failure(how, now)).flatten();
        match again {
            Some(next) => self.keep(&message, version, &next, Delivered::Queued).await,
            None => self.give_up(actor, &message, version, how, Some(&body)).await,
        }
    }

    /// Resolves once a message is queued through this `Mfa` after the call. What other replicas queue, and what is to be
    /// tried again, is found only by [claiming](Self::claim_messages): do so every second or so.
    pub fn message_queued(&self) -> impl Future<Output = ()> + Send + use<> {
        self.queued.listen()
    }

    /// Names what cannot be read, and ends what of it has expired. Claims go on if that fails: it comes again.
    async fn end_unreadable(&self, unreadable: &[UnreadableMessage], now: Timestamp) {
        for message in unreadable {
            let tenant = message.tenant.as_ref().map(TenantId::as_str);
            let (id, what) = (message.id.map(|id| id.to_string()), &message.what);
            tracing::error!(tenant, id, what, "a message cannot be read and is not sent");
            if let Err(error) = self.end_expired(message, now).await {
                tracing::error!(tenant, id, %error, "a message that cannot be read could not be ended");
            }
        }
    }

    /// The trail tells nothing of it: whose message it is may be what cannot be read.
    async fn end_expired(&self, message: &UnreadableMessage, now: Timestamp) -> Result<(), StoreError> {
        let UnreadableMessage { tenant, id, version, expires_at, .. } = message;
        let (Some(tenant), Some(id), Some(version), Some(expires_at)) = (tenant, id, version, expires_at)
        else {
            return Ok(());
        };
        if now < *expires_at {
            return Ok(());
        }
        let failed = Sending {
            state: MessageState::Failed,
            due_at: *expires_at,
            tries: 0,
            last_failure: Some("unreadable".to_owned()),
            content: None,
        };
        self.outbox()?.swap(tenant, *id, *version, &failed).await.map(drop)
    }

    /// Whether the code of a message is good for something. It is from here on, if it was queued and nobody came to put
    /// it into its challenge.
    async fn still_answers(&self, message: &Message, body: &OpenContent) -> Result<Installed, Undecided> {
        let account = self.ports.accounts.load_without_backup_codes(&message.account).await?.value;
        if account.factor(body.factor).is_none() {
            return Ok(Installed::Over);
        }
        self.install(message, &body.code).await
    }

    /// Whether the challenge of a message was answered, cancelled or guessed at too often. One that is lost was not, as far
    /// as is known, and nor was one that has only expired.
    async fn is_ended(&self, message: &Message) -> bool {
        match self.ports.challenges.get(&challenge_of(message)).await {
            Ok(read) => read.is_some_and(|read| read.value.progress.state == ChallengeState::Over),
            Err(error) => {
                tracing::warn!(%error, "whether somebody waits for a message that is given up is not known");
                false
            }
        }
    }

    async fn open_message(&self, message: &Message) -> Result<OpenContent, Undecided> {
        let Message { id, account, .. } = message;
        let sealed = message.sending.content.as_ref();
        let sealed = sealed.ok_or_else(|| StoreError::unreadable("the message is empty"))?;
        let bytes = self.ports.vault.open(sealed, &SealContext::Message { account, id: *id }).await?;
        Ok(OpenContent::from_bytes(&bytes).map_err(VaultError::new)?)
    }

    async fn keep(
        &self,
        message: &Message,
        version: Version,
        next: &Sending,
        delivered: Delivered,
    ) -> Result<Delivered, Undecided> {
        let kept = self.outbox()?.swap(&message.account.tenant, message.id, version, next).await?;
        Ok(if kept == Commit::Won { delivered } else { Delivered::Superseded })
    }

    /// In one commit with its event, so that no code is given up silently that somebody waits for. Nobody waits once the
    /// challenge is ended: perhaps by this very code, which an earlier try brought though nobody knows of it. And that a
    /// factor went is in the trail already; nothing is added to that of a user who is erased.
    async fn give_up(
        &self,
        actor: &Actor,
        message: &Message,
        version: Version,
        how: &str,
        body: Option<&OpenContent>,
    ) -> Result<Delivered, Undecided> {
        let of = body.map(|body| (&body.kind, body.factor, body.purpose));
        let failed = message.sending.failed(how);
        let mut change = self.begin(&message.account, &Call::<()>::from(actor)).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            // Another code takes its place by a commit to the account: either this sees it, or the commit loses.
            let now = self.outbox()?.message(&message.account.tenant, message.id).await?;
            if now.is_none_or(|now| now.version != version || now.value.sending.state != MessageState::Queued)
            {
                return Ok(Delivered::Superseded);
            }
            let is_gone =
                body.map_or(account.factors.is_empty(), |body| account.factor(body.factor).is_none());
            if is_gone || self.is_ended(message).await {
                return self.keep(message, version, &failed, Delivered::Failed).await;
            }
            let delta = account.give_up_code(context, message, &failed, of);
            if change.commit(Decision { answer: (), delta }, None).await?.is_some() {
                return Ok(Delivered::Failed);
            }
        }
    }
}

/// Which challenge the code of a message answers.
fn challenge_of(message: &Message) -> ChallengeId {
    ChallengeId::from_entropy(*message.id.as_bytes())
}
