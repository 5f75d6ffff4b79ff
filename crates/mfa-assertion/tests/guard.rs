//! What a guard decides about a request.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mfa_assertion::{
    Denied, FetchError, FetchedKeys, Guard, Presented, StepUp, StepUpNeeded, UsedOnce, UsedOnceError,
    system_clock,
};
use serde_json::{Value, json};

use crate::sessions::{CHALLENGE, alice, broken_store, guard, guard_with, memory, published, refused};
use crate::support::{Issuer, NOW, claims_with, done, verifier};

#[test]
fn a_session_with_a_verification_that_is_recent_and_strong_enough_is_admitted_again_and_again() {
    let guard = guard();
    for _ in 0..2 {
        let assertion = done(guard.admit(Some(&alice()))).unwrap();
        assert_eq!((assertion.subject.as_str(), assertion.auth_time), ("alice", NOW - 120));
    }
}

#[test]
fn every_other_session_is_refused_for_its_own_reason() {
    let guard = guard();
    for (session, reason) in refused() {
        let denied = done(guard.admit(session.as_ref())).unwrap_err();
        assert_eq!(denied.to_string(), reason);
        assert!(!denied.is_undecided(), "{reason}");
    }
}

#[test]
fn the_answer_says_what_is_needed_and_never_why_it_was_not_enough() {
    let guard = guard();
    for (session, reason) in refused() {
        let answer = guard.answer(&done(guard.admit(session.as_ref())).unwrap_err());
        assert_eq!(answer.status, 401, "{reason}");
        assert_eq!(
            answer.headers,
            [
                ("www-authenticate", CHALLENGE.to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("content-type", "application/problem+json".to_owned()),
            ],
            "{reason}"
        );
        let body: Value = serde_json::from_str(answer.body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Unauthorized",
                "status": 401,
                "detail": "A more recent or a stronger verification is required",
            }),
            "{reason}"
        );
    }
}

#[test]
fn without_keys_nothing_is_decided() {
    let guard = guard_with(|| ready(Err("no route to host")));
    let denied = done(guard.admit(Some(&alice()))).unwrap_err();
    assert!(matches!(denied, Denied::Keys(FetchError::Fetch)), "{denied:?}");
    let answer = guard.answer(&denied);
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.headers,
        [
            ("retry-after", "1".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("content-type", "application/problem+json".to_owned()),
        ]
    );
    let body: Value = serde_json::from_str(answer.body).unwrap();
    assert_eq!(body["status"], 503);
    assert!(!answer.body.contains("route"), "{}", answer.body);
}

#[test]
fn while_used_assertions_cannot_be_told_nothing_is_decided() {
    let guard = guard().used_once(broken_store());
    let denied = done(guard.admit(Some(&alice()))).unwrap_err();
    assert!(matches!(denied, Denied::UsedOnce(_)), "{denied:?}");
    assert_eq!(guard.answer(&denied).status, 503);
}

#[test]
fn an_assertion_that_counts_once_is_refused_by_every_guard_that_shares_the_store() {
    let one = guard().used_once(memory());
    let other = one.clone().step_up(StepUp::new().max_age(Duration::from_mins(2)));
    assert!(done(one.admit(Some(&alice()))).is_ok());
    for guard in [one, other] {
        let denied = done(guard.admit(Some(&alice()))).unwrap_err();
        assert!(matches!(denied, Denied::Used), "{denied:?}");
        assert_eq!(guard.answer(&denied).status, 401);
    }
}

#[test]
fn a_request_that_is_refused_uses_no_assertion_up() {
    let guard = guard().used_once(memory());
    let strict = guard.clone().step_up(StepUp::new().max_age(Duration::from_secs(1)));
    let denied = done(strict.admit(Some(&alice()))).unwrap_err();
    assert!(matches!(denied, Denied::StepUp(StepUpNeeded::TooOld)), "{denied:?}");
    assert!(done(guard.admit(Some(&alice()))).is_ok());
}

/// Another guard with the same store may allow a higher age.
#[test]
fn a_used_assertion_is_remembered_for_an_hour_and_a_minute_whatever_age_the_guard_allows() {
    /// What the store was told.
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<(String, u64)>>);

    impl UsedOnce for Told {
        async fn first_use(&self, id: &str, until: u64) -> Result<bool, UsedOnceError> {
            self.0.lock().unwrap().push((id.to_owned(), until));
            Ok(true)
        }
    }

    for minutes in [2, 90] {
        let told = Arc::new(Told::default());
        let guard = guard().step_up(StepUp::new().max_age(Duration::from_mins(minutes)));
        let assertion = done(guard.used_once(told.clone()).admit(Some(&alice()))).unwrap();
        let until = assertion.auth_time + 3600 + 1 + 60;
        assert_eq!(*told.0.lock().unwrap(), [(assertion.id, until)], "{minutes}");
    }
}

#[test]
fn an_assertion_that_counts_once_counts_for_an_hour_although_the_guard_allows_more() {
    let guard = guard().step_up(StepUp::new().max_age(Duration::from_hours(2)));
    for (age, counts_once) in [(3600, true), (3601, false)] {
        // The verification of the session was two minutes ago.
        let guard = guard.clone().clock(move || NOW - 120 + age);
        assert!(done(guard.admit(Some(&alice()))).is_ok(), "{age}");
        let admitted = done(guard.used_once(memory()).admit(Some(&alice())));
        match admitted {
            Ok(_) => assert!(counts_once, "{age}"),
            Err(Denied::StepUp(StepUpNeeded::TooOld)) => assert!(!counts_once, "{age}"),
            Err(denied) => panic!("{age}: {denied:?}"),
        }
    }
}

#[test]
fn the_age_is_that_after_the_keys_were_fetched() {
    let clock = Arc::new(AtomicU64::new(NOW));
    let guard = guard_with({
        let clock = clock.clone();
        move || {
            clock.fetch_add(1, Ordering::Relaxed);
            ready(Ok::<_, Infallible>(published()))
        }
    });
    let guard = guard.clock(move || clock.load(Ordering::Relaxed));
    let denied = done(guard.admit(Some(&alice()))).unwrap_err();
    assert!(matches!(denied, Denied::StepUp(StepUpNeeded::TooOld)), "{denied:?}");
}

#[test]
fn by_default_any_verification_of_the_last_five_minutes_counts_by_the_clock_of_the_system() {
    let issuer = Issuer::new("EdDSA");
    let keys = json!({ "keys": [issuer.jwk()] }).to_string();
    let fetched = FetchedKeys::new(move || ready(Ok::<_, Infallible>(keys.clone())));
    let guard = Guard::new(verifier(), Arc::new(fetched));
    let admitted = |age: u64| {
        let at = system_clock() - age;
        let mut claims = claims_with("auth_time", Some(json!(at)));
        claims["iat"] = json!(at);
        let session = Presented { assertion: issuer.assertion(&claims), ..alice() };
        done(guard.admit(Some(&session))).map(|_| ()).map_err(|denied| denied.to_string())
    };
    assert_eq!(admitted(0), Ok(()));
    assert_eq!(admitted(240), Ok(()));
    assert_eq!(admitted(301), Err("the verification is too old".to_owned()));
}

#[test]
fn debug_shows_neither_an_assertion_nor_a_nonce() {
    let session = alice();
    let shown = format!("{session:?} {:?}", guard());
    assert!(shown.contains("alice"), "{shown}");
    assert!(!shown.contains(&session.assertion) && !shown.contains(&session.nonce), "{shown}");
}
