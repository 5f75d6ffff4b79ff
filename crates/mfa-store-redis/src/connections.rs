//! Calls to Redis: each has a deadline, and is repeated only if nothing was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, RedisResult, Value};
use tokio::time::Instant;

use crate::checks::Needs;
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::link::{Link, Lost};
use crate::script::Call;
use crate::url::Kind;
use crate::{RedisError, RedisUrl};

/// Time limits of calls.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// After this time a caller gets an error, whatever is still running. Default 1 second.
    pub call_timeout: Duration,
    /// How long a change waits for the required replicas, if any. Default 0.5 seconds; must be shorter than
    /// `call_timeout`.
    pub replica_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { call_timeout: Duration::from_secs(1), replica_timeout: Duration::from_millis(500) }
    }
}

/// The effect of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// None: it can be repeated.
    None,
    /// It changes data that may be lost.
    Passing,
    /// It changes data that must last: the required number of replicas must have it.
    Lasting,
}

/// The number of connections for changes that wait for replicas: each is blocked while it waits.
const WAITING: usize = 8;

/// Pause before an unavailable server is asked again.
const PAUSE: Duration = Duration::from_millis(25);

/// The connections to a Redis of one or more servers.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    shared: Route,
    waiting: Vec<Route>,
    next: AtomicUsize,
    replicas: u32,
    options: RedisOptions,
}

enum Route {
    One(Link),
    Cluster(Cluster),
}

impl Connections {
    /// Connects once. The error says what is wrong.
    pub(crate) async fn open(
        url: &RedisUrl,
        needs: &Needs,
        options: &RedisOptions,
    ) -> Result<Self, RedisError> {
        if url.parts().tls {
            provide_cryptography();
        }
        let replicas = needs.replicas();
        let shared = Route::open(url, needs, options).await?;
        let mut waiting = Vec::new();
        while replicas > 0 && waiting.len() < WAITING {
            waiting.push(Route::open(url, needs, options).await?);
        }
        let options = options.clone();
        Ok(Self(Arc::new(Inner { shared, waiting, next: AtomicUsize::new(0), replicas, options })))
    }

    /// Calls a script.
    pub(crate) async fn call(&self, call: &Call<'_>, effect: Effect) -> Result<Value, RedisError> {
        self.ask(call.key(), effect, |whole| call.command(whole)).await
    }

    /// Sends a command for `key`.
    pub(crate) async fn command(
        &self,
        command: &Cmd,
        key: &str,
        effect: Effect,
    ) -> Result<Value, RedisError> {
        self.ask(key, effect, |_| command.clone()).await
    }

    async fn ask(
        &self,
        key: &str,
        effect: Effect,
        command: impl Fn(bool) -> Cmd,
    ) -> Result<Value, RedisError> {
        let deadline = Instant::now() + self.0.options.call_timeout;
        self.attempts(key, effect, command, deadline).await
    }

    /// Makes all connections look for the primary again: when one finds that it has changed, the others need
    /// not find out by failing themselves.
    pub(crate) fn give_up(&self, key: &str, made_before: Instant) {
        for route in std::iter::once(&self.0.shared).chain(&self.0.waiting) {
            match route {
                Route::One(link) => link.give_up(made_before),
                Route::Cluster(cluster) => cluster.look_for(key),
            }
        }
    }

    /// Drops connections after a failure. Those of a cluster follow redirections by themselves, but a node
    /// that hangs sends none.
    fn learn_from(&self, failure: &Failure, key: &str, began: Instant) {
        let (Failure::Final(error) | Failure::NotNow(error)) = failure else { return };
        let in_cluster = matches!(self.0.shared, Route::Cluster(_));
        if error.breaks_connection() && (!in_cluster || matches!(error, RedisError::Timeout)) {
            self.give_up(key, began);
        }
    }

    /// Repeats a call until it is answered, or fails in a way that leaves its effect unknown.
    async fn attempts(
        &self,
        key: &str,
        effect: Effect,
        command: impl Fn(bool) -> Cmd,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        let route = self.route(effect);
        let wait = (effect == Effect::Lasting && self.0.replicas > 0).then_some(self.0.replicas);
        let (mut whole, mut lost, mut elsewhere) = (false, false, None);
        loop {
            let began = Instant::now();
            let asked = self.once(route, command(whole), key, wait, elsewhere.take(), deadline);
            let failure = match asked.await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            self.learn_from(&failure, key, began);
            match failure {
                Failure::NoScript if !whole => whole = true,
                Failure::Ask { host, port } if wait.is_none() => elsewhere = Some((host, port)),
                Failure::Final(error @ RedisError::ConnectionLost(_)) => {
                    if lost || effect != Effect::None {
                        return Err(error);
                    }
                    lost = true;
                }
                Failure::Final(error) => return Err(error),
                Failure::NotNow(error) if Instant::now() + PAUSE * 2 >= deadline => return Err(error),
                Failure::NotNow(_) | Failure::NoScript | Failure::Ask { .. } => {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn route(&self, effect: Effect) -> &Route {
        let Inner { shared, waiting, next, .. } = &*self.0;
        if effect != Effect::Lasting || waiting.is_empty() {
            return shared;
        }
        &waiting[next.fetch_add(1, Ordering::Relaxed) % waiting.len()]
    }

    async fn once(
        &self,
        route: &Route,
        command: Cmd,
        key: &str,
        replicas: Option<u32>,
        elsewhere: Option<(String, u16)>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let Some(wanted) = replicas else {
            return route.ask(command, key, elsewhere, deadline).await;
        };
        // Directly after the change and on the same connection: `WAIT` waits for the writes of its own
        // connection.
        let within = self.0.options.replica_timeout;
        let mut both = redis::pipe();
        both.add_command(command);
        both.cmd("WAIT").arg(wanted).arg(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let [answer, acknowledged] = route.ask_both(both, key, deadline).await?;
        let answer = answer.extract_error().map_err(|error| Failure::of(&error))?;
        let acknowledged = acknowledged.extract_error().map_err(|error| Failure::Final(final_of(&error)))?;
        match acknowledged {
            Value::Int(got) if got >= i64::from(wanted) => Ok(answer),
            Value::Int(got) => {
                let got = u32::try_from(got).unwrap_or_default();
                Err(Failure::Final(RedisError::Unacknowledged { wanted, got, within }))
            }
            _ => Err(Failure::Final(RedisError::other("an unexpected answer to WAIT"))),
        }
    }
}

impl Route {
    async fn open(url: &RedisUrl, needs: &Needs, options: &RedisOptions) -> Result<Self, RedisError> {
        let parts = url.parts();
        if parts.kind == Kind::Cluster {
            let cluster = Cluster::open(parts, &url.to_string(), needs, options.call_timeout).await?;
            return Ok(Self::Cluster(cluster));
        }
        let link = Link::new(parts, url.to_string(), needs.clone())?;
        link.connection().await?;
        Ok(Self::One(link))
    }

    async fn ask(
        &self,
        command: Cmd,
        key: &str,
        elsewhere: Option<(String, u16)>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        match (self, elsewhere) {
            (Self::Cluster(cluster), None) => {
                in_time(deadline, async { failing(cluster.ask(command, key).await) }).await
            }
            (Self::Cluster(cluster), Some((host, port))) => {
                in_time(deadline, async { failing(cluster.ask_at(host, port, command).await) }).await
            }
            (Self::One(link), _) => {
                let (mut connection, lost) = connected(link, deadline).await?;
                let asked = async { failing(connection.req_packed_command(&command).await) };
                let answer = in_time(deadline, asked).await;
                answer.inspect_err(|failure| give_up(failure, &lost))
            }
        }
    }

    async fn ask_both(
        &self,
        commands: redis::Pipeline,
        key: &str,
        deadline: Instant,
    ) -> Result<[Value; 2], Failure> {
        let of_driver = |error: redis::RedisError| Failure::of(&error);
        let answers = match self {
            Self::Cluster(cluster) => {
                in_time(deadline, async { cluster.ask_all(commands, key).await.map_err(of_driver) }).await
            }
            Self::One(link) => {
                let (mut connection, lost) = connected(link, deadline).await?;
                let asked =
                    async { connection.req_packed_commands(&commands, 0, 2).await.map_err(of_driver) };
                in_time(deadline, asked).await.inspect_err(|failure| give_up(failure, &lost))
            }
        };
        answers?.try_into().map_err(|_| Failure::Final(RedisError::other("the number of answers is wrong")))
    }
}

async fn connected(link: &Link, deadline: Instant) -> Result<(MultiplexedConnection, Lost), Failure> {
    in_time(deadline, async { link.connection().await.map_err(Failure::Final) }).await
}

async fn in_time<T>(deadline: Instant, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout_at(deadline, call).await.unwrap_or(Err(Failure::Final(RedisError::Timeout)))
}

fn failing(answer: RedisResult<Value>) -> Result<Value, Failure> {
    answer.and_then(Value::extract_error).map_err(|error| Failure::of(&error))
}

fn final_of(error: &redis::RedisError) -> RedisError {
    match Failure::of(error) {
        Failure::Final(error) | Failure::NotNow(error) => error,
        Failure::NoScript | Failure::Ask { .. } => RedisError::other("an unexpected answer"),
    }
}

fn give_up(failure: &Failure, lost: &Lost) {
    if let Failure::Final(error) | Failure::NotNow(error) = failure
        && error.breaks_connection()
    {
        lost.give_up();
    }
}

/// Installs an implementation of TLS primitives, unless the program has chosen one.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
