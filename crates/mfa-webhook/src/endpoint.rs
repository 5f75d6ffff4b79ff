//! One webhook, as its operator describes it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::EndpointId;

use crate::{Filter, InvalidSecrets, SigningSecrets, WebhookUrl};

/// A webhook: where it is, what it is sent, and what that is signed with.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name, by which a store knows how far it is.
    pub id: EndpointId,
    /// Where it is.
    pub url: WebhookUrl,
    /// What messages are signed with.
    pub secrets: Secrets,
    /// Which events it is sent.
    pub filter: Filter,
    /// How long an attempt may take, from the first packet to the head of the answer.
    pub timeout: Duration,
    /// Whether it begins with the oldest event there is, and not with what happens from now on.
    pub from_the_beginning: bool,
}

/// Where signing secrets come from. They are asked for at each attempt, so that a secret can be replaced
/// while the program runs, and is not kept.
#[derive(Clone)]
pub struct Secrets(Arc<dyn Fn() -> io::Result<SigningSecrets> + Send + Sync>);

impl Secrets {
    /// Secrets that `read` reads.
    pub fn new(read: impl Fn() -> io::Result<SigningSecrets> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Reads them.
    ///
    /// # Errors
    /// What the source says; it must not hold a secret.
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
