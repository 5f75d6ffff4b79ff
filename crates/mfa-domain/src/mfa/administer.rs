//! What operators do.

use super::{Call, ChangeError, Mfa, Undecided};
use crate::account::{Account, Decision, Factor, Resealed};
use crate::{AccountKey, Actor, FactorId, Reason, SealContext};

impl Mfa {
    /// Lifts every lock of an account.
    ///
    /// # Errors
    /// [`ChangeError`] if the factors are disabled, which only a reset ends, or a port failed.
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

    /// Lets a factor whose last step lies ahead of the present take codes again, from the first step after those that
    /// count now; any other factor stays as it is. It answers with the factor.
    ///
    /// # Errors
    /// [`ChangeError`] if there is no such factor, or a port failed.
    pub async fn set_back(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Factor>>,
        factor: FactorId,
        reason: &Reason,
    ) -> Result<Factor, ChangeError> {
        self.change(key, call.into(), |account, context| Ok(account.set_back(context, factor, reason)?)).await
    }

    /// Removes every factor and backup code of a user, who can then enrol anew.
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

    /// Erases a user: everything goes but the audit trail, which holds no personal data but the
    /// host's own id of the user, the names of actors and the reasons that operators gave.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn erase(&self, key: &AccountKey, call: impl Into<Call<'_, ()>>) -> Result<(), Undecided> {
        self.change(key, call.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.erase(context) })
        })
        .await
    }

    /// Seals the secrets of an account with the newest key, and the answers that are kept in it. Whether there was
    /// anything to do.
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

    /// Seals anew what older keys sealed, whatever it is the secret of.
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
