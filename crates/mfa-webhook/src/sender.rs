//! The delivery loop: read, claim, post, store the result.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::delivery::Claimable;
use mfa_domain::ports::{
    Clock, Commit, DeliveryStore, Entropy, EventPosition, StoreError, UnreadableEvent, Vault,
};
use mfa_domain::{Delivery, Timestamp, Version, Versioned};

use crate::batch::Batch;
use crate::{Answer, Endpoint, Http, Message};

/// Pause before looking again when there was nothing to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Events that are read at a time: more than a message holds, for endpoints that match few of them.
const PAGE: u32 = 200;

/// How long a claim outlasts an attempt: the time to store the result.
const MARGIN: Duration = Duration::from_secs(5);

/// Delivers the trail to one endpoint. Any number of replicas may run a sender for the same endpoint; claims
/// in the store ensure that one of them sends at a time.
#[derive(Debug)]
pub struct Sender {
    endpoint: Endpoint,
    store: Arc<dyn DeliveryStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    http: Http,
    /// The version of our claim that has no result yet.
    claim: Option<Version>,
    /// Whether the last call of the store failed.
    store_failed: bool,
}

/// The result of one turn of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Progress was made, and there may be more to do at once.
    Moved,
    /// There is nothing to do now: no event, another replica's claim, or a wait after a failure.
    Nothing,
    /// The endpoint did not accept a message.
    Failed,
}

impl Sender {
    /// A sender that is not running yet. The vault makes the event ids that the HTTP API shows.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        store: Arc<dyn DeliveryStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        http: Http,
    ) -> Self {
        Self { endpoint, store, vault, clock, entropy, http, claim: None, store_failed: false }
    }

    /// Registers the endpoint in the store, so that no event is missed from now on.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn begin(&self) -> Result<(), StoreError> {
        if self.store.delivery(&self.endpoint.id).await?.is_none() {
            let first = if self.endpoint.from_the_beginning {
                EventPosition(0)
            } else {
                self.store.last_event().await?
            };
            // A conflict means that another replica has registered it.
            let _ = self.swap(Version::default(), &Delivery::starting_after(first)).await?;
        }
        Ok(())
    }

    /// Delivers until `end` completes, and releases its claim.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let step = tokio::select! {
                biased;
                () = &mut end => break,
                step = self.step() => step,
            };
            if self.has_moved(step) {
                continue;
            }
            tokio::select! {
                () = &mut end => break,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        if let Err(error) = self.release().await {
            tracing::warn!(endpoint = %self.endpoint.id, %error, "a claim could not be released; it expires by itself");
        }
    }

    fn has_moved(&mut self, step: Result<Step, StoreError>) -> bool {
        let failed_before = std::mem::replace(&mut self.store_failed, step.is_err());
        match step {
            Ok(step) => step == Step::Moved,
            Err(error) => {
                self.count_failure("store");
                if !failed_before {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(endpoint = %self.endpoint.id, %error, cause, "the store failed; events are delivered later");
                }
                false
            }
        }
    }

    /// One turn: sends at most one message.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. A message that was sent is then sent again.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        let Some(Versioned { value: delivery, version }) = self.store.delivery(&self.endpoint.id).await?
        else {
            self.begin().await?;
            return Ok(Step::Moved);
        };
        let page = self.store.trail(delivery.position, PAGE).await?;
        let Some(batch) = Batch::next(page, &self.endpoint.filter, delivery.through) else {
            self.measure_lag(None);
            return Ok(Step::Nothing);
        };
        self.measure_lag(batch.events.first().map(|event| event.recorded.event.at));
        let now = self.clock.now();
        if delivery.turn(now) != Claimable::Free {
            return Ok(Step::Nothing);
        }
        let Some(message) = Message::of_events(&batch.events, self.vault.as_ref()) else {
            // The batch has no readable event for this endpoint.
            let next = delivery.delivered(batch.through).passing_over(batch.unreadable.len() as u64);
            let kept = self.swap(version, &next).await?;
            self.tell_of_unreadable(kept, &batch);
            return Ok(moved(kept));
        };
        let claim = delivery.claimed(batch.through, now.plus(self.endpoint.timeout + MARGIN));
        if self.swap(version, &claim).await? == Commit::Conflict {
            return Ok(Step::Nothing);
        }
        self.claim = Some(version.next());
        let answer = self.http.post(&self.endpoint, &message, now).await;
        let taken = answer == Answer::Taken;
        let next = self.after(answer, &claim, &batch);
        let kept = self.swap(version.next(), &next).await?;
        self.claim = None;
        if kept == Commit::Conflict {
            tracing::info!(endpoint = %self.endpoint.id, "another replica took over; a message may arrive twice");
        }
        if taken {
            self.tell_of_unreadable(kept, &batch);
        }
        Ok(if taken { moved(kept) } else { Step::Failed })
    }

    /// The progress to store after an answer.
    fn after(&self, answer: Answer, claim: &Delivery, batch: &Batch) -> Delivery {
        let endpoint = &self.endpoint.id;
        match answer {
            Answer::Taken => {
                let events = batch.events.len();
                metrics::counter!("mfa_webhook_events_total", "endpoint" => endpoint.to_string())
                    .increment(events as u64);
                tracing::debug!(%endpoint, events, through = %batch.through, "events were delivered");
                if claim.failures > 0 {
                    tracing::info!(%endpoint, failures = claim.failures, "the webhook accepts events again");
                }
                claim.delivered(batch.through).passing_over(batch.unreadable.len() as u64)
            }
            Answer::Gone => {
                self.count_failure("gone");
                tracing::error!(%endpoint, "the webhook answered 410 Gone; nothing is sent until it is resumed");
                claim.stopped("gone")
            }
            Answer::NotTaken { how, why, retry_after } => {
                self.count_failure(&how);
                let wait = self.wait(claim.failures.saturating_add(1), retry_after);
                tracing::warn!(%endpoint, how, why, failures = claim.failures + 1, ?wait, "the webhook did not accept events");
                claim.failed(&how, self.clock.now().plus(wait))
            }
        }
    }

    /// Logs the unreadable events that are skipped permanently.
    fn tell_of_unreadable(&self, kept: Commit, Batch { unreadable, .. }: &Batch) {
        let endpoint = &self.endpoint.id;
        if kept == Commit::Won && !unreadable.is_empty() {
            metrics::counter!("mfa_webhook_unreadable_total", "endpoint" => endpoint.to_string())
                .increment(unreadable.len() as u64);
            for UnreadableEvent { position, place, what } in unreadable {
                tracing::error!(%endpoint, %position, account = %place, what, "an event cannot be read and is not delivered");
            }
        }
    }

    /// The wait before the next attempt: our own backoff, or the receiver's `Retry-After` if longer, up to a
    /// limit.
    fn wait(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let mut random = [u8::MAX; 2];
        // Without randomness the full wait is used.
        let _ = self.entropy.fill(&mut random);
        let backoff = Delivery::backoff(failures, u16::from_be_bytes(random));
        backoff.max(retry_after.unwrap_or_default()).min(Delivery::LONGEST_WAIT)
    }

    fn count_failure(&self, how: &str) {
        let labels = [("endpoint", self.endpoint.id.to_string()), ("how", how.to_owned())];
        metrics::counter!("mfa_webhook_failures_total", &labels).increment(1);
    }

    /// Records the age of the oldest event that waits for this endpoint; 0 if there is none.
    fn measure_lag(&self, oldest: Option<Timestamp>) {
        let lag = oldest.map_or(Duration::ZERO, |at| self.clock.now().since(at));
        metrics::gauge!("mfa_webhook_lag_seconds", "endpoint" => self.endpoint.id.to_string())
            .set(lag.as_secs_f64());
    }

    /// Releases the claim of an interrupted attempt.
    async fn release(&mut self) -> Result<(), StoreError> {
        let Some(claim) = self.claim.take() else { return Ok(()) };
        if let Some(stored) = self.store.delivery(&self.endpoint.id).await?.filter(|it| it.version == claim) {
            // A conflict means that the claim is no longer ours, so there is nothing to release.
            let _ = self.swap(claim, &stored.value.released()).await?;
        }
        Ok(())
    }

    async fn swap(&self, expected: Version, next: &Delivery) -> Result<Commit, StoreError> {
        self.store.swap(&self.endpoint.id, expected, next).await
    }
}

/// After a conflict another replica is at work.
fn moved(commit: Commit) -> Step {
    if commit == Commit::Won { Step::Moved } else { Step::Nothing }
}
