//! The account's decisions, without any port: for any sequence of operations, a code is accepted once, every guess
//! costs an attempt, and every change is recorded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use otp_core::{Hotp, Secret, Totp};
use proptest::prelude::*;

use super::{Decision, Evidence, OpenSecret, Session, Verifications};
use crate::audit::AuditHead;
use crate::policy::{ProofScope, StandardEnrolment, StandardLockout, StandardVerification, Standing};
use crate::{
    Account, AccountKey, Actor, AuditEvent, Authenticator, CodeRejection, Context, Delta, EventKind, Factor,
    FactorId, FactorState, HotpDevice, KeyId, Label, Policies, PolicyDenial, Reason, Sealed, SubmittedCode,
    TenantId, Timestamp, TotpDevice, UserId, Verdict,
};

const START: u64 = 1_700_000_000;

/// A user with one device of each kind, without a store.
struct World {
    key: AccountKey,
    policies: Policies,
    account: Account,
    now: Timestamp,
    events: Vec<AuditEvent>,
}

fn secret(number: u8) -> Secret {
    Secret::from_bytes(&[number; 20]).unwrap()
}

fn sealed(number: u8) -> Sealed {
    Sealed { key: KeyId::new("k1"), bytes: vec![number] }
}

fn open(factor: &Factor) -> OpenSecret {
    let number = factor.sealed.as_ref().unwrap().bytes[0];
    OpenSecret { factor: factor.id, sealed: sealed(number), secret: secret(number), resealed: None }
}

impl World {
    fn new() -> Self {
        let key = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
        let now = Timestamp::from_unix_seconds(START);
        let enrolment =
            StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
        let policies = Policies { enrolment: Arc::new(enrolment), ..Policies::default() };
        Self { key, policies, account: Account::default(), now, events: Vec::new() }
    }

    /// With an active TOTP device (secret 1) and an active HOTP device (secret 2).
    fn enrolled() -> Self {
        let mut world = Self::new();
        let totp = TotpDevice::new(Totp::default());
        let hotp = HotpDevice { hotp: Hotp::default(), counter: 0 };
        for (number, authenticator) in [(1, Authenticator::Totp(totp)), (2, Authenticator::Hotp(hotp))] {
            let factor = world.factor(number, authenticator);
            world.account.factors.push(Factor { state: FactorState::Active, ..factor });
        }
        world
    }

    fn factor(&self, number: u8, authenticator: Authenticator) -> Factor {
        Factor {
            id: FactorId::fresh(self.now, &[number; 10]),
            label: Label::new("phone").unwrap(),
            state: FactorState::Pending {
                expires_at: self.now.plus(Duration::from_mins(10)),
                replaces: None,
            },
            created_at: self.now,
            last_used_at: None,
            sealed: Some(sealed(number)),
            authenticator,
        }
    }

    fn commit(&mut self, delta: Option<Delta>) {
        let Some(delta) = delta else { return };
        assert!(!delta.events().is_empty());
        let mut head = self.account.audit_head;
        for event in delta.events() {
            head = head.extend(&self.key, event).unwrap();
            self.events.push(event.clone());
        }
        self.account.apply(&delta);
        assert_eq!(self.account.audit_head, head);
    }

    fn decide<T>(
        &mut self,
        actor: &Actor,
        decide: impl FnOnce(&Account, Context<'_>) -> (T, Option<Delta>),
    ) -> T {
        let context = Context {
            key: &self.key,
            actor,
            now: self.now,
            policies: &self.policies,
            session: Session::default(),
        };
        let (answer, delta) = decide(&self.account, context);
        self.commit(delta);
        answer
    }

    fn verify(&mut self, code: &str) -> Verdict {
        let code = SubmittedCode::parse(code).unwrap();
        let secrets: Vec<_> = self.account.active_factors().map(open).collect();
        self.decide(&Actor::user("test"), |account, context| {
            let decision = account.verify(context, &code, None, &Evidence::Secrets(&secrets));
            (decision.answer, decision.delta)
        })
    }

    fn totp(&self, step_offset: i64) -> String {
        let at = self.now.unix_seconds().checked_add_signed(step_offset * 30).unwrap();
        Totp::default().generate(&secret(1), at).unwrap().as_str().to_owned()
    }

    fn hotp(counter: u64) -> String {
        Hotp::default().generate(&secret(2), counter).as_str().to_owned()
    }

    fn standing(&self) -> Standing {
        self.policies.lockout.judge(&self.account.attempts).at(self.now)
    }

    fn count(&self, kind: &EventKind) -> usize {
        self.events.iter().filter(|event| event.kind == *kind).count()
    }

    fn progress(&self) -> Vec<u64> {
        let progress = |factor: &Factor| match &factor.authenticator {
            Authenticator::Totp(device) => device.last_step.map_or(0, |step| step + 1),
            Authenticator::Hotp(device) => device.counter,
            other => panic!("{other:?}"),
        };
        self.account.factors.iter().map(progress).collect()
    }
}

fn is_verified(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted(_))
}

#[derive(Clone, Debug)]
enum Act {
    /// The TOTP code this many steps from now.
    Totp(i64),
    /// The HOTP code this many counters from the next one.
    Hotp(i64),
    /// A code that is most probably wrong.
    Guess(u32),
    /// The last code that was accepted.
    Replay,
    /// The clock moves, either way.
    Clock(i64),
    /// An operator unlocks.
    Unlock,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (-3..=3_i64).prop_map(Act::Totp),
        3 => (-2..=5_i64).prop_map(Act::Hotp),
        2 => (0..1_000_000_u32).prop_map(Act::Guess),
        2 => Just(Act::Replay),
        4 => (-100..=100_i64).prop_map(Act::Clock),
        1 => (0..100_000_i64).prop_map(Act::Clock),
        1 => Just(Act::Unlock),
    ];
    prop::collection::vec(act, 1..80)
}

proptest! {
    #[test]
    fn in_whatever_order_a_code_counts_once_and_every_guess_costs(acts in acts()) {
        let mut world = World::enrolled();
        let mut accepted: BTreeSet<(usize, u64)> = BTreeSet::new();
        let mut last = world.totp(0);
        for act in acts {
            let before = (world.account.clone(), world.progress(), world.standing());
            let code = match act {
                Act::Clock(seconds) => {
                    let millis = world.now.unix_millis().saturating_add_signed(seconds * 1000);
                    world.now = Timestamp::from_unix_millis(millis);
                    continue;
                }
                Act::Unlock => {
                    let unlocked = world.decide(&Actor::admin("test"), |account, context| {
                        match account.unlock(context, &Reason::new("test").unwrap()) {
                            Ok(delta) => (true, delta),
                            Err(_) => (false, None),
                        }
                    });
                    prop_assert!(unlocked);
                    prop_assert_eq!(world.standing(), Standing::Open);
                    continue;
                }
                Act::Totp(offset) => world.totp(offset),
                Act::Hotp(offset) => World::hotp(before.1[1].saturating_add_signed(offset)),
                Act::Guess(number) => format!("{number:06}"),
                Act::Replay => last.clone(),
            };
            let verdict = world.verify(&code);
            let progress = world.progress();
            for (factor, (then, now)) in before.1.iter().zip(&progress).enumerate() {
                prop_assert!(now >= then, "a step or counter fell");
                if now > then {
                    prop_assert!(is_verified(&verdict));
                    prop_assert!(accepted.insert((factor, *now)), "accepted twice");
                }
            }
            match verdict {
                Verdict::Accepted(_) => {
                    prop_assert_eq!(before.2, Standing::Open);
                    prop_assert_ne!(&progress, &before.1, "accepted without being used up");
                    prop_assert_eq!(world.account.attempts.failures, 0);
                    last = code.clone();
                    // The same code again is a replay: never accepted, and not a guess.
                    let verified = world.account.clone();
                    let again = world.verify(&code);
                    prop_assert!(matches!(again, Verdict::Rejected(CodeRejection::Replayed { .. })), "{:?}", again);
                    prop_assert_eq!(&world.account, &verified);
                }
                Verdict::Rejected(CodeRejection::Replayed { .. }) => {
                    prop_assert_eq!(before.2, Standing::Open);
                    prop_assert_eq!(&world.account, &before.0, "a used code changed something");
                }
                Verdict::Rejected(CodeRejection::Invalid) => {
                    prop_assert_eq!(world.account.attempts.failures, before.0.attempts.failures + 1);
                }
                Verdict::Rejected(CodeRejection::Locked { until }) => {
                    prop_assert!(until > world.now);
                    prop_assert_eq!(&world.account, &before.0, "a locked account changed");
                }
                Verdict::Rejected(other) => prop_assert!(false, "{:?}", other),
            }
        }
        let head = world.events.iter().try_fold(AuditHead::default(), |head, event| head.extend(&world.key, event));
        prop_assert_eq!(head.unwrap(), world.account.audit_head);
    }
}

#[test]
fn the_sixth_guess_is_not_evaluated_and_right_or_wrong_get_the_same_answer() {
    let mut world = World::enrolled();
    for _ in 0..5 {
        assert_eq!(world.verify("000000"), Verdict::Rejected(CodeRejection::Invalid));
    }
    let until = world.now.plus(Duration::from_mins(15));
    let right = world.totp(0);
    for code in [right.as_str(), "000000", &World::hotp(0)] {
        assert_eq!(world.verify(code), Verdict::Rejected(CodeRejection::Locked { until }));
    }
    assert_eq!(world.count(&EventKind::VerificationFailed), 5);
    assert_eq!(world.count(&EventKind::Locked), 1);

    // After the lock, one more failure locks for twice as long.
    world.now = until;
    assert_eq!(world.verify("000000"), Verdict::Rejected(CodeRejection::Invalid));
    let until = world.now.plus(Duration::from_mins(30));
    assert_eq!(world.verify("000000"), Verdict::Rejected(CodeRejection::Locked { until }));
}

#[test]
fn a_hundred_failures_in_a_row_disable_until_a_reset() {
    let mut world = World::enrolled();
    let lockout = StandardLockout { rolling_failures: 64, ..StandardLockout::default() };
    world.policies.lockout = std::sync::Arc::new(lockout);
    for _ in 0..100 {
        assert_eq!(world.verify("000000"), Verdict::Rejected(CodeRejection::Invalid));
        world.now = world.now.plus(Duration::from_hours(31 * 24));
    }
    assert_eq!(world.verify(&world.totp(0)), Verdict::Rejected(CodeRejection::Disabled));
    assert_eq!(world.count(&EventKind::Disabled), 1);
    let admin = Actor::admin("test");
    let reason = Reason::new("checked").unwrap();
    let refused =
        world.decide(&admin, |account, context| (account.unlock(context, &reason).unwrap_err(), None));
    assert_eq!(refused, PolicyDenial::Disabled);
    world.decide(&admin, |account, context| ((), account.reset(context, &reason)));
    assert_eq!(world.verify("000000"), Verdict::Rejected(CodeRejection::NotEnrolled));
    assert_eq!(world.standing(), Standing::Open);
}

#[test]
fn changes_that_give_access_need_a_fresh_verification_even_from_an_operator() {
    let mut world = World::enrolled();
    let device = TotpDevice::new(Totp::default());
    let offered = world.factor(3, Authenticator::Totp(device));
    let id = world.account.factors[0].id;
    let attempt = |world: &mut World, actor: &Actor| {
        let offered = offered.clone();
        world.decide(actor, |account, context| {
            let added = account.begin_enrolment(context, offered).is_ok();
            let codes = account.admit_backup_codes(context).is_ok();
            let revoked = account.revoke(context, id).is_ok();
            let renamed = account.rename(context, id, &Label::new("x").unwrap()).is_ok();
            ([added, codes, revoked, renamed], None)
        })
    };
    let (user, admin) = (Actor::user("test"), Actor::admin("test"));
    assert_eq!(attempt(&mut world, &user), [false, false, false, true]);
    assert_eq!(attempt(&mut world, &admin), [false, false, true, true]);
    let code = world.totp(0);
    assert!(is_verified(&world.verify(&code)));
    assert_eq!(attempt(&mut world, &user), [true; 4]);
    world.now = world.now.plus(Duration::from_mins(5));
    assert_eq!(attempt(&mut world, &user), [true; 4]);
    world.now = world.now.plus(Duration::from_secs(1));
    assert_eq!(attempt(&mut world, &user), [false, false, false, true]);
}

#[test]
fn confirming_uses_the_code_up_gives_no_proof_and_replaces_the_old_device() {
    let mut world = World::enrolled();
    let old = world.account.factors[0].id;
    let user = Actor::user("test");
    let device = TotpDevice::new(Totp::default());
    let mut new = world.factor(3, Authenticator::Totp(device));
    new.state =
        FactorState::Pending { expires_at: world.now.plus(Duration::from_mins(10)), replaces: Some(old) };
    let code = World::hotp(0);
    assert!(is_verified(&world.verify(&code)));
    let proved_at = world.account.attempts.verified;
    world.now = world.now.plus(Duration::from_mins(1));
    let offered = new.clone();
    world.decide(&user, |account, context| ((), account.begin_enrolment(context, offered).unwrap()));
    assert!(world.account.factor(old).is_some(), "the old device works until the new one does");

    let first = Totp::default().generate(&secret(3), world.now.unix_seconds()).unwrap();
    let first = SubmittedCode::parse(first.as_str()).unwrap();
    let pending = open(world.account.factor(new.id).unwrap());
    let confirmed = world.decide(&user, |account, context| {
        let decision =
            account.confirm(context, new.id, (&first).into(), &Evidence::Secrets(&[pending]), None);
        (decision.answer, decision.delta)
    });
    assert!(confirmed.into_result().unwrap().is_active());
    assert!(world.account.factor(old).is_none());
    assert_eq!(world.account.attempts.verified, proved_at);
    let SubmittedCode::OneTimePassword(first) = first else { panic!() };
    assert!(!is_verified(&world.verify(first.as_str())), "the confirming code again");
    assert!(!is_verified(&world.verify(&world.totp(0))), "a code of the old device");
}

/// An attacker who only has the password offers a factor before the owner enrols, and waits.
#[test]
fn a_factor_that_was_offered_without_proof_dies_with_the_first_activation() {
    let mut world = World::new();
    let user = Actor::user("test");
    let device = || Authenticator::Totp(TotpDevice::new(Totp::default()));
    let (intruders, owners) = (world.factor(3, device()), world.factor(1, device()));
    for offered in [intruders.clone(), owners.clone()] {
        world.decide(&user, |account, context| ((), account.begin_enrolment(context, offered).unwrap()));
    }
    let confirm = |world: &mut World, id: FactorId, number: u8| {
        let code = Totp::default().generate(&secret(number), world.now.unix_seconds()).unwrap();
        let code = SubmittedCode::parse(code.as_str()).unwrap();
        let secret =
            OpenSecret { factor: id, sealed: sealed(number), secret: secret(number), resealed: None };
        world.decide(&user, |account, context| {
            let decision = account.confirm(context, id, (&code).into(), &Evidence::Secrets(&[secret]), None);
            (decision.answer.into_result().map(|factor| factor.id), decision.delta)
        })
    };
    assert_eq!(confirm(&mut world, owners.id, 1), Ok(owners.id));
    assert_eq!(confirm(&mut world, intruders.id, 3), Err(CodeRejection::UnknownFactor));
    assert_eq!(world.account.factors.len(), 1);
    assert_eq!(world.count(&EventKind::EnrolmentAbandoned), 1);
}

#[test]
fn a_stricter_policy_bounds_a_drift_that_was_learned_before() {
    let mut world = World::enrolled();
    let Authenticator::Totp(device) = &mut world.account.factors[0].authenticator else { panic!() };
    device.drift.steps = -2;
    world.policies.verification = std::sync::Arc::new(StandardVerification::strict());
    let code = world.totp(-2);
    assert!(!is_verified(&world.verify(&code)));
    let code = world.totp(0);
    assert!(is_verified(&world.verify(&code)));
}

#[test]
fn a_disabled_user_whose_factors_an_operator_removed_enrols_anew() {
    let mut world = World::enrolled();
    (0..100).for_each(|_| world.account.attempts.fail(world.now));
    world.now = world.now.plus(Duration::from_hours(31 * 24));
    assert_eq!(world.standing(), Standing::Disabled);
    for id in world.account.factors.iter().map(|factor| factor.id).collect::<Vec<_>>() {
        world.decide(&Actor::admin("test"), |account, context| ((), account.revoke(context, id).unwrap()));
    }
    assert_eq!(world.standing(), Standing::Open);
}

#[test]
fn a_counter_at_its_end_accepts_nothing_that_could_not_be_used_up() {
    let mut world = World::enrolled();
    let Authenticator::Hotp(device) = &mut world.account.factors[1].authenticator else { panic!() };
    device.counter = HotpDevice::MAX_COUNTER - 1;
    assert!(is_verified(&world.verify(&World::hotp(HotpDevice::MAX_COUNTER - 1))));
    assert!(!is_verified(&world.verify(&World::hotp(HotpDevice::MAX_COUNTER))));
    assert!(!is_verified(&world.verify(&World::hotp(HotpDevice::MAX_COUNTER + 1))));
}

#[test]
fn a_pending_factor_protects_nothing_and_expires() {
    let mut world = World::new();
    let user = Actor::user("test");
    let device = TotpDevice::new(Totp::default());
    let offered = world.factor(1, Authenticator::Totp(device));
    let id = offered.id;
    world.decide(&user, |account, context| ((), account.begin_enrolment(context, offered).unwrap()));
    let code = world.totp(0);
    assert_eq!(world.verify(&code), Verdict::Rejected(CodeRejection::NotEnrolled));
    world.now = world.now.plus(Duration::from_mins(10));
    let code = SubmittedCode::parse(&world.totp(0)).unwrap();
    let late = world.decide(&user, |account, context| {
        (account.awaiting_confirmation(context, id, (&code).into()).map(|factor| factor.id), None)
    });
    assert_eq!(late, Err(CodeRejection::UnknownFactor));
}

#[test]
fn what_changes_nothing_records_nothing() {
    let mut world = World::enrolled();
    let (user, admin) = (Actor::user("test"), Actor::admin("test"));
    let id = world.account.factors[0].id;
    let reason = Reason::new("test").unwrap();
    let rename = |world: &mut World, label: &str| {
        world.decide(&user, |account, context| {
            let Decision { answer, delta } =
                account.rename(context, id, &Label::new(label).unwrap()).unwrap();
            (answer.label.to_string(), delta)
        })
    };
    assert_eq!(rename(&mut world, " work phone "), "work phone");
    for _ in 0..3 {
        assert_eq!(rename(&mut world, "work phone"), "work phone");
        world.decide(&admin, |account, context| ((), account.unlock(context, &reason).unwrap()));
    }
    assert_eq!(world.count(&EventKind::FactorRenamed), 1);
    assert_eq!(world.count(&EventKind::Unlocked), 0);
    // The failures of an open account count towards a lock, so there is something to lift, once.
    assert!(!is_verified(&world.verify("000000")));
    for _ in 0..3 {
        world.decide(&admin, |account, context| ((), account.unlock(context, &reason).unwrap()));
        world.decide(&admin, |account, context| ((), account.reset(context, &reason)));
    }
    assert_eq!((world.count(&EventKind::Unlocked), world.count(&EventKind::Reset)), (1, 1));
}

#[test]
fn no_two_active_factors_have_one_label() {
    let mut world = World::enrolled();
    let user = Actor::user("test");
    let (first, second) = (world.account.factors[0].id, world.account.factors[1].id);
    let rename = |world: &mut World, id: FactorId, label: &str| {
        world.decide(&user, |account, context| {
            let Decision { answer, delta } =
                account.rename(context, id, &Label::new(label).unwrap()).unwrap();
            (answer.label.to_string(), delta)
        })
    };
    assert_eq!(rename(&mut world, first, "phone"), "phone 2", "both were made with one label");
    assert_eq!(rename(&mut world, second, "token"), "token");
    assert_eq!(rename(&mut world, first, "phone"), "phone");
    assert_eq!(rename(&mut world, second, "phone"), "phone 2");
    assert_eq!(rename(&mut world, second, "phone"), "phone 2", "it is its own");
    assert!(is_verified(&world.verify(&world.totp(0))));

    let pending = |world: &World, number: u8, replaces: Option<FactorId>| {
        let device = TotpDevice::new(Totp::default());
        let expires_at = world.now.plus(Duration::from_mins(10));
        let state = FactorState::Pending { expires_at, replaces };
        Factor { state, ..world.factor(number, Authenticator::Totp(device)) }
    };
    let offer = |world: &mut World, factor: Factor| {
        world.decide(&user, |account, context| ((), account.begin_enrolment(context, factor).unwrap()));
    };
    let confirm = |world: &mut World, factor: &Factor, number: u8| {
        let code = Totp::default().generate(&secret(number), world.now.unix_seconds()).unwrap();
        let code = SubmittedCode::parse(code.as_str()).unwrap();
        let open = OpenSecret { factor: factor.id, ..open(factor) };
        world.decide(&user, |account, context| {
            let decision =
                account.confirm(context, factor.id, (&code).into(), &Evidence::Secrets(&[open]), None);
            (decision.answer.into_result().unwrap().label.to_string(), decision.delta)
        })
    };
    // Pending factors keep the requested label. They get a number when they become active.
    let (third, fourth) = (pending(&world, 3, None), pending(&world, 4, None));
    offer(&mut world, third.clone());
    offer(&mut world, fourth.clone());
    assert_eq!(confirm(&mut world, &fourth, 4), "phone 3");
    assert_eq!(confirm(&mut world, &third, 3), "phone 4");
    // A factor may take the label of the one that it replaces.
    let fifth = pending(&world, 5, Some(first));
    offer(&mut world, fifth.clone());
    assert_eq!(confirm(&mut world, &fifth, 5), "phone");
    let mut labels: Vec<_> = world.account.active_factors().map(|factor| factor.label.to_string()).collect();
    labels.sort();
    assert_eq!(labels, ["phone", "phone 2", "phone 3", "phone 4"]);
}

#[test]
fn erasing_leaves_the_trail_and_nothing_else() {
    let mut world = World::enrolled();
    assert!(!is_verified(&world.verify("000000")));
    let admin = Actor::admin("test");
    world.decide(&admin, |account, context| ((), account.erase(context)));
    let head = world.account.audit_head;
    assert_eq!(world.account, Account { audit_head: head, ..Account::default() });
    assert_eq!(world.events.last().unwrap().kind, EventKind::Erased);
    // Nothing is left to erase, reset or unlock, so nothing is recorded.
    let reason = Reason::new("again").unwrap();
    world.decide(&admin, |account, context| ((), account.erase(context)));
    world.decide(&admin, |account, context| ((), account.reset(context, &reason)));
    world.decide(&admin, |account, context| ((), account.unlock(context, &reason).unwrap()));
    assert_eq!(world.account.audit_head, head);
    // There was never anything to erase.
    let mut never = World::new();
    never.decide(&admin, |account, context| ((), account.erase(context)));
    assert!(never.events.is_empty());
}

#[test]
fn resynchronising_moves_a_counter_forward_only() {
    let mut world = World::enrolled();
    let id = world.account.factors[1].id;
    let secret = open(&world.account.factors[1]);
    let resynchronise = |world: &mut World, counter: u64| {
        let [a, b] =
            [counter, counter + 1].map(|counter| Hotp::default().generate(&self::secret(2), counter));
        world.decide(&Actor::user("test"), |account, context| {
            let decision = account.resynchronise(
                context,
                id,
                [&a, &b],
                &Evidence::Secrets(std::slice::from_ref(&secret)),
            );
            (decision.answer.into_result().map(|_| ()), decision.delta)
        })
    };
    assert_eq!(resynchronise(&mut world, 50), Ok(()));
    assert_eq!(world.progress()[1], 52);
    assert_eq!(resynchronise(&mut world, 50), Err(CodeRejection::Replayed { factor: Some(id) }));
    assert_eq!(resynchronise(&mut world, 49), Err(CodeRejection::Replayed { factor: Some(id) }));
    assert_eq!(resynchronise(&mut world, 51), Err(CodeRejection::Replayed { factor: Some(id) }));
    assert_eq!(world.account.attempts.failures, 0, "used codes are no guesses");
    assert_eq!(resynchronise(&mut world, 20), Err(CodeRejection::Invalid));
    assert_eq!(world.progress()[1], 52);
    assert_eq!(world.account.attempts.failures, 1);
    assert!(world.account.attempts.verified == Verifications::default(), "it is no verification");
    assert!(is_verified(&world.verify(&World::hotp(52))));
}
