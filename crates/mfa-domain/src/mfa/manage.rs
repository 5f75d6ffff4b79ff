//! What owners do to their factors.

use otp_core::Code;

use super::secrets::OpenSecrets;
use super::{Call, ChangeError, Mfa, Undecided};
use crate::account::{CodeRejection, Decision, Evidence, Factor, Verdict};
use crate::{AccountKey, FactorId, Label};

impl Mfa {
    /// Gives a factor another label.
    ///
    /// # Errors
    /// [`ChangeError`] if there is no such factor, or a port failed.
    pub async fn rename(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Factor>>,
        factor: FactorId,
        label: &Label,
    ) -> Result<Factor, ChangeError> {
        self.change(key, call.into(), |account, context| Ok(account.rename(context, factor, label)?)).await
    }

    /// Removes one factor. With the last active one the backup codes go too.
    ///
    /// # Errors
    /// [`ChangeError`] if there is no such factor, the owner did not prove themselves lately, or a
    /// port failed.
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

    /// Brings a factor whose clock or counter is off back in step by two consecutive codes, pending
    /// ones too (RFC 4226, 7.4; RFC 6238, 6). Wrong codes cost one attempt.
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
