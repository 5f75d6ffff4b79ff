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
use crate::{assertions, clocks, data_dir, http, logging, output, webauthn};

/// Upper bounds of the buckets of all histograms, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// How often the clock is checked.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// How often measurements are moved into the buckets.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// The tenant and the name of the key that the first start creates.
const FIRST_TENANT: &str = "default";
const FIRST_NAME: &str = "first-start";

pub(super) async fn run(config: &Config) -> Result<()> {
    let settings = &config.settings;
    logging::start(settings)?;
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let _claim = claim(settings)?;
    // Servers that share a database recognise an installation by its first API key. A server that creates no key must
    // not create the installation either.
    let absent = if settings.no_key && settings.store.is_shared() { Absent::Refuse } else { Absent::Create };
    let mut installation = Installation::open(config, absent).await?;
    if absent == Absent::Refuse {
        // Only a new installation creates the data directory. This server may have none yet, if its key ring comes
        // from the environment.
        data_dir::make(&settings.data_dir)?;
    }
    // Before the use cases are complete: the default origin of passkeys has the port.
    let listener =
        http::listen(settings.listen).with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    let passkeys = webauthn::passkeys(settings, address).map_err(|all| config.problems(&all))?;
    let relying_party = passkeys.as_ref().map(|passkeys| Arc::clone(&passkeys.relying_party));
    webauthn::announce(settings, address);
    let throttle = installation.begin_to_serve(settings, relying_party.clone()).await?;
    webauthn::check_change(&installation.mfa, &settings.webauthn.abandon_rp_id).await?;
    if let Some(passkeys) = passkeys {
        passkeys.follow_metadata();
    }
    installation.follow_key_ring();
    if settings.re_encryption {
        installation.re_encrypt_in_background();
    }
    schedule::start(config, &installation)?;
    let metrics = metrics()?;
    let clocks = clocks::watch(settings, &installation).await;
    assertions::start(settings, address, &installation.mfa, clocks.clone()).await?;
    let api = api(settings, address, &installation, throttle, clocks.clone())?
        .well_known(webauthn::well_known(settings, relying_party.as_deref()))
        .metrics(Arc::new(move || metrics.render()));
    let stop = stop_signal()?;

    // Before the first request, so that its events are delivered.
    let webhooks =
        Webhooks::start(settings, installation.deliveries(), &installation.mfa.ports().vault).await?;
    let courier = Courier::start(settings, Arc::clone(&installation.mfa), clocks);
    // Only after the port is bound: if binding failed later, the key would exist but never be shown.
    let welcome = first_start(config, &installation, address).await?;
    installation.made().await;

    let server = http::serve(listener, api, settings, stop)?;
    // One write, so that a program that waits for the first line also gets the rest.
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

/// Locks an SQLite database against other servers.
fn claim(settings: &Settings) -> Result<Option<File>> {
    let Some(database) = storage::database(settings)? else { return Ok(None) };
    data_dir::make(&settings.data_dir)?;
    data_dir::claim(&database).map(Some)
}

/// Starts to record metrics.
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
    address: SocketAddr,
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
    if settings.assertions.enabled {
        tenants = tenants
            .with_assertion_issuer(assertions::issuer(settings, address))
            .with_assertion_audience(&settings.assertions.audience);
    }
    Ok(api.tenants(tenants))
}

fn throttling(settings: &Settings, throttle: Arc<dyn Throttle>) -> Result<Throttling> {
    if settings.store.is_shared() && settings.ephemeral == EphemeralUrl::Memory {
        warn!(
            "each server on this database counts requests separately; set `ephemeral` to make limits hold for all together"
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

/// The text that a start prints if there was never an API key; otherwise empty.
async fn first_start(config: &Config, installation: &Installation, address: SocketAddr) -> Result<String> {
    if !installation.api_keys.list(None).await?.is_empty() {
        return Ok(String::new());
    }
    let tenant = TenantId::new(FIRST_TENANT)?;
    let settings = &config.settings;
    let key = if settings.no_key {
        None
    } else {
        let name = Some(ApiKeyName::new(FIRST_NAME)?);
        Some(api_key::create(installation, settings, name, &tenant, Scope::ALL.into()).await?)
    };
    let kept_in = match &settings.store {
        StoreUrl::Memory => None,
        StoreUrl::Sqlite(path) if !path.is_absolute() => Some(settings.data_dir.display().to_string()),
        StoreUrl::Sqlite(path) => Some(format!("{} and {}", path.display(), settings.data_dir.display())),
        shared => Some(format!("{shared} and {}", settings.data_dir.display())),
    };
    let welcome = Welcome { address, kept_in, program: config.invocation(), tenant, key };
    Ok(format!("\n{welcome}"))
}

/// Completes on SIGTERM or SIGINT, or when the clock shows a time before 1970, with which no code can be checked.
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
