//! Keys that are fetched when they are needed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use crate::jws::Jws;
use crate::{InvalidKeySet, KeySet};

/// How old a key set may be before it is fetched again, in seconds. A new key is published ten minutes before it
/// signs, so a host never meets a key that it does not know.
const MAX_AGE: u64 = 5 * 60;

/// How long a key set is served while it cannot be fetched, in seconds: as long as a retired key stays published.
const MAX_KEPT: u64 = 60 * 60;

/// The least seconds between two fetches while there is a key set to serve, so that assertions with invented key ids
/// do not become requests to the issuer.
const PAUSE: u64 = 30;

/// The key set of an issuer, fetched through a closure and kept.
///
/// It is fetched when first needed, when it is older than [`max_age`](Self::max_age), and when an assertion names a
/// key that is not in it; once there is a key set, at most every 30 seconds. While it is fetched, or a fetch fails,
/// the old one is served, for at most one hour. Without one, every call fetches.
///
/// The closure returns a future of the JSON text, so it works with any HTTP client and runtime. It should give up
/// after a few seconds, take only 200 for an answer, follow no redirect, use HTTPS, and log why it failed: the error
/// is dropped here.
///
/// ```
/// use mfa_assertion::{Expected, FetchedKeys, Verifier};
///
/// # async fn get(url: &str) -> Result<String, std::io::Error> { Ok(url.to_owned()) }
/// # async fn run(assertion: &str, nonce: &str, now: u64) -> Result<(), Box<dyn std::error::Error>> {
/// let keys = FetchedKeys::new(|| get("https://mfa.example.com/.well-known/jwks.json"));
/// let verifier = Verifier::new("https://mfa.example.com", "acme");
///
/// let expected = Expected { subject: "alice", nonce: Some(nonce) };
/// let key_set = keys.get(assertion, now).await?;
/// let verified = verifier.verify(&key_set, assertion, expected, now)?;
/// # Ok(())
/// # }
/// ```
pub struct FetchedKeys<F> {
    fetch: F,
    max_age: u64,
    state: Mutex<State>,
}

/// There is no key set to check the assertion by, so nothing is known about it: not acceptance, and no refusal
/// either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The closure failed.
    #[error("the key set of the issuer could not be fetched")]
    Fetch,
    /// The closure returned something that is not a key set.
    #[error("what the issuer publishes is not a key set")]
    Invalid(#[source] InvalidKeySet),
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// When a fetch last began, in seconds since 1970.
    tried_at: Option<u64>,
}

struct Kept {
    keys: Arc<KeySet>,
    fetched_at: u64,
}

impl<F, Fut, E> FetchedKeys<F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<String, E>>,
{
    /// Fetches nothing yet.
    #[must_use]
    pub fn new(fetch: F) -> Self {
        Self { fetch, max_age: MAX_AGE, state: Mutex::default() }
    }

    /// How old the key set may be before it is fetched again, in whole seconds. Default 5 minutes, at most 1 hour;
    /// less than 30 seconds is as good as 30.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: max_age.as_secs().min(MAX_KEPT), ..self }
    }

    /// The keys to verify this assertion by. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If the keys cannot be fetched, and the old ones are more than an hour old. The assertion is undecided then:
    /// answer that the service is unavailable.
    pub async fn get(&self, jws: &str, now: u64) -> Result<Arc<KeySet>, FetchError> {
        if let Some(keys) = self.without_fetch(jws, now) {
            return Ok(keys);
        }
        let fetched = match (self.fetch)().await {
            Ok(json) => KeySet::from_json(&json).map_err(FetchError::Invalid),
            Err(_) => Err(FetchError::Fetch),
        };
        let mut state = self.state();
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                state.kept = Some(Kept { keys: Arc::clone(&keys), fetched_at: now });
                Ok(keys)
            }
            Err(error) => state.usable(now).map(|kept| Arc::clone(&kept.keys)).ok_or(error),
        }
    }

    /// The kept keys, unless they are to be fetched now. Then others get the old ones meanwhile.
    fn without_fetch(&self, jws: &str, now: u64) -> Option<Arc<KeySet>> {
        let mut state = self.state();
        let paused = state.tried_at.is_some_and(|at| distance(at, now) < PAUSE);
        let kept = state.usable(now);
        let good = |kept: &&Kept| distance(kept.fetched_at, now) < self.max_age && !kept.lacks_key_of(jws);
        let keys = kept.filter(|kept| paused || good(kept)).map(|kept| Arc::clone(&kept.keys));
        if keys.is_none() {
            state.tried_at = Some(now);
        }
        keys
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that could panic leaves it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> fmt::Debug for FetchedKeys<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedKeys").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

impl State {
    fn usable(&self, now: u64) -> Option<&Kept> {
        self.kept.as_ref().filter(|kept| distance(kept.fetched_at, now) <= MAX_KEPT)
    }
}

impl Kept {
    /// Whether a newer key set could have the key. Text that every key set refuses is no reason to fetch one.
    fn lacks_key_of(&self, jws: &str) -> bool {
        let header = Jws::parse(jws).and_then(|jws| jws.header());
        header.is_ok_and(|header| self.keys.find(&header.kid).is_none())
    }
}

/// In either direction: a clock that was wrong, and was set back, is no reason to keep keys for longer.
fn distance(then: u64, now: u64) -> u64 {
    then.abs_diff(now)
}
