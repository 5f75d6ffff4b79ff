//! Codes that were right before: refused like wrong ones, and no guesses.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::account::{GivenProof, Session, SessionProof};
use mfa_domain::mfa::{Call, NewFactor};
use mfa_domain::otp_core::{Code, Token, Totp};
use mfa_domain::policy::StandardVerification;
use mfa_domain::{
    AccountKey, Actor, CodeRejection, EventKind, FactorId, Label, Mfa, Policies, TenantId, UserId, Verdict,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{HotpUser, TestPorts, TotpUser, ports, submitted};

struct World {
    test: TestPorts,
    mfa: Mfa,
}

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn user() -> Actor {
    Actor::user("test")
}

fn used(factor: FactorId) -> Verdict {
    Verdict::Rejected(CodeRejection::Replayed { factor: Some(factor) })
}

const WRONG: Verdict = Verdict::Rejected(CodeRejection::Invalid);

impl World {
    fn new(policies: Policies) -> Self {
        let test = ports(Arc::new(MemoryStore::default()));
        Self { mfa: Mfa::new(test.ports.clone(), policies).unwrap(), test }
    }

    async fn verify(&self, code: &str) -> Verdict {
        self.mfa.verify(&alice(), &user(), &submitted(code), None).await.unwrap()
    }

    async fn failures(&self) -> usize {
        self.test.ports.accounts.load(&alice()).await.unwrap().value.attempts.recent.len()
    }

    /// The code that the app shows so many steps from now.
    fn shown(&self, phone: &TotpUser, steps: i64) -> String {
        let seconds = self.test.ports.clock.now().unix_seconds().checked_add_signed(30 * steps).unwrap();
        phone.totp.generate(&phone.secret, seconds).unwrap().as_str().to_owned()
    }

    fn wait(&self, steps: u64) {
        self.test.clock.advance(Duration::from_secs(30 * steps));
    }
}

#[tokio::test]
async fn the_steps_of_the_window_up_to_the_last_accepted_one_are_used() {
    let world = World::new(Policies::default());
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let (used, wrong) = (used(phone.factor), WRONG);
    // The code that confirmed the factor.
    assert_eq!(world.verify(&world.shown(&phone, 0)).await, used);
    world.wait(10);
    assert!(matches!(world.verify(&world.shown(&phone, 0)).await, Verdict::Accepted(_)));
    // Those before it in the window were never accepted, and never will be.
    for (steps, verdict) in [(0, &used), (-1, &used), (-2, &wrong), (2, &wrong)] {
        assert_eq!(world.verify(&world.shown(&phone, steps)).await, *verdict, "{steps}");
    }
    assert_eq!(world.failures().await, 2);
    assert!(matches!(world.verify(&world.shown(&phone, 1)).await, Verdict::Accepted(_)));
    assert_eq!(world.verify(&world.shown(&phone, -1)).await, used, "of the window, before the last two");
    // A form that is sent once more when the window has moved on.
    world.wait(100);
    assert_eq!(world.verify(&world.shown(&phone, -99)).await, used);
    assert_eq!(world.verify(&world.shown(&phone, -98)).await, wrong, "a later one was not used");
    assert_eq!(world.failures().await, 3);
}

#[tokio::test]
async fn a_code_that_was_accepted_is_used_in_any_window() {
    let verification = Arc::new(StandardVerification::strict());
    let world = World::new(Policies { verification, ..Policies::default() });
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    assert_eq!(world.verify(&world.shown(&phone, 0)).await, used(phone.factor));
    world.wait(1);
    assert_eq!(world.verify(&world.shown(&phone, -1)).await, used(phone.factor));
    assert_eq!(world.verify(&world.shown(&phone, -2)).await, WRONG);
}

#[tokio::test]
async fn the_last_three_counters_are_used() {
    let world = World::new(Policies::default());
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    assert_eq!(world.verify(&token.code(0)).await, used(token.factor), "it confirmed the factor");
    assert!(matches!(world.verify(&token.code(4)).await, Verdict::Accepted(_)));
    for counter in [4, 3, 2] {
        assert_eq!(world.verify(&token.code(counter)).await, used(token.factor), "{counter}");
    }
    assert_eq!(world.failures().await, 0);
    for counter in [1, 9] {
        assert_eq!(world.verify(&token.code(counter)).await, WRONG, "{counter}");
    }
    assert_eq!(world.failures().await, 2);
    assert!(matches!(world.verify(&token.code(5)).await, Verdict::Accepted(_)));
}

#[tokio::test]
async fn two_counters_of_which_the_first_was_used_are_no_guess_and_a_wrong_second_one_is() {
    let world = World::new(Policies::default());
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    assert!(matches!(world.verify(&token.code(4)).await, Verdict::Accepted(_)));
    for (pair, failures) in [([4, 5], 0), ([3, 4], 0), ([2, 3], 0), ([1, 2], 1), ([4, 6], 2), ([5, 4], 3)] {
        let [first, second] = pair.map(|counter| Code::parse(&token.code(counter)).unwrap());
        let refused =
            world.mfa.resynchronise(&alice(), &user(), token.factor, [&first, &second]).await.unwrap();
        let replayed = matches!(refused.into_result().unwrap_err(), CodeRejection::Replayed { .. });
        assert_eq!(world.failures().await, failures, "{pair:?}");
        assert_eq!(replayed, failures == 0, "{pair:?}");
    }
    assert!(
        matches!(world.verify(&token.code(5)).await, Verdict::Accepted(_)),
        "the second code was not used"
    );
}

#[tokio::test]
async fn two_steps_of_which_the_first_was_used_are_no_guess_and_a_wrong_second_one_is() {
    let world = World::new(Policies::default());
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.wait(10);
    assert!(matches!(world.verify(&world.shown(&phone, 0)).await, Verdict::Accepted(_)));
    for (pair, failures) in
        [([0, 1], 0), ([-1, 0], 0), ([-2, -1], 0), ([-4, -3], 1), ([0, 2], 2), ([1, 0], 3)]
    {
        let [first, second] = pair.map(|steps| Code::parse(&world.shown(&phone, steps)).unwrap());
        let refused =
            world.mfa.resynchronise(&alice(), &user(), phone.factor, [&first, &second]).await.unwrap();
        let replayed = matches!(refused.into_result().unwrap_err(), CodeRejection::Replayed { .. });
        assert_eq!(world.failures().await, failures, "{pair:?}");
        assert_eq!(replayed, failures == 0, "{pair:?}");
    }
    // The window has moved on, and the pair is still that of the last step.
    world.wait(100);
    let [first, second] = [-100, -99].map(|steps| Code::parse(&world.shown(&phone, steps)).unwrap());
    let refused = world.mfa.resynchronise(&alice(), &user(), phone.factor, [&first, &second]).await.unwrap();
    assert!(matches!(refused.into_result().unwrap_err(), CodeRejection::Replayed { .. }));
    assert_eq!(world.failures().await, 3);
}

#[tokio::test]
async fn spent_backup_codes_are_used_as_long_as_their_set_is_there() {
    let world = World::new(Policies::default());
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let code = phone.backup_codes[3].as_str();
    let verified = world.verify(code).await.into_result().unwrap();
    for _ in 0..10 {
        assert_eq!(world.verify(code).await, Verdict::Rejected(CodeRejection::Replayed { factor: None }));
    }
    assert_eq!(world.failures().await, 0);
    let proof = GivenProof::Session(SessionProof::new(alice(), &verified.verification));
    let (user, session) = (user(), Session { proof: Some(&proof), nonce: None });
    world.mfa.issue_backup_codes(&alice(), Call::from(&user).in_session(session)).await.unwrap();
    for code in [code, &phone.backup_codes[4], "0000-0000-0000-0000"] {
        assert_eq!(world.verify(code).await, WRONG, "it is of no set that counts");
    }
    assert_eq!(world.failures().await, 3);
}

#[tokio::test]
async fn a_code_that_brought_a_pending_factor_in_step_does_not_confirm_it_and_costs_nothing() {
    let world = World::new(Policies::default());
    let new = NewFactor::new(Label::new("Phone").unwrap(), Token::Totp(Totp::default()));
    let offered = world.mfa.begin_enrolment(&alice(), &user(), new).await.unwrap();
    let (factor, now) = (offered.factor.id, world.test.ports.clock.now().unix_seconds());
    let [first, second] = [now - 30, now].map(|at| Totp::default().generate(&offered.secret, at).unwrap());
    let pair = [&first, &second];
    world.mfa.resynchronise(&alice(), &user(), factor, pair).await.unwrap().into_result().unwrap();
    let again = world.mfa.resynchronise(&alice(), &user(), factor, pair).await.unwrap();
    let replayed = CodeRejection::Replayed { factor: Some(factor) };
    assert_eq!(again.into_result().unwrap_err(), replayed);
    let one = submitted(second.as_str());
    for codes in [(&one).into(), pair.into()] {
        let codes: mfa_domain::account::Codes<'_> = codes;
        let confirmation = world.mfa.confirm(&alice(), &user(), factor, codes).await.unwrap();
        assert!(matches!(confirmation, Verdict::Rejected(rejection) if rejection == replayed));
    }
    assert_eq!(world.failures().await, 0);
}

#[tokio::test]
async fn a_locked_account_does_not_tell_a_used_code_from_a_wrong_one() {
    let world = World::new(Policies::default());
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let now = world.test.ports.clock.now();
    for wrong in phone.wrong_codes(now, 5) {
        // A used code between them neither costs an attempt nor ends the row.
        assert_eq!(world.verify(&phone.code(now)).await, used(phone.factor));
        assert_eq!(world.verify(&wrong).await, WRONG);
    }
    let locked = world.verify("000000").await;
    assert!(matches!(locked, Verdict::Rejected(CodeRejection::Locked { .. })), "{locked:?}");
    assert_eq!(world.verify(&phone.code(now)).await, locked);
}

#[tokio::test]
async fn only_what_is_recorded_of_a_used_code_is_in_the_trail() {
    let world = World::new(Policies::default());
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let before = world.test.ports.accounts.load(&alice()).await.unwrap();
    assert_eq!(world.verify(&world.shown(&phone, 0)).await, used(phone.factor));
    assert_eq!(world.test.ports.accounts.load(&alice()).await.unwrap(), before);
    world.mfa.record_replay(&alice(), &user(), Some(phone.factor)).await.unwrap();
    let after = world.test.ports.accounts.load(&alice()).await.unwrap();
    assert_eq!(after.value.audit_head.sequence, before.value.audit_head.sequence + 1);
    assert_eq!(after.value.factors, before.value.factors);
    assert_eq!(after.value.attempts, before.value.attempts);
    let query = mfa_domain::ports::EventQuery { tenant: alice().tenant, user: None, after: None, limit: 100 };
    let events = world.mfa.events(&query).await.unwrap().events;
    let last = &events.last().unwrap().event;
    assert_eq!((&last.kind, last.factor), (&EventKind::Replayed, Some(phone.factor)));
}
