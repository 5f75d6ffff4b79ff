//! What is sent: JSON in the form that Standard Webhooks recommends.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use mfa_domain::ports::TrailEvent;
use mfa_domain::{FactorId, Timestamp};
use serde::Serialize;

/// A message, and the id by which a receiver knows it again.
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

/// An event as the HTTP API shows it, and whose it is.
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
    /// Events in their order; `None` if there are none, or they cannot be written.
    ///
    /// The same events make the same message, byte by byte. Its id has the ids of the first and the last,
    /// and a part of the last one's hash: so two installations that deliver to one receiver do not make
    /// the same ids.
    pub(crate) fn of_events(events: &[TrailEvent]) -> Option<Self> {
        let (first, last) = (&events.first()?.recorded, &events.last()?.recorded);
        let hash = HEXLOWER.encode(&last.event.hash.0[..8]);
        let id = format!("events_{}_{}_{hash}", first.position, last.position);
        let body = Body {
            r#type: "audit.events",
            timestamp: last.event.at.to_string(),
            data: Data { events: events.iter().map(Event::of).collect() },
        };
        Some(Self { id, body: serde_json::to_vec(&body).ok()? })
    }

    /// A message without events, for an operator to see whether it arrives.
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
    fn of(TrailEvent { tenant, recorded }: &'a TrailEvent) -> Self {
        let event = &recorded.event;
        Self {
            id: recorded.position.to_string(),
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
