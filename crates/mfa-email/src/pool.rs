//! Connections to a mail server, as many as are needed.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::SenderError;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::connection::{Connection, NotTaken, Smtp};
use crate::message::Mail;
use crate::outage::Outage;

/// Tasks that have a connection each while there is something to send. They end with the pool, after what they have
/// begun.
pub(crate) struct Pool(mpsc::Sender<Job>);

struct Job {
    mail: Mail,
    done: oneshot::Sender<Result<(), NotTaken>>,
}

/// How long a connection stays open with nothing to send.
const IDLE: Duration = Duration::from_secs(10);

/// After this long a connection is tried before a mail is put on it: the server may have closed it.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
#[error("mail is no longer sent by this program")]
struct Stopped;

impl Pool {
    pub(crate) fn new(smtp: Smtp, connections: usize) -> Self {
        // Who waits for a place in it has begun nothing yet.
        let (jobs, queue) = mpsc::channel(connections);
        let (smtp, queue, outage) = (Arc::new(smtp), Arc::new(Mutex::new(queue)), Arc::default());
        for _ in 0..connections {
            tokio::spawn(work(Arc::clone(&smtp), Arc::clone(&queue), Arc::clone(&outage)));
        }
        Self(jobs)
    }

    pub(crate) async fn send(&self, mail: Mail) -> Result<(), SenderError> {
        let (done, outcome) = oneshot::channel();
        self.0.send(Job { mail, done }).await.map_err(|_| SenderError::not_sent(Stopped))?;
        // A worker that went away may have handed it over.
        outcome.await.map_err(|_| SenderError::unknown(Stopped))?.map_err(SenderError::from)
    }
}

/// Sends one mail after the other, on one connection as long as it lasts.
async fn work(smtp: Arc<Smtp>, queue: Arc<Mutex<mpsc::Receiver<Job>>>, outage: Arc<Outage>) {
    let mut open: Option<(Connection, Instant)> = None;
    loop {
        let next = async { queue.lock().await.recv().await };
        let next = if open.is_some() { timeout(IDLE, next).await } else { Ok(next.await) };
        let connection = match open.take() {
            Some((connection, _)) if !matches!(next, Ok(Some(_))) => {
                connection.close().await;
                None
            }
            Some((mut connection, used)) if used.elapsed() > FRESH => {
                connection.is_alive().await.then_some(connection)
            }
            Some((connection, _)) => Some(connection),
            None => None,
        };
        let Job { mail, done } = match next {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(_idle) => continue,
        };
        // Nobody waits for it, and nothing of it was begun.
        if done.is_closed() {
            open = connection.map(|connection| (connection, Instant::now()));
            continue;
        }
        let (outcome, connection) = smtp.deliver(connection, &mail).await;
        open = connection.map(|connection| (connection, Instant::now()));
        match &outcome {
            Ok(()) => {
                metrics::counter!("mfa_email_sent_total").increment(1);
                outage.taken();
            }
            Err(not_taken) => tell(not_taken, &outage),
        }
        let _ = done.send(outcome);
    }
}

fn tell(not_taken: &NotTaken, outage: &Outage) {
    metrics::counter!("mfa_email_failures_total", "step" => not_taken.step()).increment(1);
    if not_taken.is_final() {
        tracing::warn!("a mail was refused: {not_taken}");
    } else {
        outage.failed(not_taken);
    }
}
