//! `serve`

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use mfa_actix::throttling::Proxies;
use mfa_actix::{Api, Clocks, Throttling};
use mfa_domain::ports::{ApiKeyName, ClockBeforeEpoch, Scope, SystemClock, Throttle};
use mfa_domain::{TenantId, TenantSettings};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::{api_key, check_clock};
use crate::audit::schedule;
use crate::config::{Config, EphemeralUrl, Settings, StoreUrl};
use crate::courier::Courier;
use crate::installation::Installation;
use crate::storage::{self, Absent};
use crate::webhooks::Webhooks;
use crate::welcome::Welcome;
use crate::{clocks, data_dir, http, logging, output};

/// Where the buckets of all histograms end, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// How often the clock is looked at.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// How often what was measured is put into the buckets.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Whose the key of the first start is.
const FIRST_TENANT: &str = "default";

pub(super) async fn run(config: &Config) -> Result<()> {
    let settings = &config.settings;
    logging::start(settings)?;
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let _claim = claim(settings)?;
    let mut installation = Installation::open(config, Absent::Create).await?;
    let throttle = installation.begin_to_serve(settings).await?;
    installation.follow_key_ring();
    if settings.re_encryption {
        installation.re_encrypt_in_background();
    }
    schedule::start(config, &installation)?;
    let metrics = metrics()?;
    let clocks = clocks::watch(settings, &installation).await;
    let api =
        api(settings, &installation, throttle, clocks.clone())?.metrics(Arc::new(move || metrics.render()));
    let stop = stop_signal()?;

    let listener =
        http::listen(settings.listen).with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr().context("the server has no address")?;
    // Before the first request, so that no event of it is left out.
    let webhooks =
        Webhooks::start(settings, installation.deliveries(), &installation.mfa.ports().vault).await?;
    let courier = Courier::start(settings, Arc::clone(&installation.mfa), clocks);
    // Not before the port is ours: a key that nobody gets to see would be the last that is shown.
    let welcome = first_start(settings, &installation, address).await?;
    installation.made().await;

    let server = http::serve(listener, api, settings, stop)?;
    // One write, so that whoever waits for its first line does not miss the rest.
    if let Err(error) = output::say(format_args!("listening on http://{address}{welcome}")) {
        warn!("{error:#}");
    }
    info!(%address, store = %settings.store, version = env!("CARGO_PKG_VERSION"), "ready");
    server.await.context("the server failed")?;
    tokio::join!(courier.stop(), webhooks.stop());
    installation.close().await;
    info!("stopped");
    check_clock()
}

/// Keeps other servers off the database.
fn claim(settings: &Settings) -> Result<Option<File>> {
    let Some(database) = storage::database(settings)? else { return Ok(None) };
    data_dir::make(&settings.data_dir)?;
    data_dir::claim(&database).map(Some)
}

/// What is counted and measured from here on.
fn metrics() -> Result<PrometheusHandle> {
    let metrics = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

fn api(
    settings: &Settings,
    installation: &Installation,
    throttle: Arc<dyn Throttle>,
    clocks: Clocks,
) -> Result<Api> {
    let throttling = throttling(settings, throttle)?;
    let api = Api::new(Arc::clone(&installation.mfa), Arc::clone(&installation.api_keys), throttling)
        .request_timeout(settings.request_timeout)
        .clocks(clocks);
    let mut tenants = TenantSettings::default();
    if !settings.issuer.is_empty() {
        tenants = tenants.with_issuer(&settings.issuer);
    }
    Ok(api.tenants(tenants))
}

fn throttling(settings: &Settings, throttle: Arc<dyn Throttle>) -> Result<Throttling> {
    if settings.store.is_shared() && settings.ephemeral == EphemeralUrl::Memory {
        warn!(
            "each server on this database counts requests for itself; `ephemeral` can name where all count"
        );
    }
    let trusted = settings.throttle.trusted_proxies.iter().map(|text| text.parse());
    let proxies =
        Proxies::new(trusted.collect::<Result<_, _>>()?, settings.throttle.forwarded_header.parse()?)?;
    Ok(Throttling::new(throttle)
        .quotas((&settings.throttle).into())
        .refusal_delay(settings.throttle.refusal_delay)
        .proxies(proxies))
}

/// What the first start shows; nothing once there was any API key.
async fn first_start(
    settings: &Settings,
    installation: &Installation,
    address: SocketAddr,
) -> Result<String> {
    if !installation.api_keys.list(None).await?.is_empty() {
        return Ok(String::new());
    }
    let tenant = TenantId::new(FIRST_TENANT)?;
    let name = Some(ApiKeyName::new("first key")?);
    let key = api_key::create(installation, settings, name, &tenant, Scope::ALL.into()).await?;
    let kept_in = match &settings.store {
        StoreUrl::Memory => None,
        StoreUrl::Sqlite(_) => Some(settings.data_dir.display().to_string()),
        shared => Some(format!("{shared} and {}", settings.data_dir.display())),
    };
    Ok(format!("\n{}", Welcome { address, kept_in, tenant: &tenant, key: &key }))
}

/// Ends when the process is told to stop, or must: by a clock before 1970 no code is right or wrong.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = clock_before_epoch() => error!("{error}"),
        }
        info!("stopping; open requests are answered first");
    })
}

async fn clock_before_epoch() -> ClockBeforeEpoch {
    loop {
        tokio::time::sleep(CLOCK_EVERY).await;
        if let Err(error) = SystemClock.check() {
            return error;
        }
    }
}
