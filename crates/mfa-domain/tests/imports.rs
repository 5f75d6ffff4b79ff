//! Tokens that an operator imports: they count at once, and nobody else can do that.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::{EnrolError, Enrolment, NewFactor};
use mfa_domain::otp_core::{Hotp, Secret, SecretError, Token, Totp};
use mfa_domain::ports::{Clock, EventQuery};
use mfa_domain::{AccountKey, Actor, FactorId, Label, Mfa, PolicyDenial, Reason, TenantId, UserId, Verdict};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{TestPorts, TotpUser, ports, submitted};

const KEY: &[u8; 20] = b"12345678901234567890";

struct World {
    test: TestPorts,
    mfa: Mfa,
}

fn world() -> World {
    let test = ports(Arc::new(MemoryStore::default()));
    World { mfa: test.mfa(), test }
}

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn token() -> NewFactor {
    let token = Token::Hotp { hotp: Hotp::default(), counter: 7 };
    NewFactor {
        secret: Some(Secret::from_bytes(KEY).unwrap()),
        ..NewFactor::new(Label::new("Fob").unwrap(), token)
    }
}

fn hotp(counter: u64) -> String {
    Hotp::default().generate(&Secret::from_bytes(KEY).unwrap(), counter).as_str().to_owned()
}

impl World {
    async fn import(&self, actor: &Actor, new: NewFactor) -> Result<Enrolment, EnrolError> {
        let reason = Reason::new("Moved from the old system").unwrap();
        self.mfa.import_factor(&alice(), actor, new, &reason).await
    }

    async fn verifies(&self, code: &str) -> bool {
        let verdict = self.mfa.verify(&alice(), &Actor::user("test"), &submitted(code), None).await.unwrap();
        matches!(verdict, Verdict::Accepted(_))
    }

    async fn labels(&self) -> Vec<String> {
        let status = self.mfa.status(&alice()).await.unwrap();
        status.factors.iter().map(|factor| factor.label.to_string()).collect()
    }
}

#[tokio::test]
async fn an_imported_factor_counts_at_once_and_the_trail_says_why() {
    let world = world();
    let imported = world.import(&Actor::admin("anna"), token()).await.unwrap();
    assert!(imported.factor.is_active());
    assert!(world.mfa.status(&alice()).await.unwrap().enrolled);
    assert!(!world.verifies(&hotp(6)).await);
    assert!(world.verifies(&hotp(7)).await, "the first login");
    assert!(!world.verifies(&hotp(7)).await);

    let AccountKey { tenant, user } = alice();
    let query = EventQuery { tenant, user: Some(user), after: None, limit: 10 };
    let event = &world.mfa.events(&query).await.unwrap().events[0].event;
    assert_eq!((event.kind.as_str(), event.actor.as_str()), ("factor_imported", "admin anna"));
    assert_eq!(event.detail["reason"], "Moved from the old system");
    assert_eq!(event.factor, Some(imported.factor.id));
}

#[tokio::test]
async fn a_user_who_is_enrolled_gets_one_more_without_a_verification_or_one_in_the_place_of_another() {
    let world = world();
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let admin = Actor::admin("anna");
    let refused = world.mfa.begin_enrolment(&alice(), &admin, token()).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::ProofRequired { .. })), "{refused}");
    world.import(&admin, token()).await.unwrap();
    assert!(world.verifies(&hotp(7)).await);
    assert!(world.verifies(&phone.backup_codes[0]).await, "backup codes stay");

    let twice = world.import(&admin, token()).await.unwrap_err();
    assert!(matches!(twice, EnrolError::Refused(PolicyDenial::DuplicateSecret)), "{twice}");
    let other = NewFactor {
        secret: Some(Secret::from_bytes(&[7; 20]).unwrap()),
        replaces: Some(phone.factor),
        ..NewFactor::new(Label::new("Other").unwrap(), Token::Totp(Totp::default()))
    };
    world.import(&admin, other).await.unwrap();
    assert_eq!(world.labels().await, ["Fob", "Other"]);
    assert!(!world.verifies(&phone.code(world.test.ports.clock.now())).await);
    let nobodys =
        NewFactor { replaces: Some(FactorId::fresh(world.test.ports.clock.now(), &[1; 10])), ..token() };
    let refused = world.import(&admin, nobodys).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::UnknownFactor)), "{refused}");
}

#[tokio::test]
async fn who_is_no_operator_imports_nothing_and_nothing_is_imported_without_a_secret() {
    let world = world();
    let refused = world.import(&Actor::user("web"), token()).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::OperatorsOnly)), "{refused}");
    let fresh = NewFactor { secret: None, ..token() };
    let refused = world.import(&Actor::admin("anna"), fresh).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Secret(SecretError::Empty)), "{refused}");
    let weak = NewFactor { secret: Some(Secret::from_bytes(&[7; 9]).unwrap()), ..token() };
    let refused = world.import(&Actor::admin("anna"), weak).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Secret(SecretError::TooWeak { .. })), "{refused}");
    assert!(world.labels().await.is_empty());
}

#[tokio::test]
async fn a_secret_that_comes_back_after_a_reset_brings_no_used_code_back() {
    for lost in ["reset", "erased", "revoked"] {
        let world = world();
        let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
        let (admin, clock) = (Actor::admin("anna"), &world.test.clock);
        clock.advance(Duration::from_mins(1));
        // The last one that was accepted is the furthest of the window.
        let used = phone.code(clock.now().plus(Duration::from_secs(30)));
        assert!(world.verifies(&used).await);
        let reason = Reason::new("lost").unwrap();
        match lost {
            "reset" => world.mfa.reset(&alice(), &admin, &reason).await.unwrap(),
            "erased" => world.mfa.erase(&alice(), &admin).await.unwrap(),
            _ => world.mfa.revoke(&alice(), &admin, phone.factor).await.unwrap(),
        }
        let again = || NewFactor {
            secret: Some(Secret::from_bytes(phone.secret.expose()).unwrap()),
            ..NewFactor::new(Label::new("Again").unwrap(), Token::Totp(Totp::default()))
        };
        world.import(&admin, again()).await.unwrap();
        for _ in 0..2 {
            assert!(!world.verifies(&used).await, "{lost}");
            clock.advance(Duration::from_secs(30));
        }
        assert!(!world.verifies(&used).await, "{lost}");
        clock.advance(Duration::from_secs(30));
        assert!(world.verifies(&phone.code(clock.now())).await, "{lost}");
        let attempts = world.test.ports.accounts.load(&alice()).await.unwrap().value.attempts;
        assert!(attempts.recent.is_empty(), "{lost}: a used code is no guess");

        // A factor that is offered with the secret is not confirmed by a used code, either.
        world.mfa.reset(&alice(), &admin, &reason).await.unwrap();
        let offered = world.mfa.begin_enrolment(&alice(), &admin, again()).await.unwrap();
        let used = submitted(&phone.code(clock.now()));
        let confirmed = world.mfa.confirm(&alice(), &admin, offered.factor.id, &used).await.unwrap();
        assert!(matches!(confirmed, Verdict::Rejected(_)), "{lost}: {confirmed:?}");
    }
}

#[tokio::test]
async fn a_secret_of_no_removed_factor_counts_at_once() {
    let world = world();
    let (admin, clock) = (Actor::admin("anna"), &world.test.clock);
    let fob = |key: &[u8; 20]| NewFactor {
        secret: Some(Secret::from_bytes(key).unwrap()),
        ..NewFactor::new(Label::new("Fob").unwrap(), Token::Totp(Totp::default()))
    };
    let shown = |key: &[u8; 20]| {
        let key = Secret::from_bytes(key).unwrap();
        Totp::default().generate(&key, clock.now().unix_seconds()).unwrap().as_str().to_owned()
    };
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let first = world.import(&admin, fob(KEY)).await.unwrap().factor;
    assert!(world.verifies(&shown(KEY)).await, "beside another one");
    world.mfa.revoke(&alice(), &admin, first.id).await.unwrap();
    world.mfa.revoke(&alice(), &admin, phone.factor).await.unwrap();
    world.import(&admin, fob(&[7; 20])).await.unwrap();
    assert!(world.verifies(&shown(&[7; 20])).await, "after others");
    world.import(&admin, fob(KEY)).await.unwrap();
    clock.advance(Duration::from_secs(30));
    assert!(world.verifies(&shown(KEY)).await, "the step after the used one");
}

/// As with the first confirmation: somebody with the password only may have offered a factor before.
#[tokio::test]
async fn what_was_offered_without_proof_dies_with_the_first_import() {
    let world = world();
    let user = Actor::user("web");
    let new = NewFactor::new(Label::new("Intruder").unwrap(), Token::Totp(Totp::default()));
    world.mfa.begin_enrolment(&alice(), &user, new).await.unwrap();
    world.import(&Actor::admin("anna"), token()).await.unwrap();
    assert_eq!(world.labels().await, ["Fob"]);
}
