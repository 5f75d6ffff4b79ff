//! Delivering the audit trail to the webhooks that the settings name.

use std::error::Error;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use mfa_domain::ports::{DeliveryStore, EventPosition, StoreError, SystemClock, SystemEntropy, Vault};
use mfa_webhook::{Endpoint, Filter, Http, Secrets, Sender, SigningSecrets};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};
use zeroize::Zeroizing;

use crate::config::{Settings, Start, Webhook};
use crate::data_dir;
use crate::failure::Misuse;

/// The senders that run, one for each webhook.
#[derive(Debug)]
pub(crate) struct Webhooks {
    senders: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Webhooks {
    /// Starts to deliver. Once this is done no event is left out, whatever fails later.
    pub(crate) async fn start(
        settings: &Settings,
        store: Option<Arc<dyn DeliveryStore>>,
        vault: &Arc<dyn Vault>,
    ) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut senders = JoinSet::new();
        let http = http(settings)?;
        if settings.webhook.is_empty() {
            return Ok(Self { senders, stop });
        }
        let store = store.ok_or_else(undeliverable)?;
        for webhook in &settings.webhook {
            let endpoint = endpoint(settings, webhook)?;
            info!(webhook = %endpoint.id, url = %endpoint.url, "events are delivered");
            let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
            let sender = Sender::new(endpoint, store.clone(), vault.clone(), clock, entropy, http.clone());
            match sender.begin().await {
                Err(error) if error.is_unreadable() => warn_of(webhook, &error),
                begun => begun.with_context(|| format!("the webhook {} cannot begin", webhook.name))?,
            }
            let mut stopped = stopped.clone();
            senders.spawn(sender.run(async move {
                // An error means that nobody is left to stop it, which is as good.
                let _ = stopped.wait_for(|stop| *stop).await;
            }));
        }
        Ok(Self { senders, stop })
    }

    /// Breaks off what is under way, and lets another replica go on.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.senders.join_next().await.is_some() {}
    }
}

/// Tells of a webhook that gets nothing until its row is repaired. The others need not wait for that.
fn warn_of(webhook: &Webhook, error: &StoreError) {
    metrics::counter!("mfa_unreadable_rows_total", "table" => "deliveries").increment(1);
    let what = error.source().map(ToString::to_string);
    error!(webhook = %webhook.name, what, "how far a webhook is cannot be read, so nothing is delivered to it");
}

/// The last event that no webhook has still to deliver. One that fails, or was stopped by its
/// receiver, has; take it out of the settings if it is not to come back.
pub(crate) async fn delivered(
    settings: &Settings,
    store: Option<&dyn DeliveryStore>,
) -> Result<EventPosition> {
    let mut through = EventPosition(u64::MAX);
    let Some(store) = store else { return Ok(through) };
    for webhook in &settings.webhook {
        let delivery = store.delivery(&webhook.name).await;
        let delivery =
            delivery.with_context(|| format!("how far the webhook {} is cannot be read", webhook.name))?;
        through = through.min(match delivery {
            Some(delivery) => delivery.value.position,
            None if webhook.start == Start::Beginning => EventPosition(0),
            None => through,
        });
    }
    Ok(through)
}

/// Nobody can tell which events of two tenants came first.
pub(crate) fn undeliverable() -> Misuse {
    Misuse("webhooks need a store in SQLite or PostgreSQL, and this one is in Redis".to_owned())
}

/// A client for all webhooks.
pub(crate) fn http(settings: &Settings) -> Result<Http> {
    Ok(Http::new(settings.webhook.iter().any(|webhook| webhook.url.is_tls()))?)
}

/// A webhook as the settings describe it, whose secret can be read by now.
pub(crate) fn endpoint(settings: &Settings, webhook: &Webhook) -> Result<Endpoint> {
    let path = data_dir::inside(&settings.data_dir, &webhook.secret_file)?;
    let shown = path.display().to_string();
    let secrets = Secrets::new(move || {
        let text = Zeroizing::new(fs::read_to_string(&path)?);
        Ok(SigningSecrets::parse(&text)?)
    });
    if let Err(error) = secrets.read() {
        let text = format!("the secret of the webhook {} cannot be read from {shown}: {error}", webhook.name);
        return Err(Misuse(text).into());
    }
    Ok(Endpoint {
        id: webhook.name.clone(),
        url: webhook.url.clone(),
        secrets,
        filter: Filter {
            tenants: webhook.tenants.iter().cloned().collect(),
            kinds: webhook.kinds.iter().cloned().collect(),
        },
        timeout: webhook.timeout,
        from_the_beginning: webhook.start == Start::Beginning,
    })
}
