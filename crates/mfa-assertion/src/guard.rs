//! The whole decision before a sensitive action, for layers and middleware.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::{
    Answer, Assertion, Denied, DynUsedOnce, Expected, FetchError, FetchedKeys, KeySet, StepUp, StepUpNeeded,
    Verifier, system_clock,
};

/// How old an assertion that counts once may be at most, in seconds, whatever the step-up allows: as old as its key is
/// sure to be published. It is the same for all guards, so that each remembers a use for as long as any other that
/// shares its store would accept the assertion.
const ONCE_WITHIN: u64 = 60 * 60;

/// How much longer a used assertion is remembered than it is accepted, in seconds: the clock of the store may be ahead,
/// and the last request that was in time may still be under way.
const REMEMBERED_LONGER: u64 = 60;

/// Admits a request if its session has a verification that is recent and strong enough.
///
/// It verifies the assertion that the session has kept, checks what [`StepUp`] asks for, and marks the assertion as
/// used if each is to count once. `mfa-tower` and `mfa-actix` put a guard around routes. In any other framework, send
/// [`answer`](Self::answer) to a request that is denied.
///
/// Clones share the keys and the used assertions:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use mfa_assertion::{FetchedKeys, Guard, MemoryUsedOnce, Presented, StepUp, Verifier, system_clock};
///
/// # async fn get(url: &str) -> Result<String, std::io::Error> { Ok(url.to_owned()) }
/// # async fn run(session: &Presented) {
/// let keys = FetchedKeys::new(|| get("https://mfa.example.com/.well-known/jwks.json"));
/// let guard = Guard::new(Verifier::new("https://mfa.example.com", "acme"), Arc::new(keys));
/// let payments = guard
///     .clone()
///     .step_up(StepUp::new().max_age(Duration::from_secs(120)).phishing_resistant())
///     .used_once(Arc::new(MemoryUsedOnce::new(100_000, system_clock)));
///
/// match payments.admit(Some(session)).await {
///     Ok(assertion) => println!("{} was verified by {:?}", assertion.subject, assertion.methods),
///     Err(denied) => println!("answer with status {}", payments.answer(&denied).status),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Guard {
    verifier: Verifier,
    keys: Arc<dyn Keys>,
    step_up: StepUp,
    used_once: Option<Arc<dyn DynUsedOnce>>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// What the session of a request says: all of it is from the host's own session, none from the request.
///
/// `Debug` shows neither the assertion nor the nonce.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// The assertion that the session has kept since the verification.
    pub assertion: String,
    /// The nonce of the session, which the host gave with the verification. Without one, the assertion would prove as
    /// much in every other session of the user.
    pub nonce: String,
    /// The id of the user whom the session is logged in as, in the server's spelling. With `users.case = "fold"` its
    /// ASCII letters are in lower case: with any other spelling every assertion is refused, and a new verification does
    /// not help.
    pub subject: String,
}

/// [`FetchedKeys`] without the type of its closure.
trait Keys: Send + Sync {
    fn keys_for<'a>(&'a self, jws: &'a str, now: u64) -> FutureKeys<'a>;
}

type FutureKeys<'a> = Pin<Box<dyn Future<Output = Result<Arc<KeySet>, FetchError>> + Send + 'a>>;

impl Guard {
    /// Asks for any verification within the last 5 minutes, by the clock of the operating system.
    #[must_use]
    pub fn new<F, Fut, E>(verifier: Verifier, keys: Arc<FetchedKeys<F>>) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: 'static,
    {
        Self { verifier, keys, step_up: StepUp::new(), used_once: None, clock: Arc::new(system_clock) }
    }

    /// How recent and how strong the verification must be.
    #[must_use]
    pub fn step_up(self, step_up: StepUp) -> Self {
        Self { step_up, ..self }
    }

    /// Each assertion counts once: the next request needs a new verification. An admitted request has used its
    /// assertion up, even if its handler then fails.
    ///
    /// All guards that share the store count together. The store remembers an assertion for an hour after its
    /// verification, and older ones are refused, whatever the step-up allows.
    #[must_use]
    pub fn used_once(self, store: Arc<dyn DynUsedOnce>) -> Self {
        Self { used_once: Some(store), ..self }
    }

    /// The clock, in seconds since 1970. Default [`system_clock`].
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Decides about a request. `presented` is `None` if nobody is logged in, or the session has no assertion.
    ///
    /// # Errors
    /// If the request must not go on.
    pub async fn admit(&self, presented: Option<&Presented>) -> Result<Assertion, Denied> {
        let Presented { assertion: jws, nonce, subject } = presented.ok_or(Denied::Missing)?;
        let keys = self.keys.keys_for(jws, (self.clock)()).await?;
        // Not the time from before: keys may take seconds.
        let now = (self.clock)();
        let expected = Expected { subject, nonce: Some(nonce) };
        let assertion = self.verifier.verify_kept(&keys, jws, expected, now)?;
        self.step_up.check(&assertion, now)?;
        // Last, so that only a request that goes on uses the assertion up.
        if let Some(store) = &self.used_once {
            // An age that equals the limit is allowed, as in a step-up.
            let until = assertion.auth_time.saturating_add(ONCE_WITHIN).saturating_add(1);
            if now >= until {
                return Err(StepUpNeeded::TooOld.into());
            }
            if !store.first_use_boxed(&assertion.id, until.saturating_add(REMEMBERED_LONGER)).await? {
                return Err(Denied::Used);
            }
        }
        Ok(assertion)
    }

    /// The answer to a request that was denied.
    #[must_use]
    pub fn answer(&self, denied: &Denied) -> Answer {
        if denied.is_undecided() { Answer::unavailable() } else { Answer::step_up(&self.step_up) }
    }
}

impl<F, Fut, E> Keys for FetchedKeys<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<String, E>> + Send + 'static,
    E: 'static,
{
    fn keys_for<'a>(&'a self, jws: &'a str, now: u64) -> FutureKeys<'a> {
        Box::pin(self.get(jws, now))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("verifier", &self.verifier)
            .field("step_up", &self.step_up)
            .field("used_once", &self.used_once)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("subject", &self.subject).finish_non_exhaustive()
    }
}
