//! One connection to one primary: shared by all callers, and replaced when it is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::RedisError;
use crate::checks::Needs;
use crate::url::{Kind, Parts};

/// How long an attempt to connect may take, greeting included.
pub(crate) const CONNECTING: Duration = Duration::from_secs(1);

/// A peer that acknowledges no packet for this long is given up: its machine may be gone.
const SILENCE: Duration = Duration::from_secs(2);

/// Commands that may wait to be written before further callers must wait.
const QUEUED: usize = 1024;

/// A connection, or the error of the attempt; `None` while it is in progress.
type Attempt = watch::Receiver<Option<Result<Made, RedisError>>>;

#[derive(Clone)]
struct Made {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
    at: Instant,
}

/// A shared connection. Concurrent calls are pipelined on it in the order in which they were made.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    address: String,
    needs: Needs,
    current: Mutex<Option<Attempt>>,
}

enum Dialer {
    Server(Client),
    /// Sentinels report the address of the primary. Only one attempt at a time asks them.
    Sentinel(tokio::sync::Mutex<SentinelClient>),
}

impl Link {
    /// Stores the address; does not connect yet.
    pub(crate) fn new(parts: &Parts, address: String, needs: Needs) -> Result<Self, RedisError> {
        let wrong = |error: redis::RedisError| RedisError::Url(error.to_string());
        let dialer = match &parts.kind {
            Kind::Sentinel(service) => {
                Dialer::Sentinel(tokio::sync::Mutex::new(sentinels(parts, service)?.build().map_err(wrong)?))
            }
            Kind::Server | Kind::Cluster => {
                let info = parts.servers()?.swap_remove(0).set_tcp_settings(tcp());
                Dialer::Server(match parts.certificates()? {
                    Some(certificates) => Client::build_with_tls(info, certificates).map_err(wrong)?,
                    None => Client::open(info).map_err(wrong)?,
                })
            }
        };
        Ok(Self(Arc::new(Inner { dialer, address, needs, current: Mutex::default() })))
    }

    /// The connection, opened if there is none, and the handle with which to [give it up](Self::give_up) when
    /// it is lost.
    pub(crate) async fn connection(&self) -> Result<(MultiplexedConnection, Lost), RedisError> {
        let mut attempt = self.attempt();
        let made = attempt.wait_for(Option::is_some).await.map(|made| made.clone());
        let gone = || RedisError::other("the runtime that the store was opened on is gone");
        let made = made.ok().flatten().ok_or_else(gone)??;
        Ok((made.connection, Lost(made.lost)))
    }

    /// Makes the next call open a new connection, unless one was opened since.
    pub(crate) fn give_up(&self, made_before: Instant) {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = current.as_ref()
            && let Some(Ok(made)) = &*attempt.borrow()
            && made.at < made_before
        {
            made.lost.store(true, Ordering::Relaxed);
        }
    }

    fn attempt(&self) -> Attempt {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = current.as_ref() {
            let usable = match &*attempt.borrow() {
                Some(made) => made.as_ref().is_ok_and(|made| !made.lost.load(Ordering::Relaxed)),
                None => attempt.has_changed().is_ok(),
            };
            if usable {
                return attempt.clone();
            }
        }
        let (sender, attempt) = watch::channel(None);
        let inner = Arc::clone(&self.0);
        // A separate task, so that it continues when a caller gives up.
        tokio::spawn(async move {
            let made = inner.dial().await;
            sender.send_replace(Some(made));
        });
        *current = Some(attempt.clone());
        attempt
    }
}

/// Identifies a connection that was used, so that only that one is given up.
pub(crate) struct Lost(Arc<AtomicBool>);

impl Lost {
    /// Makes the next call open a new connection.
    pub(crate) fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    async fn dial(&self) -> Result<Made, RedisError> {
        let lost = Arc::new(AtomicBool::new(false));
        let noticed = Arc::clone(&lost);
        let dialling = async {
            let client = match &self.dialer {
                Dialer::Server(client) => client.clone(),
                Dialer::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await?,
            };
            // Sent as soon as the other side closes the connection, even if it is idle.
            let notice = move |push: PushInfo| -> Result<(), SendError> {
                if push.kind == PushKind::Disconnection {
                    noticed.store(true, Ordering::Relaxed);
                }
                Ok(())
            };
            let config = AsyncConnectionConfig::new()
                .set_push_sender(notice)
                .set_connection_timeout(Some(CONNECTING))
                .set_response_timeout(None)
                .set_pipeline_buffer_size(QUEUED);
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        // Sentinels are tried one after the other, so several timeouts may add up.
        let made = tokio::time::timeout(CONNECTING * 3, dialling).await;
        let made = made.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        let mut connection = made.map_err(|error| RedisError::of_connecting(&error, &self.address))?;
        let checked = tokio::time::timeout(CONNECTING, self.needs.check(&mut connection)).await;
        checked.unwrap_or(Err(RedisError::Timeout))?;
        Ok(Made { connection, lost, at: Instant::now() })
    }
}

fn sentinels(parts: &Parts, service: &str) -> Result<SentinelClientBuilder, RedisError> {
    let wrong = |error: redis::RedisError| RedisError::Url(error.to_string());
    let greeting = parts.greeting();
    let mut builder = SentinelClientBuilder::new(parts.addresses(), service, SentinelServerType::Master)
        .map_err(wrong)?
        .set_client_to_redis_db(greeting.db())
        .set_client_to_redis_protocol(greeting.protocol())
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    if let Some(user) = greeting.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = greeting.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &parts.sentinel_user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &parts.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(mode) = parts.tls_mode() {
        builder = builder.set_client_to_redis_tls_mode(mode).set_client_to_sentinel_tls_mode(mode);
    }
    if let Some(certificates) = parts.certificates()? {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    Ok(builder)
}

pub(crate) fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}
