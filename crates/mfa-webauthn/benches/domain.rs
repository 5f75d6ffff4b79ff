//! The whole check of an assertion by the domain, with stores in memory and the vault that servers use.

use std::sync::Arc;

use futures_util::FutureExt;
use mfa_crypto::{AesGcmVault, Argon2Hasher, KeyRing};
use mfa_domain::mfa::FirstStep;
use mfa_domain::passkey::AssertionResponse;
use mfa_domain::ports::{Clock, NewCredential, SystemClock, SystemEntropy};
use mfa_domain::{
    AccountKey, Actor, ChallengeId, FactorKind, Label, Mfa, Policies, Ports, Reason, TenantId, UserId,
    Verdict,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_webauthn::RelyingParty;
use serde_json::Value;

/// The use cases, and a user with a passkey.
pub(crate) struct Domain {
    mfa: Mfa,
    user: AccountKey,
    caller: Actor,
}

impl Domain {
    pub(crate) fn new(relying_party: RelyingParty, credential: NewCredential) -> Self {
        let ring = KeyRing::generate(&SystemEntropy, SystemClock.now()).unwrap();
        // Backup codes are not used.
        let ports = Ports::new(MemoryStore::default(), AesGcmVault::new(ring), Argon2Hasher::default())
            .challenges(Arc::new(MemoryChallenges::default()))
            .webauthn(Arc::new(relying_party));
        let mfa = Mfa::new(ports, Policies::default()).unwrap();
        let user = AccountKey::new(TenantId::new("default").unwrap(), UserId::new("alice").unwrap());
        let (operator, label) = (Actor::admin("benchmark"), Label::new("Phone").unwrap());
        let reason = Reason::new("benchmark").unwrap();
        at_once(mfa.import_passkey(&user, &operator, label, credential, &reason)).unwrap();
        Self { mfa, user, caller: Actor::user("benchmark") }
    }

    /// Begins a challenge. Gives its id, and what is to be signed, in base64url.
    pub(crate) fn begin(&self) -> (ChallengeId, String) {
        let step = at_once(self.mfa.first_step(&self.user, &self.caller, FactorKind::Passkey)).unwrap();
        let Verdict::Accepted(FirstStep::Passkey(step)) = step else { panic!("a passkey is asked") };
        let begun = at_once(self.mfa.begin_passkey(&self.caller, *step)).unwrap().into_result().unwrap();
        let options: Value = serde_json::from_str(&begun.options.unwrap()).unwrap();
        (begun.challenge.id, options["challenge"].as_str().unwrap().to_owned())
    }

    /// Answers it. The response must be right.
    pub(crate) fn answer(&self, challenge: ChallengeId, response: &AssertionResponse) {
        let answer = self.mfa.answer_passkey(&self.user.tenant, &self.caller, challenge, response);
        at_once(answer).unwrap().into_result().unwrap();
    }
}

/// The output of a future that has nothing to wait for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("nothing to wait for")
}
