//! Sending what is queued.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::Delivered;
use mfa_domain::{Actor, Message, Mfa, Undecided, Versioned};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, warn};

use crate::config::Settings;

/// How often messages are looked for that another server has queued, or that are to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// As whom it gives messages up.
const ACTOR: &str = "server:courier";

/// What sends messages, until it is stopped.
#[derive(Debug)]
pub(crate) struct Courier {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    patience: Duration,
}

impl Courier {
    /// Starts to send, as many messages at a time as there are connections to send them on.
    pub(crate) fn start(settings: &Settings, mfa: Arc<Mfa>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(mfa, settings.email.connections, stopped));
        Self { task, stop, patience: settings.shutdown_timeout }
    }

    /// Claims no more, and ends once what is under way is sent, or after the time that requests have as well. Then its
    /// claims end by themselves, and it is sent by another server or after the next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        match tokio::time::timeout(self.patience, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "what sends messages ended early"),
            Err(_) => warn!("a message is still under way; it is sent again, with the same code"),
        }
    }
}

async fn run(mfa: Arc<Mfa>, most: usize, mut stopped: watch::Receiver<bool>) {
    let mut sending = JoinSet::new();
    let mut failing = false;
    while !*stopped.borrow() {
        // Before the claim, so that what is queued meanwhile is not missed.
        let queued = mfa.message_queued();
        while sending.try_join_next().is_some() {}
        let room = most.saturating_sub(sending.len());
        let claimed = if room == 0 { Ok(Vec::new()) } else { claim(&mfa, room).await };
        // While the store is down, once.
        if let Err(error) = &claimed
            && !failing
        {
            warn!(%error, "no message can be sent: none can be claimed");
        }
        failing = claimed.is_err();
        let claimed = claimed.unwrap_or_default();
        let more = !claimed.is_empty() && claimed.len() == room;
        for message in claimed {
            let mfa = Arc::clone(&mfa);
            sending.spawn(async move { deliver(&mfa, message).await });
        }
        if more && sending.len() < most {
            continue;
        }
        tokio::select! {
            () = queued, if sending.len() < most => {}
            Some(_) = sending.join_next() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }
    while sending.join_next().await.is_some() {}
}

async fn claim(mfa: &Mfa, room: usize) -> Result<Vec<Versioned<Message>>, Undecided> {
    mfa.claim_messages(u32::try_from(room).unwrap_or(u32::MAX)).await
}

async fn deliver(mfa: &Mfa, message: Versioned<Message>) {
    let result = match mfa.deliver(&Actor::admin(ACTOR), message).await {
        Ok(Delivered::Sent) => "sent",
        Ok(Delivered::Queued) => "queued",
        Ok(Delivered::Failed) => "failed",
        Ok(_) => "superseded",
        Err(error) => {
            error!(%error, "what became of a message could not be kept, or it could not be opened");
            "undecided"
        }
    };
    metrics::counter!("mfa_messages_total", "result" => result).increment(1);
}
