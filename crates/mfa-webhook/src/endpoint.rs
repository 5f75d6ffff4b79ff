//! The configuration of one webhook.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::EndpointId;

use crate::{Filter, InvalidSecrets, SigningSecrets, WebhookUrl};

/// A webhook: its URL, its events, and its signing secrets.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name, under which the store keeps its progress.
    pub id: EndpointId,
    /// Its URL.
    pub url: WebhookUrl,
    /// The secrets that sign messages.
    pub secrets: Secrets,
    /// The events that it receives.
    pub filter: Filter,
    /// Time limit of an attempt, from the first packet to the head of the answer.
    pub timeout: Duration,
    /// Whether delivery begins with the oldest event, instead of the next one that happens.
    pub from_the_beginning: bool,
}

/// The source of signing secrets. It is read at each attempt, so a secret can be replaced while the program
/// runs, and is not kept in memory.
#[derive(Clone)]
pub struct Secrets(Arc<dyn Fn() -> io::Result<SigningSecrets> + Send + Sync>);

impl Secrets {
    /// Secrets that `read` returns.
    pub fn new(read: impl Fn() -> io::Result<SigningSecrets> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Reads the secrets.
    ///
    /// # Errors
    /// The error of the source. It must not contain a secret.
    pub fn read(&self) -> io::Result<SigningSecrets> {
        (self.0)()
    }
}

impl From<InvalidSecrets> for io::Error {
    fn from(error: InvalidSecrets) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}
