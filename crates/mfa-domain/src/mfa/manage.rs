//! Use cases for the owners of factors.

use otp_core::Code;

use super::secrets::OpenSecrets;
use super::{Call, ChangeError, Mfa, Undecided};
use crate::account::{CodeRejection, Decision, Evidence, Factor, Verdict};
use crate::{AccountKey, FactorId, Label};

impl Mfa {
    /// Changes the label of a factor.
    ///
    /// # Errors
    /// [`ChangeError`] if the factor does not exist or a port failed.
    pub async fn rename(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Factor>>,
        factor: FactorId,
        label: &Label,
    ) -> Result<Factor, ChangeError> {
        self.change(key, call.into(), |account, context| Ok(account.rename(context, factor, label)?)).await
    }

    /// Removes one factor. Removing the last active factor also removes the backup codes.
    ///
    /// # Errors
    /// [`ChangeError`] if the factor does not exist, the owner has no recent verification, or a port failed.
    pub async fn revoke(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, ()>>,
        factor: FactorId,
    ) -> Result<(), ChangeError> {
        self.change(key, call.into(), |account, context| {
            Ok(Decision { answer: (), delta: account.revoke(context, factor)? })
        })
        .await
    }

    /// Resynchronises a factor whose clock or counter is off, by two consecutive codes (RFC 4226, 7.4; RFC 6238, 6).
    /// Works for pending factors too. Wrong codes cost one attempt.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn resynchronise(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Verdict<Factor>>>,
        factor: FactorId,
        codes: [&Code; 2],
    ) -> Result<Verdict<Factor>, Undecided> {
        let call = call.into();
        let mut secrets = OpenSecrets::default();
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            let device = match account.awaiting_resynchronisation(context, factor, codes) {
                Ok(device) => device,
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            let opened = secrets.open(self, key, [device]).await?;
            if opened.is_empty() {
                return Ok(Verdict::Rejected(CodeRejection::UnknownFactor));
            }
            let decision = account.resynchronise(context, factor, codes, &Evidence::Secrets(opened));
            if let Some(answer) = change.commit(decision, call.keep.as_ref()).await? {
                return Ok(answer);
            }
        }
    }
}
