//! Another code for a challenge.

use super::{BegunChallenge, Call, ChallengeStatus, MAX_TRIES, Mfa, Recipient, Undecided};
use crate::account::{CodeRejection, Context, Decision, Factor, Verdict};
use crate::challenge::{KeptCode, OpenChallenge};
use crate::ports::{StoreError, VaultError};
use crate::{Actor, Challenge, ChallengeId, Message, MessageState, SentCode, TenantId, Timestamp};

/// Another code, and the message with it, which is not queued yet.
struct Another {
    code: SentCode,
    message: Message,
    destination: String,
}

/// Whether a challenge has the code of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Installed {
    /// It has that code, and no other.
    Yes,
    /// It is over, and will never have it.
    Over,
    /// Another message took the place of this one.
    Superseded,
}

impl Mfa {
    /// As [`recipient`](Self::recipient), for another code of a challenge.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn resend_recipient(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
    ) -> Result<Verdict<Recipient>, Undecided> {
        let open = match self.open_challenge(tenant, actor, id, self.ports.clock.now()).await? {
            Verdict::Accepted(open) => open,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let challenge = open.get();
        let Some((key, factor)) = challenge.whose().filter(|_| challenge.kind.is_sent()) else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        if let Verdict::Rejected(rejection) = self.with_one_more(challenge)? {
            return Ok(Verdict::Rejected(rejection));
        }
        self.recipient(&key, actor, factor, challenge.purpose).await
    }

    /// Queues another code for a challenge; the one before is dead, and is sent no more unless somebody is sending it now.
    /// The time of the challenge and its wrong answers stay as they are. There may be
    /// [`ChallengePolicy::max_resends`](crate::policy::ChallengePolicy::max_resends) of them, however many are asked for at
    /// the same time.
    ///
    /// Each costs a message: charge a [`Throttle`](crate::ports::Throttle) first.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed. Then either nothing is queued, and the code before is as good as it was; or another
    /// is queued, and takes its place before it is sent, at the latest. It counts as one of those that there may be.
    pub async fn resend_challenge(
        &self,
        tenant: &TenantId,
        call: impl Into<Call<'_, Verdict<BegunChallenge>>>,
        id: ChallengeId,
    ) -> Result<Verdict<BegunChallenge>, Undecided> {
        let call = call.into();
        let actor = call.actor;
        let challenge = match self.read_challenge(tenant, actor, id).await? {
            Verdict::Accepted(read) => read.value,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let Some((key, factor)) = challenge.whose() else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        self.outbox()?;
        let (purpose, mut made) = (challenge.purpose, None);
        let mut change = self.begin(&key, &call).await;
        loop {
            let (account, context) = change.load_without_backup_codes().await?;
            let factor = match account.admit_challenge(context, factor, purpose) {
                Ok(factor) if challenge.is_for(&key, factor, purpose) => factor,
                Ok(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge)),
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let another = if let Some(another) = &made {
                another
            } else {
                if let Verdict::Rejected(rejection) =
                    self.count_resend(tenant, actor, id, context.now).await?
                {
                    return Ok(Verdict::Rejected(rejection));
                }
                made.insert(self.another(context, &challenge, factor).await?)
            };
            let delta = account.send_code(context, factor, purpose, another.message.clone());
            let status = ChallengeStatus::of(&challenge, context.now, Some(MessageState::Queued));
            let destination = another.destination.clone();
            let answer = Verdict::Accepted(BegunChallenge { challenge: status, destination });
            if let Some(begun) = change.commit(Decision { answer, delta }, call.keep.as_ref()).await? {
                self.install(&another.message, &another.code).await?;
                return Ok(begun);
            }
        }
    }

    /// Sees to it that a challenge has the code of the message that is queued for it, and no other.
    ///
    /// The message is committed first, then the challenge takes its code. If nobody comes to the second, whoever delivers
    /// the message does it before it is sent. So never is more than one code good, and never is a user left without: the good
    /// one was sent, or the message that is queued brings the one that takes its place.
    pub(super) async fn install(&self, message: &Message, code: &SentCode) -> Result<Installed, Undecided> {
        let id = ChallengeId::from_entropy(*message.id.as_bytes());
        for _ in 0..MAX_TRIES {
            let read = self.ports.challenges.get(&id).await?;
            let Some(open) = read.and_then(|read| OpenChallenge::new(read, self.ports.clock.now())) else {
                return Ok(Installed::Over);
            };
            // It opens what the challenge holds: in a row that somebody has changed nothing is put.
            if self.is_code_of(open.get(), code).await? {
                return Ok(Installed::Yes);
            }
            // Asked after the challenge was read: whoever queues yet another code from here on changes the challenge after
            // that, so either this swap loses or that code follows this one.
            let queued = self.outbox()?.message(&message.account.tenant, message.id).await?;
            if queued.is_none_or(|queued| queued.value.sending.content != message.sending.content) {
                return Ok(Installed::Superseded);
            }
            let kept = KeptCode::from_data(&open.get().progress.data).map_err(StoreError::unreadable)?;
            let sealed = self.seal_sent_code(open.get(), code).await?;
            let data = KeptCode { sealed, ..kept }.to_data().map_err(VaultError::new)?;
            if self.swap(&open.renew(data)).await? {
                return Ok(Installed::Yes);
            }
        }
        Err(Undecided::Busy)
    }

    /// Counts another code, if there may be one. Before it is made, so that of many that are asked for at once no more are
    /// made than there may be.
    async fn count_resend(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
        now: Timestamp,
    ) -> Result<Verdict<()>, Undecided> {
        for _ in 0..MAX_TRIES {
            let open = match self.open_challenge(tenant, actor, id, now).await? {
                Verdict::Accepted(open) => open,
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let kept = match self.with_one_more(open.get())? {
                Verdict::Accepted(kept) => kept,
                Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            if self.swap(&open.renew(kept.to_data().map_err(VaultError::new)?)).await? {
                return Ok(Verdict::Accepted(()));
            }
        }
        Err(Undecided::Busy)
    }

    /// What a challenge keeps of its code once another is asked for, if it may be.
    fn with_one_more(&self, challenge: &Challenge) -> Result<Verdict<KeptCode>, Undecided> {
        let kept = KeptCode::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
        if kept.resends >= self.policies.challenges.max_resends() {
            let until = challenge.expires_at;
            return Ok(Verdict::Rejected(CodeRejection::NoResendLeft { until }));
        }
        Ok(Verdict::Accepted(KeptCode { resends: kept.resends + 1, ..kept }))
    }

    async fn another(
        &self,
        context: Context<'_>,
        challenge: &Challenge,
        factor: &Factor,
    ) -> Result<Another, Undecided> {
        let to = self.address_of(context.key, factor).await?;
        let code = self.fresh_sent_code()?;
        let message = self.message(context, challenge, factor, &to, &code).await?;
        Ok(Another { code, message, destination: to.masked() })
    }
}
