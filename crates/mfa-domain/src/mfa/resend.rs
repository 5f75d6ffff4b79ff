//! Sending another code for a challenge.

use super::challenges::opened;
use super::{BegunChallenge, Call, ChallengeRef, ChallengeStatus, MAX_TRIES, Mfa, Recipient, Undecided};
use crate::account::{CodeRejection, Context, Decision, Factor, Verdict};
use crate::challenge::{KeptSecret, OpenChallenge};
use crate::ports::{StoreError, VaultError};
use crate::{Actor, Challenge, ChallengeId, Message, MessageState, SentCode, TenantId, Timestamp, Versioned};

/// A new code, and its message, which is not queued yet.
struct Another {
    code: SentCode,
    message: Message,
    destination: String,
}

/// Whether a challenge accepts the code of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Installed {
    /// The challenge accepts this code, and no other.
    Yes,
    /// The challenge is over and will never accept it.
    Over,
    /// Another message has replaced this one.
    Superseded,
}

impl Mfa {
    /// Returns the recipient of another code for a challenge, as [`recipient`](Self::recipient) does for the first.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn resend_recipient(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        challenge: impl Into<ChallengeRef>,
    ) -> Result<Verdict<Recipient>, Undecided> {
        let read = self.read_challenge(tenant, actor, challenge.into()).await?;
        let open = match read.and_then(|read| opened(read, self.ports.clock.now())) {
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

    /// Queues another code for a challenge. The code before stops working, and is no longer sent unless its delivery
    /// is already in progress.
    ///
    /// Expiry and number of wrong answers of the challenge do not change. At most
    /// [`ChallengePolicy::max_resends`](crate::policy::ChallengePolicy::max_resends) codes are resent, also if many
    /// are requested in parallel.
    ///
    /// Each call costs a message: charge a [`Throttle`](crate::ports::Throttle) first.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed. Either nothing is queued, and the code before is still good; or the new code
    /// is queued, and replaces the old one before it is sent, at the latest. The call counts as a resend.
    pub async fn resend_challenge(
        &self,
        tenant: &TenantId,
        call: impl Into<Call<'_, Verdict<BegunChallenge>>>,
        challenge: impl Into<ChallengeRef>,
    ) -> Result<Verdict<BegunChallenge>, Undecided> {
        let call = call.into();
        let actor = call.actor;
        let read = match self.read_challenge(tenant, actor, challenge.into()).await? {
            Verdict::Accepted(read) => read,
            Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let challenge = read.value.clone();
        let Some((key, factor)) = challenge.whose().filter(|_| challenge.kind.is_sent()) else {
            return Ok(Verdict::Rejected(CodeRejection::UnknownChallenge));
        };
        self.outbox()?;
        let (purpose, mut read, mut made) = (challenge.purpose, Some(read), None);
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
                let counted = self.count_resend(tenant, actor, challenge.id, read.take(), context.now);
                if let Verdict::Rejected(rejection) = counted.await? {
                    return Ok(Verdict::Rejected(rejection));
                }
                made.insert(self.another(context, &challenge, factor).await?)
            };
            let delta = account.send_code(context, factor, purpose, another.message.clone());
            let status = ChallengeStatus::of(&challenge, context.now, Some(MessageState::Queued));
            let destination = Some(another.destination.clone());
            let answer = Verdict::Accepted(BegunChallenge { challenge: status, destination, options: None });
            if let Some(begun) = change.commit(Decision { answer, delta }, call.keep.as_ref()).await? {
                self.install(&another.message, &another.code).await?;
                return Ok(begun);
            }
        }
    }

    /// Makes a challenge accept the code of its queued message, and no other.
    ///
    /// A resend first commits the message, then calls this. If the process stops in between, delivery calls it before
    /// it sends. So at most one code is good at any time, and the user always gets a good one: either it was sent, or
    /// the queued message brings its replacement.
    pub(super) async fn install(&self, message: &Message, code: &SentCode) -> Result<Installed, Undecided> {
        let id = ChallengeId::from_entropy(*message.id.as_bytes());
        for _ in 0..MAX_TRIES {
            let read = self.ports.challenges.get(&id).await?;
            let Some(open) = read.and_then(|read| OpenChallenge::new(read, self.ports.clock.now())) else {
                return Ok(Installed::Over);
            };
            // This also opens the sealed value, so nothing is written to a row that was tampered with.
            if self.is_code_of(open.get(), code).await? {
                return Ok(Installed::Yes);
            }
            // The order matters: read the challenge, then the outbox. A resend that queues a newer message after this
            // read changes the challenge later: either this swap fails, or the newer code replaces this one.
            let queued = self.outbox()?.message(&message.account.tenant, message.id).await?;
            if queued.is_none_or(|queued| queued.value.sending.content != message.sending.content) {
                return Ok(Installed::Superseded);
            }
            let kept = KeptSecret::from_data(&open.get().progress.data).map_err(StoreError::unreadable)?;
            let sealed = self.seal_sent_code(open.get(), code).await?;
            let data = KeptSecret { sealed, ..kept }.to_data().map_err(VaultError::new)?;
            if self.swap(&open.renew(data)).await? {
                return Ok(Installed::Yes);
            }
        }
        Err(Undecided::Busy)
    }

    /// Counts one resend, if the policy allows another. Called before the code is generated, so that parallel
    /// requests cannot exceed the limit.
    async fn count_resend(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ChallengeId,
        mut read: Option<Versioned<Challenge>>,
        now: Timestamp,
    ) -> Result<Verdict<()>, Undecided> {
        for _ in 0..MAX_TRIES {
            let open = match self.open_again(tenant, actor, id, read.take(), now).await? {
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

    /// The kept code with one more resend counted, unless the limit is reached.
    fn with_one_more(&self, challenge: &Challenge) -> Result<Verdict<KeptSecret>, Undecided> {
        let kept = KeptSecret::from_data(&challenge.progress.data).map_err(StoreError::unreadable)?;
        if kept.resends >= self.policies.challenges.max_resends() {
            let until = challenge.expires_at;
            return Ok(Verdict::Rejected(CodeRejection::NoResendLeft { until }));
        }
        Ok(Verdict::Accepted(KeptSecret { resends: kept.resends + 1, ..kept }))
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
