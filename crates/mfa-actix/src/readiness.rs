//! Whether what the API depends on works.

use std::error::Error;
use std::time::{Duration, Instant};

use mfa_domain::Undecided;
use mfa_domain::ports::ApiKeyId;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::clocks::Clocks;
use crate::problem::Chain;
use crate::state::State;

/// How long an answer is good for: anybody may ask, and no number of questions may become a load.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// How each dependency fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Dependencies {
    /// The store of accounts and audit events.
    accounts: Health,
    /// The keys of the secrets that are stored.
    keys: Health,
    /// The store of API keys.
    api_keys: Health,
    /// What counts how often somebody calls; while it fails, calls are not throttled.
    throttle: Health,
    /// The clock of this process, by that of the database or of a time server; absent if there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Health>,
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Ok,
    Failing,
    /// It cannot be asked while another does not work.
    Unknown,
}

impl Dependencies {
    /// For the description of the API.
    pub(crate) const EXAMPLE: Self = Self {
        accounts: Health::Ok,
        keys: Health::Ok,
        api_keys: Health::Ok,
        throttle: Health::Ok,
        clock: Some(Health::Ok),
    };

    /// Whether codes can be checked.
    pub(crate) fn suffice(self) -> bool {
        [self.accounts, self.keys, self.api_keys] == [Health::Ok; 3] && self.clock != Some(Health::Failing)
    }
}

/// The last answer. Whoever asks while the dependencies are being asked waits for the same answer.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Dependencies)>>);

impl Readiness {
    #[expect(clippy::disallowed_methods, reason = "limits a rate in this process; decides nothing")]
    pub(crate) async fn check(&self, state: &State) -> Dependencies {
        let mut last = self.0.lock().await;
        if let Some((at, dependencies)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return dependencies;
        }
        let dependencies = ask(state).await;
        *last = Some((Instant::now(), dependencies));
        dependencies
    }
}

async fn ask(state: &State) -> Dependencies {
    // Before the request itself runs out of time.
    let patience = state.request_timeout / 2;
    let api_keys = async {
        let Ok(nobody) = ApiKeyId::new("nobody") else { return Health::Unknown };
        tell("api_keys", within(patience, state.api_keys.find(&nobody)).await)
    };
    let accounts_and_keys = async {
        match within(patience, state.mfa.check_ready()).await {
            Err(Failure::Of(error @ Undecided::Vault(_))) => {
                (Health::Ok, tell::<(), _>("keys", Err(Failure::Of(error))))
            }
            Ok(()) => (Health::Ok, Health::Ok),
            failed => (tell("accounts", failed), Health::Unknown),
        }
    };
    let throttle = async { tell("throttle", within(patience, state.throttling.probe(state)).await) };
    let ((accounts, keys), api_keys, throttle) = tokio::join!(accounts_and_keys, api_keys, throttle);
    let clock = state.clocks.as_ref().and_then(Clocks::health);
    Dependencies { accounts, keys, api_keys, throttle, clock }
}

/// Why there is no answer.
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
        Err(Failure::Of(error)) => tracing::error!(dependency, error = %Chain(&error), "not ready"),
        Err(Failure::Late) => tracing::error!(dependency, error = "no answer in time", "not ready"),
    }
    Health::Failing
}
