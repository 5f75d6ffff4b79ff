//! When the key set is fetched, and what is served meanwhile.

use std::cell::{Cell, RefCell};
use std::future::{Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mfa_assertion::{FetchError, FetchedKeys, InvalidKeySet, KeySet};
use serde_json::json;

use crate::support::{Issuer, NOW, claims, done};

/// What the issuer publishes, and how often it was asked.
struct Endpoint {
    answer: RefCell<Result<String, &'static str>>,
    calls: Cell<usize>,
}

impl Endpoint {
    fn publishing(issuers: &[&Issuer]) -> Self {
        let endpoint = Self { answer: RefCell::new(Err("down")), calls: Cell::new(0) };
        endpoint.publish(issuers);
        endpoint
    }

    fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        *self.answer.borrow_mut() = Ok(json!({ "keys": keys }).to_string());
    }

    fn fail(&self) {
        *self.answer.borrow_mut() = Err("down");
    }

    fn fetch(&self) -> Ready<Result<String, &'static str>> {
        self.calls.set(self.calls.get() + 1);
        ready(self.answer.borrow().clone())
    }
}

fn ids(keys: Result<Arc<KeySet>, FetchError>) -> Result<Vec<String>, FetchError> {
    keys.map(|keys| keys.key_ids().map(str::to_owned).collect())
}

fn issuers() -> [Issuer; 2] {
    [Issuer::with_kid("ES256", "old"), Issuer::with_kid("ES256", "new")]
}

#[test]
fn keys_are_fetched_when_needed_and_kept_for_five_minutes() {
    let [issuer, _] = issuers();
    let endpoint = Endpoint::publishing(&[&issuer]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let jws = issuer.assertion(&claims());
    assert_eq!(endpoint.calls.get(), 0);
    for (now, calls) in [(NOW, 1), (NOW, 1), (NOW + 299, 1), (NOW + 300, 2), (NOW + 599, 2), (NOW + 600, 3)] {
        assert_eq!(ids(done(keys.get(&jws, now))), Ok(vec!["old".to_owned()]));
        assert_eq!(endpoint.calls.get(), calls, "after {} s", now - NOW);
    }
}

#[test]
fn an_unknown_key_is_looked_for_at_most_every_thirty_seconds() {
    let [old, new] = issuers();
    let endpoint = Endpoint::publishing(&[&old]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let get = |issuer: &Issuer, now| ids(done(keys.get(&issuer.assertion(&claims()), now))).unwrap();
    assert_eq!(get(&old, NOW), ["old"]);
    endpoint.publish(&[&old, &new]);
    assert_eq!(get(&new, NOW + 29), ["old"]);
    assert_eq!(endpoint.calls.get(), 1);
    assert_eq!(get(&old, NOW + 30), ["old"]);
    assert_eq!(endpoint.calls.get(), 1);
    assert_eq!(get(&new, NOW + 30), ["old", "new"]);
    assert_eq!(endpoint.calls.get(), 2);

    let invented = Issuer::with_kid("ES256", "invented");
    for now in NOW + 31..NOW + 60 {
        get(&invented, now);
    }
    assert_eq!(endpoint.calls.get(), 2);
    get(&invented, NOW + 60);
    assert_eq!(endpoint.calls.get(), 3);
}

#[test]
fn what_no_key_could_verify_is_no_reason_to_fetch() {
    let [issuer, other] = issuers();
    let endpoint = Endpoint::publishing(&[&issuer]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let mut header = other.header();
    header["alg"] = json!("HS256");
    let of_another_algorithm = other.signed(header.to_string(), claims().to_string());
    for jws in ["", "a.b.c", &of_another_algorithm] {
        assert!(done(keys.get(jws, NOW)).is_ok());
        assert!(done(keys.get(jws, NOW + 200)).is_ok());
    }
    assert_eq!(endpoint.calls.get(), 1);
}

#[test]
fn the_old_keys_are_served_for_an_hour_while_they_cannot_be_fetched() {
    let [issuer, _] = issuers();
    let endpoint = Endpoint::publishing(&[&issuer]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let jws = issuer.assertion(&claims());
    let get = |now| ids(done(keys.get(&jws, now)));
    assert!(get(NOW).is_ok());
    endpoint.fail();
    for (now, calls) in [(NOW + 300, 2), (NOW + 329, 2), (NOW + 330, 3), (NOW + 3600, 4)] {
        assert_eq!(get(now), Ok(vec!["old".to_owned()]), "after {} s", now - NOW);
        assert_eq!(endpoint.calls.get(), calls, "after {} s", now - NOW);
    }
    assert_eq!(get(NOW + 3601), Err(FetchError::Fetch));
    endpoint.publish(&[&issuer]);
    assert_eq!(get(NOW + 3601), Ok(vec!["old".to_owned()]));
}

#[test]
fn what_is_not_a_key_set_is_an_error_and_replaces_no_keys() {
    let [issuer, _] = issuers();
    let endpoint = Endpoint::publishing(&[&issuer]);
    *endpoint.answer.borrow_mut() = Ok("<html>".to_owned());
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let jws = issuer.assertion(&claims());
    let get = |now| ids(done(keys.get(&jws, now)));
    assert_eq!(get(NOW), Err(FetchError::Invalid(InvalidKeySet::Malformed)));
    endpoint.publish(&[&issuer]);
    assert!(get(NOW + 1).is_ok());
    *endpoint.answer.borrow_mut() = Ok("<html>".to_owned());
    assert_eq!(get(NOW + 301), Ok(vec!["old".to_owned()]));
    assert_eq!(endpoint.calls.get(), 3);
}

#[test]
fn keys_that_were_withdrawn_are_gone_with_the_next_fetch() {
    let [old, new] = issuers();
    let endpoint = Endpoint::publishing(&[&old, &new]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let jws = new.assertion(&claims());
    assert_eq!(ids(done(keys.get(&jws, NOW))).unwrap(), ["old", "new"]);
    endpoint.publish(&[&new]);
    assert_eq!(ids(done(keys.get(&jws, NOW + 300))).unwrap(), ["new"]);
}

#[test]
fn others_get_the_old_keys_while_one_caller_fetches() {
    let [issuer, _] = issuers();
    let (endpoint, open) = (Endpoint::publishing(&[&issuer]), Cell::new(true));
    let (answers, gate) = (&endpoint, &open);
    let keys = FetchedKeys::new(move || async move {
        poll_fn(|_| if gate.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        answers.fetch().await
    });
    let jws = issuer.assertion(&claims());
    assert!(done(keys.get(&jws, NOW)).is_ok());
    open.set(false);
    let mut waiting = pin!(keys.get(&jws, NOW + 300));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(done(keys.get(&jws, NOW + 301)).is_ok());
    assert_eq!(endpoint.calls.get(), 1);
    open.set(true);
    assert!(waiting.as_mut().poll(&mut context).is_ready());
    assert_eq!(endpoint.calls.get(), 2);
}

#[test]
fn keys_from_a_clock_that_was_ahead_are_fetched_again() {
    let [issuer, _] = issuers();
    let endpoint = Endpoint::publishing(&[&issuer]);
    let keys = FetchedKeys::new(|| endpoint.fetch());
    let jws = issuer.assertion(&claims());
    for (now, calls) in [(NOW + 86_400, 1), (NOW, 2), (NOW + 1, 2)] {
        assert!(done(keys.get(&jws, now)).is_ok());
        assert_eq!(endpoint.calls.get(), calls);
    }
}

#[test]
fn the_maximum_age_can_be_chosen_up_to_an_hour() {
    let [issuer, _] = issuers();
    let jws = issuer.assertion(&claims());
    for (max_age, fresh, old) in
        [(Duration::from_mins(1), 59, 60), (Duration::ZERO, 29, 30), (Duration::from_hours(24), 3599, 3600)]
    {
        let endpoint = Endpoint::publishing(&[&issuer]);
        let keys = FetchedKeys::new(|| endpoint.fetch()).max_age(max_age);
        for (age, calls) in [(0, 1), (fresh, 1), (old, 2)] {
            assert!(done(keys.get(&jws, NOW + age)).is_ok());
            assert_eq!(endpoint.calls.get(), calls, "{max_age:?}");
        }
    }
}
