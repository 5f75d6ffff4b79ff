//! A factor that took a code while a clock was ahead: it is named, and an operator sets it right.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::account::{GivenProof, Session};
use mfa_domain::mfa::{Call, ChangeError, NewFactor};
use mfa_domain::otp_core::{Hotp, Secret, Token, Totp};
use mfa_domain::ports::{Clock, EventQuery};
use mfa_domain::{
    AccountKey, Actor, AuditEvent, CodeRejection, FactorId, Label, Mfa, PolicyDenial, Reason, SubmittedCode,
    TenantId, Timestamp, UserId, Verdict,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{TestPorts, ports};

const TWO_DAYS: Duration = Duration::from_hours(48);

struct World {
    test: TestPorts,
    mfa: Mfa,
    phone: FactorId,
    secret: Secret,
}

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn support() -> Actor {
    Actor::admin("support")
}

fn reason() -> Reason {
    Reason::new("the clock was two days ahead").unwrap()
}

/// A user with a confirmed phone; the code of the present step is used up.
async fn world() -> World {
    let test = ports(Arc::new(MemoryStore::default()));
    let mfa = test.mfa();
    let new = NewFactor::new(Label::new("Phone").unwrap(), Token::Totp(Totp::default()));
    let offered = mfa.begin_enrolment(&alice(), &support(), new).await.unwrap();
    let world = World { phone: offered.factor.id, secret: offered.secret, test, mfa };
    let code = world.shown();
    world.mfa.confirm(&alice(), &support(), world.phone, &code).await.unwrap().into_result().unwrap();
    world
}

impl World {
    fn now(&self) -> Timestamp {
        self.test.clock.now()
    }

    /// The code that the phone shows when its clock and the server's agree.
    fn shown(&self) -> SubmittedCode {
        let code = Totp::default().generate(&self.secret, self.now().unix_seconds()).unwrap();
        SubmittedCode::OneTimePassword(code)
    }

    /// The clock is two days ahead for a moment, in which somebody logs in.
    async fn log_in_ahead(&self) {
        let now = self.now();
        self.test.clock.advance(TWO_DAYS);
        assert!(self.verify().await.is_ok());
        self.test.clock.set(now);
    }

    async fn verify(&self) -> Result<(), CodeRejection> {
        self.verify_code(&self.shown()).await
    }

    async fn verify_code(&self, code: &SubmittedCode) -> Result<(), CodeRejection> {
        match self.mfa.verify(&alice(), &support(), code, None).await.unwrap() {
            Verdict::Accepted(_) => Ok(()),
            Verdict::Rejected(rejection) => {
                if let CodeRejection::Replayed { factor } = rejection {
                    self.mfa.record_replay(&alice(), &support(), factor).await.unwrap();
                }
                Err(rejection)
            }
        }
    }

    /// What is said of a right code whose step is not after the last one.
    fn used_up(&self) -> Result<(), CodeRejection> {
        Err(CodeRejection::Replayed { factor: Some(self.phone) })
    }

    async fn set_back(&self) {
        self.mfa.set_back(&alice(), &support(), self.phone, &reason()).await.unwrap();
    }

    async fn ahead(&self) -> Option<Timestamp> {
        self.mfa.status(&alice()).await.unwrap().ahead.get(&self.phone).copied()
    }

    async fn events(&self, kind: &str) -> Vec<AuditEvent> {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        let events = self.mfa.events(&query).await.unwrap().events;
        events.into_iter().map(|event| event.event).filter(|event| event.kind.as_str() == kind).collect()
    }
}

#[tokio::test]
async fn a_factor_that_accepts_nothing_is_named_with_the_time_when_it_will() {
    let world = world().await;
    assert_eq!(world.ahead().await, None);
    let ahead = world.now().plus(TWO_DAYS);
    world.log_in_ahead().await;
    // The window has one step more than the present: a code counts again when the step after the last one is in it.
    assert_eq!(world.ahead().await, Some(ahead));
    assert_eq!(world.verify().await, world.used_up());
    let told = world.events("factor_ahead").await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].factor, &told[0].detail["until"]), (Some(world.phone), &ahead.to_string()));

    let next = |seconds| {
        let code = Totp::default().generate(&world.secret, seconds).unwrap();
        SubmittedCode::OneTimePassword(code)
    };
    world.test.clock.set(Timestamp::from_unix_seconds(ahead.unix_seconds() - 1));
    assert_eq!(world.verify_code(&next(ahead.unix_seconds() + 30)).await, Err(CodeRejection::Invalid));
    world.test.clock.set(ahead);
    assert_eq!(world.verify_code(&next(ahead.unix_seconds() + 30)).await, Ok(()));
    assert_eq!(world.ahead().await, None);
}

#[tokio::test]
async fn a_factor_that_two_clocks_differ_by_seconds_is_not_worth_a_word() {
    let world = world().await;
    let now = world.now();
    // Another replica is 15 seconds ahead, and the phone, too; then as far as one step.
    for (seconds, named) in [(15, false), (30, false), (60, true)] {
        world.test.clock.set(now.plus(Duration::from_secs(seconds)));
        let _ = world.verify().await;
        world.test.clock.set(now);
        assert_eq!(world.ahead().await.is_some(), named, "{seconds}");
    }
}

#[tokio::test]
async fn an_operator_sets_it_right_and_no_code_of_the_window_counts_again() {
    let world = world().await;
    let used = world.shown();
    world.log_in_ahead().await;
    world.set_back().await;
    let told = world.events("factor_set_back").await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].factor, told[0].actor.as_str()), (Some(world.phone), "admin support"));
    assert_eq!(told[0].detail["reason"], reason().as_str());

    // The code that was used before the clock went wrong, and those whose use nobody knows of.
    let now = world.now().unix_seconds();
    assert_eq!(world.verify_code(&used).await, world.used_up());
    for seconds in [now - 30, now, now + 30] {
        let code = Totp::default().generate(&world.secret, seconds).unwrap();
        let refused = world.verify_code(&SubmittedCode::OneTimePassword(code)).await;
        assert_eq!(refused, world.used_up(), "{seconds}");
    }
    world.test.clock.advance(Duration::from_mins(1));
    assert_eq!(world.verify().await, Ok(()));
    assert_eq!(world.ahead().await, None);
}

#[tokio::test]
async fn what_is_not_ahead_stays_as_it_is_and_leaves_no_event() {
    let world = world().await;
    world.set_back().await;
    assert_eq!(world.verify().await, world.used_up());
    world.test.clock.advance(Duration::from_secs(30));
    assert_eq!(world.verify().await, Ok(()));
    let new = NewFactor::new(Label::new("Token").unwrap(), Token::Hotp { hotp: Hotp::default(), counter: 7 });
    let (support, given) = (support(), GivenProof::Operator(reason()));
    let call = Call::from(&support).in_session(Session { proof: Some(&given), nonce: None });
    let token = world.mfa.begin_enrolment(&alice(), call, new).await.unwrap().factor;
    let kept = world.mfa.set_back(&alice(), &support, token.id, &reason()).await.unwrap();
    assert_eq!(kept, token);
    assert!(world.events("factor_set_back").await.is_empty());
    assert!(world.events("factor_ahead").await.is_empty());

    let nobodys = FactorId::fresh(world.now(), &[9; 10]);
    let refused = world.mfa.set_back(&alice(), &support, nobodys, &reason()).await;
    assert!(matches!(refused, Err(ChangeError::Refused(PolicyDenial::UnknownFactor))));
}
