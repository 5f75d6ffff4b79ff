//! Use cases of operators.

use super::{Call, ChangeError, Mfa, Undecided};
use crate::account::{Account, Decision, Factor, Resealed};
use crate::{AccountKey, Actor, FactorId, Reason, SealContext};

impl Mfa {
    /// Lifts every lock of an account.
    ///
    /// # Errors
    /// [`ChangeError`] if the factors are disabled, which only [`reset`](Self::reset) ends, or if a port failed.
    pub async fn unlock(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, ()>>,
        reason: &Reason,
    ) -> Result<(), ChangeError> {
        self.change(key, call.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.unlock(context, reason)? })
        })
        .await
    }

    /// Lets a factor whose last step is in the future accept codes again, from the first step after the current
    /// window. Leaves any other factor unchanged. Returns the factor.
    ///
    /// # Errors
    /// [`ChangeError`] if the factor does not exist or a port failed.
    pub async fn set_back(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Factor>>,
        factor: FactorId,
        reason: &Reason,
    ) -> Result<Factor, ChangeError> {
        self.change(key, call.into(), |account, context| Ok(account.set_back(context, factor, reason)?)).await
    }

    /// Removes all factors and backup codes of a user. The user can then enrol again.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn reset(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, ()>>,
        reason: &Reason,
    ) -> Result<(), Undecided> {
        self.change(key, call.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.reset(context, reason) })
        })
        .await
    }

    /// Erases all data of a user except the audit trail. The trail holds no personal data but the host's user id, the
    /// names of actors, and the reasons that operators gave.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn erase(&self, key: &AccountKey, call: impl Into<Call<'_, ()>>) -> Result<(), Undecided> {
        self.change(key, call.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.erase(context) })
        })
        .await
    }

    /// Seals the secrets and kept answers of an account with the newest key. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn reseal(&self, key: &AccountKey, actor: &Actor) -> Result<bool, Undecided> {
        let vault = self.ports.vault.as_ref();
        let mut change = self.begin(key, &Call::<bool>::from(actor)).await;
        loop {
            let (account, context) = change.load().await?;
            let resealed = self.reseal_factors(key, &account).await?;
            let answers = account.answers.iter().any(|answer| vault.supersedes(&answer.sealed.key));
            let delta = account.reseal(context, &resealed);
            let delta = delta.or_else(|| answers.then(|| account.unchanged(context.now)));
            if let Some(answer) = change.commit(Decision { answer: delta.is_some(), delta }, None).await? {
                return Ok(answer);
            }
        }
    }

    /// Seals the secrets of all factors that older keys sealed, whatever their kind.
    async fn reseal_factors(&self, key: &AccountKey, account: &Account) -> Result<Vec<Resealed>, Undecided> {
        let vault = self.ports.vault.as_ref();
        let mut resealed = Vec::new();
        for factor in &account.factors {
            let Some(before) = factor.sealed.as_ref().filter(|sealed| vault.supersedes(&sealed.key)) else {
                continue;
            };
            let context = SealContext::Factor { account: key, factor: factor.id, kind: &factor.kind() };
            let after = vault.seal(&vault.open(before, &context).await?, &context).await?;
            resealed.push(Resealed { factor: factor.id, before: before.clone(), after });
        }
        Ok(resealed)
    }
}
