//! Calls, and answers that are kept for repeated calls.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Mfa, Undecided};
use crate::account::{CallId, KeptAnswer, Session};
use crate::ports::VaultError;
use crate::sealed::SealContext;
use crate::{AccountKey, Actor, Delta, Timestamp};

/// Who calls, in which session, and whether the answer `T` is kept.
///
/// Convert an [`Actor`] to get a call without a session, whose answer is not kept.
#[derive(Debug)]
pub struct Call<'a, T> {
    /// Who calls.
    pub actor: &'a Actor,
    /// The host's session that the call comes from.
    pub session: Session<'a>,
    /// How the answer is kept; `None` if it is not.
    pub keep: Option<Keep<'a, T>>,
}

/// How to keep an answer, so that [`Mfa::earlier`] returns it when the same call is sent again.
///
/// The answer is sealed and committed together with the change, so neither exists without the other. If nothing
/// changed, the answer is committed alone, so that the repeated call changes nothing either. A use case that finds
/// the answer of an earlier copy of its call returns [`Undecided::Busy`] and changes nothing: call [`Mfa::earlier`]
/// first.
pub struct Keep<'a, T> {
    /// The id of the call.
    pub call: CallId,
    /// The request as received. Only its digest is kept, sealed.
    pub request: &'a [u8],
    /// Makes the reply to keep; `None` for an answer that is not kept, such as that to a wrong code.
    pub reply: &'a (dyn Fn(&T) -> Option<Reply> + Sync),
}

/// An answer in the form in which it is kept and sent.
pub struct Reply {
    /// The bytes that the caller gets.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether the reply holds a secret or backup codes. Such a reply is kept for a short time only.
    pub secret: bool,
}

/// The answer to an earlier copy of a call, if there is one.
pub enum Earlier {
    /// There is none: the call is new, was refused, or its answer has expired.
    Nothing,
    /// The call was answered with these bytes.
    Answered(Zeroizing<Vec<u8>>),
    /// A call with this id was answered, but it was another request.
    AskedOtherwise,
}

impl Mfa {
    /// Returns the kept answer to an earlier copy of a call.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed, which includes a missing key of a sealed answer.
    pub async fn earlier(
        &self,
        account: &AccountKey,
        call: CallId,
        request: &[u8],
    ) -> Result<Earlier, Undecided> {
        let kept = self.ports.accounts.load_without_backup_codes(account).await?.value.answers;
        let Some(answer) = kept.to(call, self.ports.clock.now()) else { return Ok(Earlier::Nothing) };
        let context = SealContext::Answer { account, call };
        let opened = self.ports.vault.open(&answer.sealed, &context).await?;
        let (asked, bytes) = opened.split_first_chunk::<32>().ok_or_else(|| VaultError::new("too short"))?;
        if *asked != digest(request) {
            return Ok(Earlier::AskedOtherwise);
        }
        Ok(Earlier::Answered(Zeroizing::new(bytes.to_vec())))
    }

    /// Seals an answer, with the lifetime of its kind.
    pub(super) async fn seal_answer<T>(
        &self,
        account: &AccountKey,
        keep: &Keep<'_, T>,
        Reply { bytes, secret }: Reply,
        now: Timestamp,
    ) -> Result<KeptAnswer, Undecided> {
        let call = keep.call;
        let text = Zeroizing::new([digest(keep.request).as_slice(), &bytes].concat());
        let sealed = self.ports.vault.seal(&text, &SealContext::Answer { account, call }).await?;
        let time = if secret { KeptAnswer::SECRET_KEPT_FOR } else { KeptAnswer::KEPT_FOR };
        Ok(KeptAnswer { call, secret, expires_at: now.plus(time), sealed })
    }

    /// Seals the remaining answers of the account with the newest key. An answer that cannot be opened stays as it
    /// is: it must not block changes, and its call must not take effect twice.
    pub(super) async fn reseal_answers(&self, account: &AccountKey, delta: &mut Delta) {
        let vault = self.ports.vault.as_ref();
        let mut resealed = Vec::new();
        for answer in delta.answers_after().iter().filter(|answer| vault.supersedes(&answer.sealed.key)) {
            let context = SealContext::Answer { account, call: answer.call };
            if let Ok(text) = vault.open(&answer.sealed, &context).await
                && let Ok(sealed) = vault.seal(&text, &context).await
            {
                resealed.push(KeptAnswer { sealed, ..answer.clone() });
            }
        }
        delta.replace_answers(resealed);
    }
}

fn digest(request: &[u8]) -> [u8; 32] {
    Sha256::digest(request).into()
}

impl<'a, T> From<&'a Actor> for Call<'a, T> {
    fn from(actor: &'a Actor) -> Self {
        Self { actor, session: Session::default(), keep: None }
    }
}

impl<'a, T> Call<'a, T> {
    /// The call in this session.
    #[must_use]
    pub fn in_session(self, session: Session<'a>) -> Self {
        Self { session, ..self }
    }
}

impl<T> fmt::Debug for Keep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("call", &self.call).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply(..)")
    }
}

impl fmt::Debug for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Answered(_) => "Answered(..)",
            Self::AskedOtherwise => "AskedOtherwise",
        })
    }
}
