//! Passkeys: registered, used, and removed.

#![allow(clippy::unwrap_used, reason = "test code")]

mod authentication;
mod bound;
mod failures;
mod fakes;
mod life_cycle;
mod public_keys;
mod records;
mod registration;
mod same_calls;
mod versions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mfa_domain::account::{GivenProof, Session, SessionProof};
use mfa_domain::mfa::{
    BegunChallenge, Call, Confirmation, EnrolError, FirstStep, NewPasskey, PasskeyEnrolment, PasskeyVerified,
    SendTo,
};
use mfa_domain::passkey::{AssertionResponse, RegistrationResponse};
use mfa_domain::ports::{ChallengeStore, Clock, Commit, EventQuery};
use mfa_domain::{
    Account, AccountKey, Actor, AuditEvent, AuditHead, Authenticator, ChallengeId, EventKind, FactorId,
    FactorKind, Label, Mfa, Passkey, PasskeyDevice, Policies, TenantId, Undecided, UserId, Verdict,
    Verification,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::{
    FailingStore, FakeAuthenticator, FakeWebauthn, TestPorts, TotpUser, changes, ports, submitted,
};
use serde_json::Value;

/// The event of a refused assertion.
const REFUSED: EventKind = EventKind::CredentialRefused;

struct World {
    accounts: Arc<FailingStore>,
    webauthn: Arc<FakeWebauthn>,
    test: TestPorts,
    policies: Policies,
    mfa: Arc<Mfa>,
    /// The last verification in the session of the host.
    proof: Mutex<Option<GivenProof>>,
}

impl World {
    fn new() -> Self {
        Self::under(Policies::default())
    }

    fn under(policies: Policies) -> Self {
        Self::on(Arc::new(MemoryChallenges::default()), policies)
    }

    fn on(challenges: Arc<dyn ChallengeStore>, policies: Policies) -> Self {
        let accounts = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
        let webauthn = Arc::new(FakeWebauthn::default());
        let mut test = ports(accounts.clone());
        test.ports = test.ports.challenges(challenges).webauthn(webauthn.clone());
        let mfa = Arc::new(Mfa::new(test.ports.clone(), policies.clone()).unwrap());
        Self { accounts, webauthn, test, policies, mfa, proof: Mutex::new(None) }
    }

    /// Another replica on the same stores.
    fn replica(&self) -> Arc<Mfa> {
        Arc::new(Mfa::new(self.test.ports.clone(), self.policies.clone()).unwrap())
    }

    async fn offer(&self, key: &AccountKey) -> PasskeyEnrolment {
        self.try_offer(key, NewPasskey::default()).await.unwrap()
    }

    /// Offers a passkey in the session of the host.
    async fn try_offer(&self, key: &AccountKey, new: NewPasskey) -> Result<PasskeyEnrolment, EnrolError> {
        let (shop, proof) = (shop(), self.proof.lock().unwrap().clone());
        let session = Session { proof: proof.as_ref(), nonce: None };
        self.mfa.enrol_passkey(key, Call::from(&shop).in_session(session), new).await
    }

    /// The session of the host is that of this user from now on.
    fn remember(&self, key: &AccountKey, verification: &Verification) {
        let proof = SessionProof::new(key.clone(), verification);
        *self.proof.lock().unwrap() = Some(GivenProof::Session(proof));
    }

    async fn confirm(
        &self,
        key: &AccountKey,
        offered: &PasskeyEnrolment,
        response: &RegistrationResponse,
    ) -> Verdict<Confirmation> {
        self.mfa.confirm_passkey(key, &shop(), offered.factor.id, response).await.unwrap()
    }

    async fn register(&self, key: &AccountKey, device: &mut FakeAuthenticator) -> FactorId {
        let offered = self.offer(key).await;
        let response = created(device, &offered);
        self.confirm(key, &offered, &response).await.into_result().unwrap().factor.id
    }

    /// Registers a passkey of a user who has another, which proves it.
    async fn add(
        &self,
        key: &AccountKey,
        device: &mut FakeAuthenticator,
        proof: &mut FakeAuthenticator,
    ) -> FactorId {
        self.sign_in(key, proof).await;
        self.register(key, device).await
    }

    async fn try_begin(&self, key: &AccountKey, to: impl Into<SendTo>) -> Verdict<BegunChallenge> {
        match self.mfa.first_step(key, &shop(), to).await.unwrap() {
            Verdict::Accepted(FirstStep::Passkey(step)) => {
                self.mfa.begin_passkey(&shop(), *step).await.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn begin(&self, key: &AccountKey, to: impl Into<SendTo>) -> BegunChallenge {
        self.try_begin(key, to).await.into_result().unwrap()
    }

    /// Begins a challenge that any passkey of a user answers.
    async fn begin_any(&self, key: &AccountKey) -> BegunChallenge {
        self.begin(key, FactorKind::Passkey).await
    }

    /// Begins a challenge without a user.
    async fn begin_passwordless(&self) -> BegunChallenge {
        self.mfa.begin_passwordless(&alice().tenant, &shop(), None).await.unwrap()
    }

    async fn try_answer(
        &self,
        id: ChallengeId,
        response: &AssertionResponse,
    ) -> Result<Verdict<PasskeyVerified>, Undecided> {
        self.mfa.answer_passkey(&alice().tenant, &shop(), id, response).await
    }

    async fn answer(&self, begun: &BegunChallenge, response: &AssertionResponse) -> Verdict<PasskeyVerified> {
        self.try_answer(begun.challenge.id, response).await.unwrap()
    }

    async fn try_sign_in(
        &self,
        key: &AccountKey,
        device: &mut FakeAuthenticator,
    ) -> Verdict<PasskeyVerified> {
        let begun = self.begin_any(key).await;
        let response = signed(device, &begun);
        self.answer(&begun, &response).await
    }

    async fn sign_in(&self, key: &AccountKey, device: &mut FakeAuthenticator) -> PasskeyVerified {
        let signed_in = self.try_sign_in(key, device).await.into_result().unwrap();
        self.remember(key, &signed_in.verified.verification);
        signed_in
    }

    /// Verifies the user by the next code of an app.
    async fn type_code(&self, app: &TotpUser) {
        self.test.clock.advance(Duration::from_secs(30));
        let code = submitted(&app.code(self.test.clock.now()));
        let verified = self.mfa.verify(&app.key, &shop(), &code, None).await.unwrap().into_result().unwrap();
        self.remember(&app.key, &verified.verification);
    }

    async fn fail_codes(&self, app: &TotpUser, count: usize) {
        for wrong in app.wrong_codes(self.test.clock.now(), count) {
            let verdict = self.mfa.verify(&app.key, &shop(), &submitted(&wrong), None).await.unwrap();
            assert!(matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
        }
    }

    /// The account without its trail.
    async fn state(&self, key: &AccountKey) -> Account {
        let account = self.test.ports.accounts.load(key).await.unwrap().value;
        Account { audit_head: AuditHead::default(), ..account }
    }

    async fn passkey(&self, key: &AccountKey, factor: FactorId) -> Passkey {
        self.state(key).await.factor(factor).unwrap().passkey().unwrap().clone()
    }

    /// Changes what is stored of a passkey.
    async fn edit(&self, key: &AccountKey, factor: FactorId, edit: impl FnOnce(&mut Passkey)) {
        let mut passkey = self.passkey(key, factor).await;
        edit(&mut passkey);
        let mut factor = self.state(key).await.factor(factor).unwrap().clone();
        factor.authenticator = Authenticator::Passkey(PasskeyDevice::Registered(Box::new(passkey)));
        let commit = changes::change(self.accounts.as_ref(), key, |draft| draft.put(factor)).await;
        assert_eq!(commit.unwrap(), Commit::Won);
    }

    /// The trail of an account, oldest first.
    async fn events(&self, key: &AccountKey) -> Vec<AuditEvent> {
        let AccountKey { tenant, user } = key.clone();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        let page = self.mfa.events(&query).await.unwrap();
        page.events.into_iter().map(|recorded| recorded.event).collect()
    }

    async fn count(&self, key: &AccountKey, kind: EventKind) -> usize {
        self.events(key).await.iter().filter(|event| event.kind == kind).count()
    }

    /// The kinds of the events after the first `before`.
    async fn kinds_since(&self, key: &AccountKey, before: usize) -> Vec<EventKind> {
        self.events(key).await.into_iter().skip(before).map(|event| event.kind).collect()
    }
}

fn user(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

fn alice() -> AccountKey {
    user("acme", "alice")
}

fn bob() -> AccountKey {
    user("acme", "bob")
}

fn shop() -> Actor {
    Actor::user("shop")
}

fn operator() -> Actor {
    Actor::admin("ops")
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

/// What the browser of `device` returns for a registration.
fn created(device: &mut FakeAuthenticator, offered: &PasskeyEnrolment) -> RegistrationResponse {
    RegistrationResponse::from_json(&device.create(&offered.options).unwrap()).unwrap()
}

/// What the browser of `device` returns for a challenge.
fn signed(device: &mut FakeAuthenticator, begun: &BegunChallenge) -> AssertionResponse {
    AssertionResponse::from_json(&device.get(begun.options.as_deref().unwrap()).unwrap()).unwrap()
}

/// What the latest discoverable passkey of `device` returns for a challenge, whatever credentials it asks for.
fn signed_by_any(device: &mut FakeAuthenticator, begun: &BegunChallenge) -> AssertionResponse {
    let mut options = options(begun);
    options.as_object_mut().unwrap().remove("allowCredentials");
    AssertionResponse::from_json(&device.get(&options.to_string()).unwrap()).unwrap()
}

fn options(begun: &BegunChallenge) -> Value {
    parsed(begun.options.as_deref().unwrap())
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}
