//! Sending queued messages.

use super::resend::Installed;
use super::{Call, Mfa, Undecided};
use crate::account::{Account, Decision};
use crate::outbox::OpenContent;
use crate::ports::{Claimed, CodeMessage, Commit, SenderError, StoreError, UnreadableMessage, VaultError};
use crate::sealed::SealContext;
use crate::{
    Actor, ChallengeId, ChallengeState, Message, MessageState, Sending, TenantId, Timestamp, Version,
    Versioned,
};

/// The result of delivering a claimed message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// A server accepted the message.
    Sent,
    /// The message was not sent, as far as is known, and will be retried.
    Queued,
    /// The message was given up.
    Failed,
    /// Another message replaced it, or another process had claimed it.
    Superseded,
}

impl Mfa {
    /// Claims up to `limit` due messages of all tenants. Pass each to [`deliver`](Self::deliver) within
    /// [`Message::CLAIM`]; after that, the next claim returns it again.
    ///
    /// A message that cannot be read is logged as an error. It is claimed again like an undelivered one, and fails
    /// when it expires.
    ///
    /// ```no_run
    /// # async fn run(mfa: mfa_domain::Mfa) -> Result<(), mfa_domain::Undecided> {
    /// use mfa_domain::Actor;
    /// let courier = Actor::admin("courier");
    /// loop {
    ///     let queued = mfa.message_queued();
    ///     for message in mfa.claim_messages(16).await?.messages {
    ///         if let Err(error) = mfa.deliver(&courier, message).await {
    ///             eprintln!("delivery failed, next try in two minutes: {error}");
    ///         }
    ///     }
    ///     // Also wake up every second, for messages of other replicas and for retries.
    ///     queued.await;
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Undecided`] if the store failed. Some messages may be claimed; they become due again later.
    pub async fn claim_messages(&self, limit: u32) -> Result<Claimed, Undecided> {
        let now = self.ports.clock.now();
        let claimed = self.outbox()?.claim(now, now.plus(Message::CLAIM), limit).await?;
        self.end_unreadable(&claimed.unreadable, now).await;
        Ok(claimed)
    }

    /// Claims messages right after [`message_queued`](Self::message_queued) resolved. May skip messages that were not
    /// queued through this `Mfa` if that is faster, so still call [`claim_messages`](Self::claim_messages) once a
    /// second.
    ///
    /// # Errors
    /// As [`claim_messages`](Self::claim_messages).
    pub async fn claim_recent_messages(&self, limit: u32) -> Result<Claimed, Undecided> {
        let now = self.ports.clock.now();
        let claimed = self.outbox()?.claim_recent(now, now.plus(Message::CLAIM), limit).await?;
        self.end_unreadable(&claimed.unreadable, now).await;
        Ok(claimed)
    }

    /// Sends a claimed message, and records the result: sent, to be retried, or given up. Takes as long as the
    /// [sender](crate::ports::Sender) takes.
    ///
    /// A code that can no longer be used is not sent: its challenge is over, its factor was removed, or another code
    /// replaced it.
    ///
    /// The audit trail records a message that is given up, as an event of `actor`. It records nothing for a code that
    /// the user no longer needs: the challenge was answered, cancelled or failed too often, or the factor was
    /// removed.
    ///
    /// # Errors
    /// [`Undecided`] if a port other than the sender failed. The message stays claimed and becomes due again later.
    /// It may have been sent.
    pub async fn deliver(&self, actor: &Actor, claimed: Versioned<Message>) -> Result<Delivered, Undecided> {
        let Versioned { value: message, version } = claimed;
        let body = self.open_message(&message).await;
        if message.is_expired(self.ports.clock.now()) {
            return self.give_up(actor, &message, version, "expired", body.ok().as_ref(), None).await;
        }
        let body = body?;
        match self.still_answers(&message, &body).await? {
            (Installed::Yes, _) => {}
            (Installed::Superseded, _) => return Ok(Delivered::Superseded),
            (Installed::Over, read) => {
                return self.give_up(actor, &message, version, "over", Some(&body), Some(read)).await;
            }
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
            None => self.give_up(actor, &message, version, how, Some(&body), None).await,
        }
    }

    /// Resolves when a message is queued through this `Mfa` after the call. Messages of other replicas and retries do
    /// not resolve it: call [`claim_messages`](Self::claim_messages) about once a second for them.
    pub fn message_queued(&self) -> impl Future<Output = ()> + Send + use<> {
        self.queued.listen()
    }

    /// Logs unreadable messages, and ends the expired ones. A failure here is only logged: the message is claimed
    /// again later.
    async fn end_unreadable(&self, unreadable: &[UnreadableMessage], now: Timestamp) {
        for message in unreadable {
            let tenant = message.tenant.as_ref().map(TenantId::as_str);
            let (id, what) = (message.id.map(|id| id.to_string()), &message.what);
            tracing::error!(tenant, id, what, "a message cannot be read and is not sent");
            if let Err(error) = self.end_expired(message, now).await {
                tracing::error!(tenant, id, %error, "a message that cannot be read could not be marked as failed");
            }
        }
    }

    /// Ends an unreadable message that has expired. Records no event, since the account of the message may be the
    /// unreadable part.
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

    /// Whether the code of a message can still be used, and the account that was read for that. Also installs the
    /// code in its challenge if a resend stopped before doing so.
    async fn still_answers(
        &self,
        message: &Message,
        body: &OpenContent,
    ) -> Result<(Installed, Versioned<Account>), Undecided> {
        let read = self.ports.accounts.load_without_backup_codes(&message.account).await?;
        if read.value.factor(body.factor).is_none() {
            return Ok((Installed::Over, read));
        }
        Ok((self.install(message, &body.code).await?, read))
    }

    /// Whether the challenge of a message was answered, cancelled or failed too often. A lost challenge, or one that
    /// has only expired, does not count.
    async fn is_ended(&self, message: &Message) -> bool {
        match self.ports.challenges.get(&challenge_of(message)).await {
            Ok(read) => read.is_some_and(|read| read.value.progress.state == ChallengeState::Over),
            Err(error) => {
                tracing::warn!(%error, "a message is given up, but its challenge could not be read");
                false
            }
        }
    }

    async fn open_message(&self, message: &Message) -> Result<OpenContent, Undecided> {
        let Message { id, account, .. } = message;
        let sealed = message.sending.content.as_ref();
        let sealed = sealed.ok_or_else(|| StoreError::unreadable("the message has no content"))?;
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

    /// Gives up a message in one commit with its event, so that no code that a user waits for is given up silently.
    ///
    /// No event is recorded if the challenge has ended, perhaps by this very code, sent by an earlier try whose
    /// result was lost. Nor if the factor was removed: the trail has that event already, and the trail of an erased
    /// user gets no further ones.
    async fn give_up(
        &self,
        actor: &Actor,
        message: &Message,
        version: Version,
        how: &str,
        body: Option<&OpenContent>,
        read: Option<Versioned<Account>>,
    ) -> Result<Delivered, Undecided> {
        let of = body.map(|body| (&body.kind, body.factor, body.purpose));
        let failed = message.sending.failed(how);
        let mut change = self.begin(&message.account, &Call::<()>::from(actor)).await.with(read);
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            // A resend replaces the message by a commit to the account: either this read sees it, or the commit below
            // fails.
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

/// The challenge that the code of a message answers.
fn challenge_of(message: &Message) -> ChallengeId {
    ChallengeId::from_entropy(*message.id.as_bytes())
}
