//! Checks whether the dependencies of the API work.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mfa_domain::ports::{ApiKeyId, ApiKeyStore};
use mfa_domain::{Mfa, Undecided};
use tokio::sync::Mutex;

use crate::chain::Chain;
use crate::clocks::Clocks;
use crate::dependencies::{Dependencies, Health};
use crate::throttling::Throttling;

/// How long a result is reused. `/readyz` needs no API key, so its requests must not load the dependencies.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// The dependencies and the last result. Requests during a check wait for its result.
pub(crate) struct Readiness {
    pub(crate) mfa: Arc<Mfa>,
    pub(crate) api_keys: Arc<dyn ApiKeyStore>,
    pub(crate) throttling: Throttling,
    pub(crate) clocks: Option<Clocks>,
    last: Mutex<Option<(Instant, Dependencies)>>,
}

impl Readiness {
    pub(crate) fn new(
        mfa: Arc<Mfa>,
        api_keys: Arc<dyn ApiKeyStore>,
        throttling: Throttling,
        clocks: Option<Clocks>,
    ) -> Self {
        Self { mfa, api_keys, throttling, clocks, last: Mutex::default() }
    }

    /// The state of each dependency. A dependency that takes longer than `patience` is failing.
    #[expect(clippy::disallowed_methods, reason = "limits a rate in this process; decides nothing")]
    pub(crate) async fn check(&self, patience: Duration) -> Dependencies {
        let mut last = self.last.lock().await;
        if let Some((at, dependencies)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return dependencies;
        }
        let dependencies = self.ask(patience).await;
        *last = Some((Instant::now(), dependencies));
        dependencies
    }

    async fn ask(&self, patience: Duration) -> Dependencies {
        let api_keys = async {
            let Ok(nobody) = ApiKeyId::new("nobody") else { return Health::Unknown };
            tell("api_keys", within(patience, self.api_keys.find(&nobody)).await)
        };
        let accounts_and_keys = async {
            match within(patience, self.mfa.check_ready()).await {
                Err(Failure::Of(error @ Undecided::Vault(_))) => {
                    (Health::Ok, tell::<(), _>("keys", Err(Failure::Of(error))))
                }
                Ok(()) => (Health::Ok, Health::Ok),
                failed => (tell("accounts", failed), Health::Unknown),
            }
        };
        let now = self.mfa.ports().clock.now();
        let throttle = async { tell("throttle", within(patience, self.throttling.probe(now)).await) };
        let ((accounts, keys), api_keys, throttle) = tokio::join!(accounts_and_keys, api_keys, throttle);
        let clock = self.clocks.as_ref().and_then(Clocks::health);
        Dependencies { accounts, keys, api_keys, throttle, clock }
    }
}

/// Why a dependency gave no answer.
enum Failure<E> {
    Of(E),
    Late,
}

async fn within<T, E>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure<E>> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(Failure::Of),
        Err(_) => Err(Failure::Late),
    }
}

fn tell<T, E: Error + 'static>(dependency: &str, answer: Result<T, Failure<E>>) -> Health {
    match answer {
        Ok(_) => return Health::Ok,
        Err(Failure::Of(error)) => tracing::error!(dependency, error = %Chain(&error), "dependency failed"),
        Err(Failure::Late) => tracing::error!(dependency, error = "no answer in time", "dependency failed"),
    }
    Health::Failing
}
