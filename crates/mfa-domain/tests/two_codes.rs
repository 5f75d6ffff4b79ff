//! Devices whose clock or counter is off: two consecutive codes bind them and bring them back in step,
//! at the price of one attempt, and no code counts again for it.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::{Confirmation, NewFactor};
use mfa_domain::otp_core::{Code, Hotp, ResyncSteps, ResyncWindow, Secret, Token, Totp};
use mfa_domain::policy::{ProofScope, StandardEnrolment, StandardVerification};
use mfa_domain::{
    AccountKey, Actor, Authenticator, CodeRejection, Factor, FactorId, Label, Mfa, Policies, TenantId,
    UserId, Verdict,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{TestPorts, ports, submitted};

struct World {
    test: TestPorts,
    mfa: Mfa,
}

/// A device that a user holds in the hand.
struct Device {
    factor: FactorId,
    secret: Secret,
}

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn user() -> Actor {
    Actor::user("test")
}

/// Whoever was verified may add a token in any session: these tests are not about proofs.
fn world(verification: StandardVerification) -> World {
    let test = ports(Arc::new(MemoryStore::default()));
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    let policies = Policies {
        enrolment: Arc::new(enrolment),
        verification: Arc::new(verification),
        ..Policies::default()
    };
    World { mfa: Mfa::new(test.ports.clone(), policies).unwrap(), test }
}

impl Device {
    fn hotp(&self, counter: u64) -> Code {
        Hotp::default().generate(&self.secret, counter)
    }
}

impl World {
    async fn offer(&self, token: Token) -> Device {
        let new = NewFactor::new(Label::new("Token").unwrap(), token);
        let offered = self.mfa.begin_enrolment(&alice(), &user(), new).await.unwrap();
        Device { factor: offered.factor.id, secret: offered.secret }
    }

    async fn totp(&self) -> Device {
        self.offer(Token::Totp(Totp::default())).await
    }

    async fn hotp(&self) -> Device {
        self.offer(Token::Hotp { hotp: Hotp::default(), counter: 0 }).await
    }

    /// What the device shows while its clock is so many steps off.
    fn shown(&self, device: &Device, steps: i64) -> Code {
        let now = self.test.ports.clock.now().unix_seconds().checked_add_signed(30 * steps).unwrap();
        Totp::default().generate(&device.secret, now).unwrap()
    }

    /// The codes of the step before and of this one.
    fn pair(&self, device: &Device, steps: i64) -> [Code; 2] {
        [self.shown(device, steps - 1), self.shown(device, steps)]
    }

    async fn confirm(&self, device: &Device, [first, second]: &[Code; 2]) -> Result<Factor, CodeRejection> {
        let confirmed =
            self.mfa.confirm(&alice(), &user(), device.factor, [first, second]).await.unwrap().into_result();
        confirmed.map(|confirmation| confirmation.factor)
    }

    async fn resynchronise(
        &self,
        device: &Device,
        [first, second]: &[Code; 2],
    ) -> Result<Factor, CodeRejection> {
        self.mfa.resynchronise(&alice(), &user(), device.factor, [first, second]).await.unwrap().into_result()
    }

    async fn verifies(&self, code: &Code) -> bool {
        let verdict = self.mfa.verify(&alice(), &user(), &submitted(code.as_str()), None).await.unwrap();
        matches!(verdict, Verdict::Accepted(_))
    }

    async fn failures(&self) -> u32 {
        self.test.ports.accounts.load(&alice()).await.unwrap().value.attempts.failures
    }

    fn wait(&self, steps: u64) {
        self.test.clock.advance(Duration::from_secs(30 * steps));
    }
}

fn drift(factor: &Factor) -> i16 {
    match &factor.authenticator {
        Authenticator::Totp(device) => device.drift.steps,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_bound_by_two_codes_and_by_one_never() {
    for off in [-240, -14, 14, 240] {
        let world = world(StandardVerification::default());
        let device = world.totp().await;
        let one = submitted(world.shown(&device, off).as_str());
        let rejected = world.mfa.confirm(&alice(), &user(), device.factor, &one).await.unwrap();
        assert!(matches!(rejected, Verdict::Rejected(CodeRejection::Invalid)), "{off}");
        assert_eq!(world.failures().await, 1);

        let pair = world.pair(&device, off);
        let factor = world.confirm(&device, &pair).await.unwrap();
        assert!(factor.is_active() && factor.last_used_at.is_some());
        assert_eq!(i64::from(drift(&factor)), off);
        // The window is where the device is, as narrow as ever, and what bound it is used up, at no cost.
        for code in &pair {
            assert!(!world.verifies(code).await, "{off}");
        }
        assert_eq!(world.failures().await, 0, "{off}");
        world.wait(3);
        for outside in [0, off - 2, off + 2] {
            assert!(!world.verifies(&world.shown(&device, outside)).await, "{off}: {outside}");
        }
        world
            .mfa
            .unlock(&alice(), &Actor::admin("test"), &mfa_domain::Reason::new("x").unwrap())
            .await
            .unwrap();
        assert!(world.verifies(&world.shown(&device, off)).await, "{off}");
        assert!(!world.verifies(&world.shown(&device, off)).await, "{off}");
    }
}

#[tokio::test]
async fn a_counter_that_is_ahead_is_bound_by_two_codes() {
    let world = world(StandardVerification::default());
    let device = world.hotp().await;
    let ahead = |counter| [device.hotp(counter), device.hotp(counter + 1)];
    assert_eq!(world.confirm(&device, &ahead(1001)).await.map(|_| ()), Err(CodeRejection::Invalid));
    assert!(world.confirm(&device, &ahead(1000)).await.unwrap().is_active());
    for counter in [999, 1000, 1001] {
        assert!(!world.verifies(&device.hotp(counter)).await, "{counter}");
    }
    assert!(world.verifies(&device.hotp(1002)).await);
}

#[tokio::test]
async fn a_pending_factor_is_brought_in_step_and_stays_pending() {
    let world = world(StandardVerification::default());
    let device = world.totp().await;
    let factor = world.resynchronise(&device, &world.pair(&device, -20)).await.unwrap();
    assert!(!factor.is_active());
    assert_eq!(drift(&factor), -20);
    world.wait(1);
    let next = submitted(world.shown(&device, -20).as_str());
    let confirmed = world.mfa.confirm(&alice(), &user(), device.factor, &next).await.unwrap();
    assert!(
        matches!(confirmed, Verdict::Accepted(Confirmation { backup_codes: Some(_), .. })),
        "{confirmed:?}"
    );

    world.wait(1);
    assert!(world.verifies(&world.shown(&device, -20)).await);
    let other = world.hotp().await;
    let factor = world.resynchronise(&other, &[other.hotp(700), other.hotp(701)]).await.unwrap();
    assert!(!factor.is_active());
    world.wait(60);
    let late = world.resynchronise(&other, &[other.hotp(702), other.hotp(703)]).await;
    assert_eq!(late.map(|_| ()), Err(CodeRejection::UnknownFactor), "its time ran out");
}

#[tokio::test]
async fn an_active_clock_is_set_forth_and_back_but_no_code_of_the_past_counts() {
    let world = world(StandardVerification::default());
    let device = world.totp().await;
    world.confirm(&device, &world.pair(&device, 0)).await.unwrap();
    // Five minutes later the clock of the device has stood still for a while.
    world.wait(10);
    assert_eq!(drift(&world.resynchronise(&device, &world.pair(&device, -8)).await.unwrap()), -8);
    world.wait(1);
    assert!(world.verifies(&world.shown(&device, -8)).await);
    let progress = world.progress().await;

    // Pairs that were used, one whose first code was, and some from before.
    let used = CodeRejection::Replayed { factor: Some(device.factor) };
    for (past, rejection) in
        [(-8, used), (-9, used), (-7, used), (-10, CodeRejection::Invalid), (-240, CodeRejection::Invalid)]
    {
        let refused = world.resynchronise(&device, &world.pair(&device, past)).await;
        assert_eq!(refused.map(|_| ()), Err(rejection), "{past}");
    }
    assert_eq!(world.progress().await, progress, "a step or a drift moved");
    assert_eq!(world.failures().await, 2, "each pair costs one attempt, used ones none");

    // It is set right.
    assert_eq!(drift(&world.resynchronise(&device, &world.pair(&device, 0)).await.unwrap()), 0);
    for past in [-1, 0, -8] {
        assert!(!world.verifies(&world.shown(&device, past)).await, "{past}");
    }
}

impl World {
    async fn progress(&self) -> Authenticator {
        let account = self.test.ports.accounts.load(&alice()).await.unwrap().value;
        account.factors[0].authenticator.clone()
    }
}

#[tokio::test]
async fn the_policy_says_how_far() {
    let few = StandardVerification {
        resync_steps: ResyncSteps::new(20).unwrap(),
        resync_counters: ResyncWindow::new(10).unwrap(),
        ..StandardVerification::default()
    };
    let world = world(few);
    let phone = world.totp().await;
    assert_eq!(world.confirm(&phone, &world.pair(&phone, 21)).await.map(|_| ()), Err(CodeRejection::Invalid));
    assert_eq!(
        world.confirm(&phone, &world.pair(&phone, -21)).await.map(|_| ()),
        Err(CodeRejection::Invalid)
    );
    let token = world.hotp().await;
    let pair = [token.hotp(11), token.hotp(12)];
    assert_eq!(world.confirm(&token, &pair).await.map(|_| ()), Err(CodeRejection::Invalid));
    assert!(world.resynchronise(&token, &[token.hotp(10), token.hotp(11)]).await.is_ok());
    assert!(world.confirm(&phone, &world.pair(&phone, 20)).await.is_ok());

    // A stricter one, later: what was found is cut to it.
    let strict = Policies { verification: Arc::new(StandardVerification::strict()), ..Policies::default() };
    let strict = World { mfa: Mfa::new(world.test.ports.clone(), strict).unwrap(), test: world.test };
    strict.wait(30);
    assert!(!strict.verifies(&strict.shown(&phone, 20)).await);
    assert!(strict.verifies(&strict.shown(&phone, 0)).await);
}

#[tokio::test]
async fn two_codes_that_are_no_pair_are_worth_nothing() {
    let world = world(StandardVerification::default());
    let device = world.totp().await;
    let [first, second] = world.pair(&device, 0);
    let third = world.shown(&device, 1);
    for pair in [[&second, &first], [&first, &third], [&second, &second]] {
        let refused = world.mfa.confirm(&alice(), &user(), device.factor, pair).await.unwrap();
        assert!(matches!(refused, Verdict::Rejected(CodeRejection::Invalid)));
    }
    assert_eq!(world.failures().await, 3);
    let long = Code::parse("12345678").unwrap();
    let malformed = world.confirm(&device, &[first, long]).await;
    assert_eq!(malformed.map(|_| ()), Err(CodeRejection::Malformed));
    assert_eq!(world.failures().await, 3);
}
