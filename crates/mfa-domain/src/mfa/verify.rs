//! Verifying a code.

use super::secrets::OpenSecrets;
use super::{Call, Mfa, Undecided};
use crate::account::{Candidates, CodeHash, Decision, Evidence, Verdict};
use crate::{AccountKey, Actor, FactorId, SubmittedCode};

impl Mfa {
    /// Verifies a one-time password or a backup code.
    ///
    /// Without `factor`, the code is compared with every active factor that generates codes of this form, and costs
    /// one attempt. An accepted code is used up: of any number of calls with it, also in parallel and on several
    /// replicas, one gets [`Verdict::Accepted`] and the others get
    /// [`CodeRejection::Replayed`](crate::CodeRejection::Replayed). A replay is recorded only by
    /// [`record_replay`](Self::record_replay).
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
                    // One hash per attempt: a retry reuses it while the set is the same.
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

    /// Records that a used code was sent again ([`CodeRejection::Replayed`](crate::CodeRejection::Replayed)). Changes
    /// nothing else.
    ///
    /// The audit trail keeps each record for good, and anybody who has seen a used code can send it any number of
    /// times. Charge a quota of the account first.
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
