//! Secrets that are given again after their factor was removed: no code that was used counts again.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::{Confirmation, EnrolError, Enrolment, NewFactor};
use mfa_domain::otp_core::{Code, Hotp, Secret, Token, Totp};
use mfa_domain::policy::{ProofScope, StandardEnrolment};
use mfa_domain::{
    AccountKey, Actor, Authenticator, FactorId, Label, Mfa, Policies, Reason, TenantId, UserId, Verdict,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{FailingStore, Fault, TestPorts, ports, submitted};

struct World {
    test: TestPorts,
    store: Arc<FailingStore>,
    mfa: Mfa,
}

/// Whoever was verified may add a token in any session: these tests are not about proofs.
fn world() -> World {
    let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
    let test = ports(store.clone());
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    let policies = Policies { enrolment: Arc::new(enrolment), ..Policies::default() };
    World { mfa: Mfa::new(test.ports.clone(), policies).unwrap(), store, test }
}

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn user() -> Actor {
    Actor::user("web")
}

fn admin() -> Actor {
    Actor::admin("anna")
}

fn secret(n: u8) -> Secret {
    Secret::from_bytes(&[n; 20]).unwrap()
}

fn given(n: u8, token: Token) -> NewFactor {
    NewFactor { secret: Some(secret(n)), ..NewFactor::new(Label::new("Token").unwrap(), token) }
}

fn hotp(counter: u64) -> Token {
    Token::Hotp { hotp: Hotp::default(), counter }
}

fn at_counter(n: u8, counter: u64) -> Code {
    Hotp::default().generate(&secret(n), counter)
}

/// The ways in which a factor goes.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Reset,
    Revoked,
    Replaced,
}

const WAYS: [Gone; 3] = [Gone::Reset, Gone::Revoked, Gone::Replaced];

impl World {
    async fn import(&self, new: NewFactor) -> Result<Enrolment, EnrolError> {
        self.mfa.import_factor(&alice(), &admin(), new, &Reason::new("found").unwrap()).await
    }

    async fn remove(&self, factor: FactorId, way: Gone) {
        match way {
            Gone::Reset => {
                self.mfa.reset(&alice(), &admin(), &Reason::new("lost").unwrap()).await.unwrap();
            }
            Gone::Revoked => self.mfa.revoke(&alice(), &admin(), factor).await.unwrap(),
            Gone::Replaced => {
                let secret = Some(Secret::from_bytes(factor.as_bytes()).unwrap());
                let new = NewFactor { secret, replaces: Some(factor), ..given(0, hotp(0)) };
                self.import(new).await.unwrap();
            }
        }
        assert!(self.mfa.status(&alice()).await.unwrap().factors.iter().all(|known| known.id != factor));
    }

    /// What the device of that secret shows while its clock is so many steps off.
    fn shown(&self, n: u8, steps: i64) -> Code {
        let now = self.test.ports.clock.now().unix_seconds().checked_add_signed(30 * steps).unwrap();
        Totp::default().generate(&secret(n), now).unwrap()
    }

    async fn verifies(&self, code: &Code) -> bool {
        let verdict = self.mfa.verify(&alice(), &user(), &submitted(code.as_str()), None).await.unwrap();
        matches!(verdict, Verdict::Accepted(_))
    }

    async fn resynchronises(&self, factor: FactorId, [first, second]: [&Code; 2]) -> bool {
        self.mfa
            .resynchronise(&alice(), &user(), factor, [first, second])
            .await
            .unwrap()
            .into_result()
            .is_ok()
    }

    async fn confirms(&self, factor: FactorId, [first, second]: [&Code; 2]) -> bool {
        let confirmed = self.mfa.confirm(&alice(), &user(), factor, [first, second]).await.unwrap();
        matches!(confirmed, Verdict::Accepted(Confirmation { .. }))
    }

    async fn is_no_guess(&self) -> bool {
        self.test.ports.accounts.load(&alice()).await.unwrap().value.attempts.recent.is_empty()
    }
}

#[tokio::test]
async fn codes_of_a_clock_that_is_off_stay_used() {
    for (way, off) in WAYS.into_iter().flat_map(|way| [-230, 200].map(|off| (way, off))) {
        let world = world();
        let offered =
            world.mfa.begin_enrolment(&alice(), &admin(), given(1, Token::Totp(Totp::default()))).await;
        let first = offered.unwrap().factor.id;
        let codes: Vec<_> = (0..5).map(|step| world.shown(1, off + step)).collect();
        assert!(world.confirms(first, [&codes[0], &codes[1]]).await);
        assert!(world.verifies(&codes[2]).await);
        world.remove(first, way).await;

        let again = world.import(given(1, Token::Totp(Totp::default()))).await.unwrap().factor.id;
        for used in [[&codes[0], &codes[1]], [&codes[1], &codes[2]], [&codes[2], &codes[3]]] {
            assert!(!world.resynchronises(again, used).await, "{way:?} at {off}");
        }
        assert!(!world.verifies(&codes[2]).await, "{way:?} at {off}");
        assert!(world.resynchronises(again, [&codes[3], &codes[4]]).await, "{way:?} at {off}");
        assert!(!world.verifies(&codes[2]).await, "{way:?} at {off}");
    }
}

#[tokio::test]
async fn counters_stay_used() {
    for way in WAYS {
        let world = world();
        let first = world.import(given(1, hotp(0))).await.unwrap().factor.id;
        for counter in [0, 1, 4] {
            assert!(world.verifies(&at_counter(1, counter)).await);
        }
        world.remove(first, way).await;

        for _ in 0..2 {
            let again = world.import(given(1, hotp(0))).await.unwrap();
            assert!(again.uri.contains("counter=5"), "{way:?}: what the app must begin with");
            for used in [0, 2, 3, 4] {
                assert!(!world.verifies(&at_counter(1, used)).await, "{way:?} at {used}");
            }
            let used = [at_counter(1, 3), at_counter(1, 4)];
            assert!(!world.resynchronises(again.factor.id, [&used[0], &used[1]]).await, "{way:?}");
            // Once more, without a code in between.
            world.remove(again.factor.id, Gone::Revoked).await;
        }
        // Offered to be confirmed, too.
        let offered = world.mfa.begin_enrolment(&alice(), &admin(), given(1, hotp(2))).await.unwrap();
        let used = [at_counter(1, 2), at_counter(1, 3)];
        assert!(!world.confirms(offered.factor.id, [&used[0], &used[1]]).await, "{way:?}");
        let next = [at_counter(1, 5), at_counter(1, 6)];
        assert!(world.confirms(offered.factor.id, [&next[0], &next[1]]).await, "{way:?}");
        world.remove(offered.factor.id, way).await;
        // What the operator says counts if it is later.
        world.import(given(1, hotp(9))).await.unwrap();
        assert!(!world.verifies(&at_counter(1, 7)).await, "{way:?}");
        assert!(world.verifies(&at_counter(1, 9)).await, "{way:?}");
    }
}

/// Two codes use up counters of a factor that waits for its first code, too.
#[tokio::test]
async fn what_a_factor_used_that_waited_in_vain_stays_used() {
    let world = world();
    let offered = world.mfa.begin_enrolment(&alice(), &admin(), given(1, hotp(0))).await.unwrap();
    let used = [at_counter(1, 0), at_counter(1, 1)];
    assert!(world.resynchronises(offered.factor.id, [&used[0], &used[1]]).await);
    world.test.clock.advance(Duration::from_hours(24));
    for _ in 0..2 {
        let again = world.import(given(1, hotp(0))).await.unwrap();
        assert!(!world.verifies(&used[1]).await);
        world.remove(again.factor.id, Gone::Reset).await;
    }
    world.import(given(1, hotp(0))).await.unwrap();
    assert!(world.verifies(&at_counter(1, 2)).await);
}

#[tokio::test]
async fn another_token_begins_where_the_operator_says() {
    for way in WAYS {
        let world = world();
        let fob = world.import(given(1, hotp(50))).await.unwrap().factor.id;
        let phone = world.import(given(2, Token::Totp(Totp::default()))).await.unwrap().factor.id;
        assert!(world.verifies(&at_counter(1, 50)).await && world.verifies(&world.shown(2, 0)).await);
        for factor in [fob, phone] {
            if world.mfa.status(&alice()).await.unwrap().enrolled {
                world.remove(factor, way).await;
            }
        }
        world.import(given(3, hotp(0))).await.unwrap();
        world.import(given(4, Token::Totp(Totp::default()))).await.unwrap();
        assert!(world.verifies(&at_counter(3, 0)).await, "{way:?}");
        assert!(world.verifies(&world.shown(4, 0)).await, "{way:?}");
        assert!(world.is_no_guess().await);
    }
}

#[tokio::test]
async fn no_import_reads_the_trail() {
    let world = world();
    let first = world.import(given(1, hotp(0))).await.unwrap().factor.id;
    assert!(world.verifies(&at_counter(1, 0)).await);
    world.remove(first, Gone::Reset).await;
    world.store.set(Fault::Events);
    let again = world.import(given(1, hotp(0))).await.unwrap();
    world.import(given(2, Token::Totp(Totp::default()))).await.unwrap();
    world.remove(again.factor.id, Gone::Reset).await;
    world.mfa.erase(&alice(), &admin()).await.unwrap();
    world.import(given(2, Token::Totp(Totp::default()))).await.unwrap();
}

#[tokio::test]
async fn a_removed_factor_is_kept_until_the_user_is_erased_and_no_more_than_sixteen_are() {
    let world = world();
    let load = async || world.test.ports.accounts.load(&alice()).await.unwrap().value;
    for n in 1..=20 {
        let factor = world.import(given(n, hotp(0))).await.unwrap().factor.id;
        assert!(world.verifies(&at_counter(n, 0)).await);
        world.remove(factor, Gone::Reset).await;
        // A second reset has nothing to do.
        let before = load().await.audit_head;
        world.remove(factor, Gone::Reset).await;
        assert_eq!(load().await.audit_head, before);
    }
    let last = world.import(given(20, hotp(0))).await.unwrap().factor;
    let Authenticator::Hotp(device) = &last.authenticator else { panic!("{last:?}") };
    assert_eq!(device.counter, 1);
    world.remove(last.id, Gone::Revoked).await;
    let account = load().await;
    assert_eq!(
        account.factors.iter().filter(|factor| factor.is_removed()).count(),
        17,
        "one was removed since"
    );
    assert!(!account.is_enrolled() && account.factor(last.id).is_none());

    world.mfa.erase(&alice(), &admin()).await.unwrap();
    assert!(load().await.factors.is_empty());
    let before = load().await.audit_head;
    world.mfa.erase(&alice(), &admin()).await.unwrap();
    assert_eq!(load().await.audit_head, before, "nothing is left to erase");
    assert!(world.test.ports.accounts.keys_in_use().await.unwrap().is_empty());
}
