//! Messages: JSON in the form that Standard Webhooks recommends.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use mfa_domain::ports::{TrailEvent, Vault};
use mfa_domain::{EventId, FactorId, Timestamp};
use serde::Serialize;

/// A message, and the id by which a receiver recognises duplicates.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    events: Vec<Event<'a>>,
}

/// An event as the HTTP API shows it, with its tenant.
#[derive(Serialize)]
struct Event<'a> {
    id: String,
    tenant: &'a str,
    user: &'a str,
    at: String,
    kind: &'a str,
    factor: Option<String>,
    actor: &'a str,
    detail: &'a BTreeMap<String, String>,
    sequence: u64,
    hash: String,
}

impl Message {
    /// A message of these events in their order; `None` if there are none, or they cannot be serialised.
    ///
    /// The same events make the same message, byte for byte. Its id contains the ids of the first and the
    /// last event and a part of the last one's hash. So after the database was restored from a backup, new
    /// events are not mistaken for the ones that they replace.
    pub(crate) fn of_events(events: &[TrailEvent], vault: &dyn Vault) -> Option<Self> {
        let (first, last) = (events.first()?, events.last()?);
        let [from, to] = [first, last].map(|event| id(vault, event));
        let last = &last.recorded;
        let hash = HEXLOWER.encode(&last.event.hash.0[..8]);
        let id = format!("events_{from}_{to}_{hash}");
        let body = Body {
            r#type: "audit.events",
            timestamp: last.event.at.to_string(),
            data: Data { events: events.iter().map(|event| Event::of(event, vault)).collect() },
        };
        Some(Self { id, body: serde_json::to_vec(&body).ok()? })
    }

    /// A message without events, with which an operator tests an endpoint.
    #[must_use]
    pub fn test(now: Timestamp) -> Self {
        let body =
            Body { r#type: "webhook.test", timestamp: now.to_string(), data: Data { events: Vec::new() } };
        Self {
            id: format!("test_{}", now.unix_millis()),
            body: serde_json::to_vec(&body).unwrap_or_default(),
        }
    }
}

impl<'a> Event<'a> {
    fn of(of: &'a TrailEvent, vault: &dyn Vault) -> Self {
        let TrailEvent { tenant, recorded } = of;
        let event = &recorded.event;
        Self {
            id: id(vault, of).to_string(),
            tenant: tenant.as_str(),
            user: recorded.user.as_str(),
            at: event.at.to_string(),
            kind: event.kind.as_str(),
            factor: event.factor.as_ref().map(FactorId::to_string),
            actor: &event.actor,
            detail: &event.detail,
            sequence: event.sequence,
            hash: event.hash.to_string(),
        }
    }
}

/// The id by which its tenant knows an event.
fn id(vault: &dyn Vault, TrailEvent { tenant, recorded }: &TrailEvent) -> EventId {
    vault.event_id(tenant, recorded.position)
}
