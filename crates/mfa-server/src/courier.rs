//! Sends queued messages.

use std::sync::Arc;
use std::time::Duration;

use mfa_actix::Clocks;
use mfa_domain::mfa::Delivered;
use mfa_domain::ports::Claimed;
use mfa_domain::{Actor, Message, Mfa, Undecided, Versioned};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::Settings;

/// How often to look for messages that another server has queued, or that are due for another attempt.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a claim that left room, so that messages which are queued meanwhile share the next one,
/// and the statements after it. A mail takes much longer anyway.
const PAUSE: Duration = Duration::from_millis(20);

/// The actor that the audit trail records if a message is given up.
const ACTOR: &str = "server:courier";

/// The task that sends messages until it is stopped.
#[derive(Debug)]
pub(crate) struct Courier {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    patience: Duration,
}

impl Courier {
    /// Starts to send messages, at most `email.connections` at a time.
    pub(crate) fn start(settings: &Settings, mfa: Arc<Mfa>, clocks: Clocks) -> Self {
        let (stop, stopped) = watch::channel(false);
        let most = settings.email.connections;
        let begin = move || run(Arc::clone(&mfa), clocks.clone(), most, stopped.clone());
        let task = tokio::spawn(keep(begin));
        Self { task, stop, patience: settings.shutdown_timeout }
    }

    /// Claims no more messages, and waits until those being sent are sent, for at most `shutdown_timeout`. The
    /// claims of the rest expire; another server sends them, or this one after its next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        match tokio::time::timeout(self.patience, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "the task that sends messages ended early"),
            Err(_) => warn!("a message was still being sent; it will be sent again with the same code"),
        }
    }
}

/// Runs the task until it ends by itself, and restarts it after a panic. Otherwise no message would be sent,
/// unnoticed, until the server restarts. Messages that were being sent are sent again when their claims expire.
async fn keep<F>(mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(begin()).await {
        if !error.is_panic() {
            // The runtime stops.
            return;
        }
        count("panicked");
        error!("the task that sends messages panicked and is restarted");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn run(mfa: Arc<Mfa>, clocks: Clocks, most: usize, mut stopped: watch::Receiver<bool>) {
    let mut sending = JoinSet::new();
    let mut claims = Claims::new(Arc::clone(&mfa), clocks);
    let mut queued = Box::pin(mfa.message_queued());
    while !*stopped.borrow() {
        while let Some(ended) = sending.try_join_next() {
            tell(&ended);
        }
        for message in claims.claim(most.saturating_sub(sending.len())).await {
            let mfa = Arc::clone(&mfa);
            sending.spawn(async move { deliver(&mfa, message).await });
        }
        let has_room = sending.len() < most;
        tokio::select! {
            () = &mut queued => {
                // Before the claim, so that messages queued meanwhile are not missed.
                queued = Box::pin(mfa.message_queued());
                claims.queued = true;
            }
            Some(ended) = sending.join_next() => tell(&ended),
            () = tokio::time::sleep_until(claims.next()), if has_room => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }
    while let Some(ended) = sending.join_next().await {
        tell(&ended);
    }
}

/// Logs that sending a message panicked. Other results are logged where the message is sent.
fn tell(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        count("panicked");
        error!("sending a message panicked; the message is sent again when its claim expires");
    }
}

/// Claims messages: once a second all that are due, since a store may have to search many places for them; in between
/// only those that this server queues.
struct Claims {
    mfa: Arc<Mfa>,
    clocks: Clocks,
    next_look: Instant,
    /// No claim is made before.
    pause_ends: Instant,
    /// Whether the latest look found as many messages as there was room for.
    more: bool,
    /// Whether this server has queued a message that may not be claimed yet.
    queued: bool,
    /// The obstacle to claims that was logged last.
    obstacle: Option<Obstacle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// With a wrong clock, valid messages would be given up or delayed.
    Clock,
    Store,
}

impl Claims {
    fn new(mfa: Arc<Mfa>, clocks: Clocks) -> Self {
        let now = Instant::now();
        Self { mfa, clocks, next_look: now, pause_ends: now, more: false, queued: false, obstacle: None }
    }

    /// When to claim next, if there is room.
    fn next(&self) -> Instant {
        if self.queued || self.more { self.pause_ends } else { self.next_look.max(self.pause_ends) }
    }

    /// Claims as many messages as there is room for, if it is time.
    async fn claim(&mut self, room: usize) -> Vec<Versioned<Message>> {
        if room == 0 || Instant::now() < self.next() {
            return Vec::new();
        }
        // Messages that this server queued come before further ones of all servers.
        let all = Instant::now() >= self.next_look || (self.more && !self.queued);
        let claimed = self.ask(all, u32::try_from(room).unwrap_or(u32::MAX)).await;
        let full = claimed.messages.len() + claimed.unreadable.len() >= room;
        if all {
            self.next_look = Instant::now() + LOOK_EVERY;
            self.more = full;
        }
        self.queued &= full;
        // A backlog is sent as fast as there is room.
        self.pause_ends = if full { Instant::now() } else { Instant::now() + PAUSE };
        for _ in &claimed.unreadable {
            count("unreadable");
        }
        claimed.messages
    }

    /// Claims messages, or logs once why it cannot.
    async fn ask(&mut self, all: bool, limit: u32) -> Claimed {
        if self.clocks.is_far_off() {
            if self.obstacle.replace(Obstacle::Clock) != Some(Obstacle::Clock) {
                error!("no messages are sent while the clock of this server is wrong");
            }
            return Claimed::default();
        }
        let claimed = if all {
            self.mfa.claim_messages(limit).await
        } else {
            self.mfa.claim_recent_messages(limit).await
        };
        match claimed {
            Ok(claimed) => {
                if self.obstacle.take().is_some() {
                    info!("sending messages has resumed");
                }
                claimed
            }
            Err(error) => {
                if self.obstacle.replace(Obstacle::Store) != Some(Obstacle::Store) {
                    warn!(%error, "no messages are sent, since the store cannot be read");
                }
                Claimed::default()
            }
        }
    }
}

async fn deliver(mfa: &Mfa, message: Versioned<Message>) {
    let (tenant, id) = (message.value.account.tenant.clone(), message.value.id);
    count(match mfa.deliver(&Actor::admin(ACTOR), message).await {
        Ok(Delivered::Sent) => "sent",
        Ok(Delivered::Queued) => "queued",
        Ok(Delivered::Failed) => "failed",
        Ok(_) => "superseded",
        Err(error) => {
            let tenant = tenant.as_str();
            error!(tenant, %id, %error, "a message could not be decrypted, or its result could not be stored");
            if is_unreadable(&error) { "unreadable" } else { "undecided" }
        }
    });
}

/// Whether the message cannot be decrypted or read, so that it is not sent before it expires.
fn is_unreadable(error: &Undecided) -> bool {
    match error {
        Undecided::Vault(_) => true,
        Undecided::Store(error) => error.is_unreadable(),
        _ => false,
    }
}

fn count(result: &'static str) {
    metrics::counter!("mfa_messages_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use mfa_domain::mfa::NewAddress;
    use mfa_domain::ports::{CodeMessage, Sender, SenderError};
    use mfa_domain::{Address, Label, Policies};
    use mfa_store_memory::{MemoryChallenges, MemoryStore};
    use mfa_testkit::changes::key;
    use mfa_testkit::ports;

    use super::*;

    /// Accepts all messages, but panics on those to Eve.
    #[derive(Debug)]
    struct Panicking;

    #[async_trait]
    impl Sender for Panicking {
        async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
            assert!(message.to.expose() != "eve@example.com", "told to panic");
            Ok(())
        }
    }

    /// The use cases on stores in memory, and their clock.
    fn world() -> (Arc<Mfa>, Clocks) {
        let test = ports(Arc::new(MemoryStore::default()));
        let ports = test.ports.clone().challenges(Arc::new(MemoryChallenges::default()));
        let mfa = Mfa::new(ports.sender(Arc::new(Panicking)), Policies::default()).unwrap();
        (Arc::new(mfa), Clocks::new(test.clock.clone()))
    }

    async fn queue_a_message(mfa: &Mfa, user: &str) {
        let address = Address::new(format!("{user}@example.com").as_str()).unwrap();
        let new = NewAddress::email(Label::new("Mail").unwrap(), address);
        mfa.enrol_address(&key(user), &Actor::user("test"), new).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_whose_sending_panics_is_counted_and_the_others_go() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let _counting = metrics::set_default_local_recorder(&recorder);
        let (mfa, clocks) = world();
        for user in ["eve", "bob"] {
            queue_a_message(&mfa, user).await;
        }
        let (stop, stopped) = watch::channel(false);
        let sending = tokio::spawn(run(mfa, clocks, 1, stopped));
        tokio::time::sleep(LOOK_EVERY * 3).await;
        stop.send_replace(true);
        sending.await.unwrap();
        for line in ["{result=\"panicked\"} 1", "{result=\"sent\"} 1"] {
            let page = page.render();
            assert!(page.contains(&format!("mfa_messages_total{line}")), "{page}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_are_queued_during_the_pause_are_claimed_together() {
        let (mfa, clocks) = world();
        let mut claims = Claims::new(Arc::clone(&mfa), clocks);
        queue_a_message(&mfa, "alice").await;
        claims.queued = true;
        assert_eq!(claims.claim(3).await.len(), 1, "the first waits for nobody");
        for user in ["bob", "carol"] {
            queue_a_message(&mfa, user).await;
            claims.queued = true;
            assert!(claims.claim(3).await.is_empty(), "{user}");
        }
        tokio::time::sleep_until(claims.next()).await;
        assert_eq!(claims.claim(3).await.len(), 2);
        tokio::time::sleep(PAUSE).await;
        for user in ["dave", "erin"] {
            queue_a_message(&mfa, user).await;
        }
        claims.queued = true;
        for _ in 0..2 {
            assert_eq!(claims.claim(1).await.len(), 1, "a backlog waits although there is room");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_sends_messages_begins_anew_after_a_panic() {
        let begun = AtomicU32::new(0);
        keep(|| {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number == 2, "told to panic") }
        })
        .await;
        assert_eq!(begun.into_inner(), 3);
    }
}
