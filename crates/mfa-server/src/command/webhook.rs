//! `webhook status`, `test`, `rewind`, `resume`. Positions are those in the trail of all tenants.

use std::error::Error;

use anyhow::{Context, Result, bail};
use mfa_domain::delivery::Claimable;
use mfa_domain::ports::{Clock, Commit, DeliveryStore, EventPosition, StoreError, SystemClock};
use mfa_domain::{Delivery, EndpointId, Timestamp, Version, Versioned};
use mfa_webhook::{Answer, Message};
use serde_json::{Value, json};

use crate::cli::{Json, WebhookCommand};
use crate::config::{Config, Settings, Webhook};
use crate::failure::{Exit, Misuse};
use crate::output;
use crate::storage::{Absent, Storage};
use crate::webhooks::{endpoint, http, undeliverable};

/// How often to try a change while a sender changes the same row.
const TRIES: usize = 16;

/// Needs no key ring, since it shows positions and no event ids.
pub(super) async fn run(config: &Config, command: WebhookCommand) -> Result<Exit> {
    let settings = &config.settings;
    if let WebhookCommand::Test { name, json } = &command {
        return test(settings, named(settings, name)?, *json).await;
    }
    let storage = Storage::open(settings, Absent::Refuse).await?;
    let store = storage.deliveries.clone().ok_or_else(undeliverable)?;
    let store = store.as_ref();
    let mut exit = Exit::Done;
    match command {
        WebhookCommand::Status { json } => exit = status(settings, store, json).await?,
        WebhookCommand::Rewind { name, after, json } => {
            named(settings, &name)?;
            rewind(store, &name, EventPosition(after), json).await?;
        }
        WebhookCommand::Resume { name, json } => {
            named(settings, &name)?;
            let resumed = change(store, &name, Delivery::resumed).await?;
            say(&name, &resumed, json)?;
        }
        WebhookCommand::Test { .. } => {}
    }
    storage.close().await;
    Ok(exit)
}

fn named<'a>(settings: &'a Settings, name: &EndpointId) -> Result<&'a Webhook> {
    let found = settings.webhook.iter().find(|webhook| webhook.name == *name);
    found.ok_or_else(|| Misuse(format!("the configuration has no webhook named {name}")).into())
}

async fn test(settings: &Settings, webhook: &Webhook, json: Json) -> Result<Exit> {
    let now = SystemClock.now();
    let answer = http(settings)?.post(&endpoint(settings, webhook)?, &Message::test(now), now).await;
    let taken = answer == Answer::Taken;
    let why = match &answer {
        Answer::Taken => None,
        Answer::NotTaken { why, .. } => Some(why.as_str()),
        Answer::Gone => Some("it answered 410 Gone: it accepts no more messages"),
    };
    if json.json {
        output::say_json(
            &json!({ "name": webhook.name.as_str(), "taken": taken, "answer": answer.to_string(), "why": why }),
        )?;
    } else if let Some(why) = why {
        output::say(format_args!("{} did not accept the message: {why}", webhook.name))?;
    } else {
        output::say(format_args!("{} accepted the message", webhook.name))?;
    }
    Ok(if taken { Exit::Done } else { Exit::Failed })
}

/// The stored state of a webhook: `None` if it was never started, an error if its row cannot be read.
type Kept = Result<Option<Delivery>, StoreError>;

async fn status(settings: &Settings, store: &dyn DeliveryStore, json: Json) -> Result<Exit> {
    let last = store.last_event().await?;
    let mut rows = Vec::new();
    let mut exit = Exit::Done;
    for webhook in &settings.webhook {
        let kept: Kept = match store.delivery(&webhook.name).await {
            Err(error) if error.is_unreadable() => {
                let name = &webhook.name;
                output::complain(&format!("the position of webhook {name} cannot be read: {}", what(&error)));
                exit = Exit::Failed;
                Err(error)
            }
            kept => Ok(kept?.map(|kept| kept.value)),
        };
        rows.push((webhook, kept));
    }
    if json.json {
        let rows = rows.iter().map(|(webhook, kept)| {
            let url = webhook.url.to_string();
            json!({ "name": webhook.name.as_str(), "url": url, "last_position": last.to_string(),
                "delivery": kept.as_ref().ok().and_then(Option::as_ref).map(to_json),
                "error": kept.as_ref().err().map(what) })
        });
        output::say_json(&rows.collect())?;
        return Ok(exit);
    }
    let head = [
        "NAME",
        "URL",
        "STATE",
        "POSITION",
        "LAST POSITION",
        "UNREADABLE",
        "FAILURES",
        "LAST FAILURE",
        "NEXT TRY",
    ];
    let rows: Vec<_> = rows.iter().map(|(webhook, kept)| row(webhook, kept, last)).collect();
    output::say_table(head, &rows)?;
    Ok(exit)
}

/// Why a row cannot be read. Contains no stored value.
fn what(error: &StoreError) -> String {
    error.source().unwrap_or(error).to_string()
}

fn row(webhook: &Webhook, kept: &Kept, last: EventPosition) -> [String; 9] {
    let now = SystemClock.now();
    let state = match kept {
        Err(_) => "unreadable",
        Ok(None) => "not started",
        Ok(Some(kept)) => match kept.turn(now) {
            Claimable::Stopped => "stopped",
            Claimable::Wait(_) if kept.claimed_until > now => "sending",
            Claimable::Wait(_) => "waiting",
            Claimable::Free => "ready",
        },
    };
    let kept = kept.as_ref().ok().and_then(Option::as_ref);
    let text = |of: fn(&Delivery) -> String| kept.map_or_else(|| "-".to_owned(), of);
    [
        webhook.name.to_string(),
        webhook.url.to_string(),
        state.to_owned(),
        text(|kept| kept.position.to_string()),
        last.to_string(),
        text(|kept| kept.unreadable.to_string()),
        text(|kept| kept.failures.to_string()),
        text(|kept| kept.last_failure.clone().unwrap_or_else(|| "-".to_owned())),
        text(|kept| time(kept.not_before).unwrap_or_else(|| "-".to_owned())),
    ]
}

/// Continues with the next event after `after`: delivers later events again, or skips earlier ones.
async fn rewind(
    store: &dyn DeliveryStore,
    name: &EndpointId,
    after: EventPosition,
    json: Json,
) -> Result<()> {
    let last = store.last_event().await?;
    if after > last {
        return Err(
            Misuse(format!("there is no event at position {after}; the last position is {last}")).into()
        );
    }
    let rewound = change(store, name, |_| Delivery::starting_after(after)).await?;
    say(name, &rewound, json)
}

/// Changes the state of a webhook. A running sender notices, and continues from there.
async fn change(
    store: &dyn DeliveryStore,
    name: &EndpointId,
    change: impl Fn(&Delivery) -> Delivery,
) -> Result<Delivery> {
    for _ in 0..TRIES {
        let kept = store
            .delivery(name)
            .await?
            .context("the webhook was never started; start the server with it first")?;
        let Versioned { value, version } = kept;
        let next = change(&value);
        if swap(store, name, version, &next).await? {
            return Ok(next);
        }
    }
    bail!("the webhook was not changed, since a server keeps changing its position; try again")
}

async fn swap(
    store: &dyn DeliveryStore,
    name: &EndpointId,
    version: Version,
    next: &Delivery,
) -> Result<bool> {
    Ok(store.swap(name, version, next).await? == Commit::Won)
}

fn say(name: &EndpointId, delivery: &Delivery, json: Json) -> Result<()> {
    if json.json {
        return output::say_json(&to_json(delivery));
    }
    output::say(format_args!("{name} continues after position {}", delivery.position))
}

fn to_json(delivery: &Delivery) -> Value {
    json!({
        "position": delivery.position.to_string(),
        "unreadable": delivery.unreadable,
        "failures": delivery.failures,
        "last_failure": delivery.last_failure,
        "next_try": time(delivery.not_before),
        "claimed_until": time(delivery.claimed_until),
        "stopped": delivery.stopped,
    })
}

/// The time as text; `None` if it is not set.
fn time(at: Timestamp) -> Option<String> {
    (at > Timestamp::default()).then(|| at.to_string())
}
