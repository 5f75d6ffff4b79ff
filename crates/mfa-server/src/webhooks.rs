//! Delivers the audit trail to the webhooks of the settings.

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

/// The running senders, one for each webhook.
#[derive(Debug)]
pub(crate) struct Webhooks {
    senders: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Webhooks {
    /// Starts delivery. From then on no event is left out, whatever fails later.
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
            info!(webhook = %endpoint.id, url = %endpoint.url, "delivering events to a webhook");
            let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
            let sender = Sender::new(endpoint, store.clone(), vault.clone(), clock, entropy, http.clone());
            match sender.begin().await {
                Err(error) if error.is_unreadable() => warn_of(webhook, &error),
                begun => begun.with_context(|| format!("the webhook {} cannot start", webhook.name))?,
            }
            let mut stopped = stopped.clone();
            senders.spawn(sender.run(async move {
                // An error means that `stop` was dropped, which also ends the sender.
                let _ = stopped.wait_for(|stop| *stop).await;
            }));
        }
        Ok(Self { senders, stop })
    }

    /// Aborts deliveries; another server continues them.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.senders.join_next().await.is_some() {}
    }
}

/// Logs that a webhook receives nothing until its row is repaired. Other webhooks are not affected.
fn warn_of(webhook: &Webhook, error: &StoreError) {
    metrics::counter!("mfa_unreadable_rows_total", "table" => "deliveries").increment(1);
    let what = error.source().map(ToString::to_string);
    error!(webhook = %webhook.name, what, "the position of a webhook cannot be read, so it receives no events");
}

/// The position up to which every webhook has received the trail. A webhook that fails, or that its receiver has
/// stopped, holds this position back until it is removed from the settings.
pub(crate) async fn delivered(
    settings: &Settings,
    store: Option<&dyn DeliveryStore>,
) -> Result<EventPosition> {
    let mut through = EventPosition(u64::MAX);
    let Some(store) = store else { return Ok(through) };
    for webhook in &settings.webhook {
        let delivery = store.delivery(&webhook.name).await;
        let delivery =
            delivery.with_context(|| format!("the position of webhook {} cannot be read", webhook.name))?;
        through = through.min(match delivery {
            Some(delivery) => delivery.value.position,
            None if webhook.start == Start::Beginning => EventPosition(0),
            None => through,
        });
    }
    Ok(through)
}

/// Redis does not order the events of different tenants.
pub(crate) fn undeliverable() -> Misuse {
    Misuse("webhooks need a store in SQLite or PostgreSQL, but this store is in Redis".to_owned())
}

/// A client for all webhooks.
pub(crate) fn http(settings: &Settings) -> Result<Http> {
    Ok(Http::new(settings.webhook.iter().any(|webhook| webhook.url.is_tls()))?)
}

/// A webhook of the settings as an endpoint. Fails if its secret cannot be read now.
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
