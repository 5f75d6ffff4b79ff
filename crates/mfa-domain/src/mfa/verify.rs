//! Verifying a code.

use super::secrets::OpenSecrets;
use super::{Call, Mfa, Undecided};
use crate::account::{Candidates, CodeHash, Decision, Evidence, Verdict};
use crate::{AccountKey, Actor, FactorId, SubmittedCode};

impl Mfa {
    /// Checks a code of an authenticator or a backup code.
    ///
    /// Without `factor`, every active factor that gives codes of that form is tried, at the price
    /// of one attempt. A right code is used up: however often and wherever it is posted at the same
    /// time, one caller gets [`Verdict::Accepted`], and the others [`CodeRejection::Replayed`](crate::CodeRejection::Replayed), which is
    /// recorded only by [`record_replay`](Self::record_replay).
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; nothing was accepted.
    pub async fn verify(
        &self,
        key: &AccountKey,
        actor: &Actor,
        code: &SubmittedCode,
        factor: Option<FactorId>,
    ) -> Result<Verdict, Undecided> {
        let mut secrets = OpenSecrets::default();
        let mut hashed: Option<(String, CodeHash)> = None;
        let mut change = self.begin(key, &Call::<Verdict>::from(actor)).await;
        loop {
            let (account, context) = change.load_for(code).await?;
            let candidates = match account.candidates(context, code, factor) {
                Ok(candidates) => candidates,
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let evidence = match (candidates, code) {
                (Candidates::BackupCodes(set), SubmittedCode::Backup(code)) => {
                    // One evaluation per attempt: kept over a retry while the set is the same.
                    if hashed.as_ref().is_none_or(|(scheme, _)| *scheme != set.scheme) {
                        let hash = self.ports.hasher.hash(&set.scheme, code).await?;
                        hashed = Some((set.scheme.clone(), hash));
                    }
                    hashed.as_ref().map(|(_, hash)| Evidence::Hash(hash))
                }
                (Candidates::Factors(factors), _) => {
                    Some(Evidence::Secrets(secrets.open(self, key, factors).await?))
                }
                (Candidates::BackupCodes(_), SubmittedCode::OneTimePassword(_) | SubmittedCode::Sent(_)) => {
                    None
                }
            };
            let evidence = evidence.unwrap_or(Evidence::Secrets(&[]));
            let decision = account.verify(context, code, factor, &evidence);
            if let Some(verdict) = change.commit(decision, None).await? {
                return Ok(verdict);
            }
        }
    }

    /// Records that a used code was posted again ([`CodeRejection::Replayed`](crate::CodeRejection::Replayed)), and changes nothing else.
    ///
    /// The trail keeps it for good, and whoever has seen a used code can post it for ever, so call this
    /// within a quota for each account.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn record_replay(
        &self,
        key: &AccountKey,
        actor: &Actor,
        factor: Option<FactorId>,
    ) -> Result<(), Undecided> {
        self.change(key, actor.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.record_replay(context, factor) })
        })
        .await
    }
}
