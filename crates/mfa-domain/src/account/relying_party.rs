//! Decisions about the relying party that passkeys are for.

use super::data::UnreadableData;
use super::{Account, Authenticator, Context, Decision, FactorKind};
use crate::audit::EventKind;

impl Account {
    /// Puts `rp_id` in the place of the relying party `expected`, `None` for none, and records how many passkeys no
    /// longer work, if they were counted. Changes nothing if another one is in use. The answer is the relying party
    /// in use afterwards.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(crate) fn adopt_relying_party(
        &self,
        context: Context<'_>,
        rp_id: Option<&str>,
        expected: Option<&str>,
        stranded: Option<u64>,
    ) -> Result<Decision<Option<String>>, UnreadableData> {
        let in_use = self.rp_id()?;
        if in_use.as_deref() == rp_id || in_use.as_deref() != expected {
            return Ok(Decision::without_change(in_use));
        }
        let name = |rp_id: Option<&str>| rp_id.unwrap_or_default().to_owned();
        let stranded = stranded.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
        let mut draft = self.draft(context);
        draft.data(self.data_with_rp_id(rp_id)?);
        let detail = [("from", name(expected)), ("to", name(rp_id)), ("stranded", stranded)];
        draft.record(EventKind::RelyingPartySet, None, detail);
        Ok(Decision { answer: rp_id.map(str::to_owned), delta: draft.finish() })
    }

    /// The number of active passkeys for this relying party; `None` if a newer version wrote one of the passkeys,
    /// which may be for any.
    pub(crate) fn passkeys_for(&self, rp_id: &str) -> Option<u64> {
        let is_unknown = |authenticator: &Authenticator| matches!(authenticator, Authenticator::Unknown(_));
        let mut active = self.active_factors();
        if active.any(|factor| factor.kind() == FactorKind::Passkey && is_unknown(&factor.authenticator)) {
            return None;
        }
        Some(self.passkeys_of(rp_id).count() as u64)
    }
}
