//! Calls, and those that may be sent again.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Mfa, Undecided};
use crate::account::{CallId, KeptAnswer};
use crate::ports::VaultError;
use crate::sealed::SealContext;
use crate::{AccountKey, Actor, Delta, Timestamp};

/// Who calls for a change that is answered with a `T`, and whether the answer is kept.
///
/// An [`Actor`] alone is a call whose answer is not kept.
#[derive(Debug)]
pub struct Call<'a, T> {
    /// Who calls.
    pub actor: &'a Actor,
    /// How the answer is kept, if it is.
    pub keep: Option<Keep<'a, T>>,
}

/// How an answer is kept, so that the same call, sent again, gets it from [`Mfa::earlier`].
///
/// It is sealed and committed together with the change, so that there is never one without the other; alone if nothing
/// changed, so that nothing does when the call is sent again. A use case
/// that finds the answer of an earlier one is [`Undecided::Busy`] and changes nothing: ask [`Mfa::earlier`] first.
pub struct Keep<'a, T> {
    /// Which call it is.
    pub call: CallId,
    /// What it asks for, as it came: kept as a digest under the seal.
    pub request: &'a [u8],
    /// The answer as it will be given again; `None` for one that is not kept, such as that to a wrong code.
    pub reply: &'a (dyn Fn(&T) -> Option<Reply> + Sync),
}

/// An answer as it is given.
pub struct Reply {
    /// It, in whatever form the caller gets it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether it holds a secret or backup codes, so that it is kept for a short time only.
    pub secret: bool,
}

/// What is known of a call that may have been sent before.
pub enum Earlier {
    /// Nothing: it is new, or was refused, or its answer is kept no more.
    Nothing,
    /// It was answered like this.
    Answered(Zeroizing<Vec<u8>>),
    /// It was answered, and asked for something else.
    AskedOtherwise,
}

impl Mfa {
    /// What a call was answered with when it was sent before.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed, the key of what was sealed being gone included.
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

    /// Seals an answer for as long as its kind is kept.
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

    /// Seals with the newest key what older ones sealed of the answers that stay. One that cannot be opened stays as it
    /// is: it must not keep anybody from a change, and its call must not be made twice.
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
        Self { actor, keep: None }
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
