//! Connections to a mail server, opened on demand.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::SenderError;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::connection::{Connection, NotTaken, Smtp};
use crate::message::Mail;
use crate::outage::Outage;

/// Tasks that each keep one connection while there is mail. When the pool is dropped, they finish the mail
/// that they have begun and end.
pub(crate) struct Pool(mpsc::Sender<Job>);

struct Job {
    mail: Mail,
    done: oneshot::Sender<Result<(), NotTaken>>,
}

/// How long an idle connection stays open.
const IDLE: Duration = Duration::from_secs(10);

/// An idle connection older than this is tested before its next mail, since the server may have closed it.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
#[error("the mailer has stopped")]
struct Stopped;

impl Pool {
    pub(crate) fn new(smtp: Smtp, connections: usize) -> Self {
        // The size of the queue. A caller that waits for a place in it has begun nothing yet.
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
        // A worker that died may have delivered the mail.
        outcome.await.map_err(|_| SenderError::unknown(Stopped))?.map_err(SenderError::from)
    }
}

/// Sends one mail after the other, over one connection while it lasts.
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
        // Nobody waits for the result, and the mail was not begun.
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
        tracing::warn!("the mail server refused a mail: {not_taken}");
    } else {
        outage.failed(not_taken);
    }
}
