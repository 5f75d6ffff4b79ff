//! `GET /v1/users/{user}/events` and `GET /v1/events`

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Query};
use mfa_domain::ports::{EventQuery, RecordedEvent, UnreadableEvent};
use mfa_domain::{TenantId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::caller::{Caller, User, UserSegment};
use crate::problem::Problem;
use crate::state::State;

/// The page to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageRequest {
    /// Id of an event; the page begins after it. Default: the first event.
    #[param(
        pattern = "^evt_[a-z2-7]{26}$",
        min_length = 30,
        max_length = 30,
        example = "evt_6aa7ss2xkxx434m5qycywjdudy"
    )]
    after: Option<String>,
    /// Largest number of events, 1 to 1000. Default 100.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 50)]
    limit: Option<u32>,
}

/// One page of events, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "events": [{
        "id": "evt_2p2egftjojmab5ltxnmqwvdoaa",
        "user": "alice@example.com",
        "at": "2026-03-02T08:15:27.000Z",
        "kind": "verified",
        "factor": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21",
        "actor": "user api-key:abcdefghijklmnop (shop)",
        "detail": { "method": "totp" },
        "sequence": 3,
        "hash": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    }],
    "next": "evt_2p2egftjojmab5ltxnmqwvdoaa",
}))]
pub(crate) struct EventsAnswer {
    events: Vec<EventAnswer>,
    /// Ids of events that are left out because their rows are damaged. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
    /// Value of `after` for the next page; `null` if this is the last page.
    #[schema(required, pattern = "^evt_[a-z2-7]{26}$", min_length = 30, max_length = 30)]
    next: Option<String>,
}

/// An event in the audit trail of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventAnswer {
    /// Opaque, permanent id. The order of the events is that of the list, not of the ids.
    #[schema(pattern = "^evt_[a-z2-7]{26}$", min_length = 30, max_length = 30)]
    id: String,
    /// Id of the user.
    user: String,
    /// Time of the event (RFC 3339).
    #[schema(format = DateTime)]
    at: String,
    /// Kind of event: `verified`, `verification_failed`, `locked`, …
    kind: String,
    /// Id of the factor; `null` if the event is about none.
    #[schema(required)]
    factor: Option<String>,
    /// Caller that caused the event: role, API key id and name of the key.
    actor: String,
    /// Details, depending on the kind.
    detail: BTreeMap<String, String>,
    /// Number of the event in the user's chain, from 1.
    sequence: u64,
    /// SHA-256 of the event, the account and the hash of the previous event, in hex.
    hash: String,
}

/// List the events of a user
#[utoipa::path(
    get, path = "/v1/users/{user}/events", tag = "audit",
    operation_id = "list_user_events",
    params(UserSegment, PageRequest),
    responses((status = 200, description = "A page of the user's events", body = EventsAnswer)),
)]
pub(crate) async fn of_user(
    caller: Caller,
    User(key): User,
    request: HttpRequest,
    state: Data<State>,
) -> Result<Json<EventsAnswer>, Problem> {
    page(&state, caller.tenant, Some(key.user), &request).await
}

/// List the events of the tenant
#[utoipa::path(
    get, path = "/v1/events", tag = "audit",
    operation_id = "list_events",
    params(PageRequest),
    responses((status = 200, description = "A page of the tenant's events", body = EventsAnswer)),
)]
pub(crate) async fn of_tenant(
    caller: Caller,
    request: HttpRequest,
    state: Data<State>,
) -> Result<Json<EventsAnswer>, Problem> {
    page(&state, caller.tenant, None, &request).await
}

async fn page(
    state: &State,
    tenant: TenantId,
    user: Option<UserId>,
    request: &HttpRequest,
) -> Result<Json<EventsAnswer>, Problem> {
    let wanted = Query::<PageRequest>::from_query(request.query_string()).map_err(|_| {
        Problem::invalid("", "the query takes `after` and `limit` (a number), each at most once")
    })?;
    let vault = &state.mfa.ports().vault;
    let after = match wanted.after.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let position = text.parse().ok().and_then(|id| vault.event_position(&tenant, id));
            Some(
                position
                    .ok_or_else(|| Problem::invalid("after", "is not the id of an event of this tenant"))?,
            )
        }
    };
    let limit = wanted.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::invalid("limit", "must be 1 to 1000"));
    }
    let id = |position| vault.event_id(&tenant, position).to_string();
    let page = state.mfa.events(&EventQuery { tenant: tenant.clone(), user, after, limit }).await?;
    for UnreadableEvent { position, place, what } in &page.unreadable {
        metrics::counter!("mfa_unreadable_rows_total", "table" => "events").increment(1);
        let id = id(*position);
        tracing::error!(id, %position, account = %place, what, "could not read an audit event; run audit verify");
    }
    Ok(Json(EventsAnswer {
        next: page.last().filter(|_| page.more).map(id),
        unreadable: page.unreadable.iter().map(|event| id(event.position)).collect(),
        events: page.events.into_iter().map(|event| EventAnswer::of(id(event.position), event)).collect(),
    }))
}

impl EventAnswer {
    fn of(id: String, RecordedEvent { user, event, .. }: RecordedEvent) -> Self {
        Self {
            id,
            user: user.as_str().to_owned(),
            at: event.at.to_string(),
            kind: event.kind.to_string(),
            factor: event.factor.map(|id| id.to_string()),
            actor: event.actor,
            detail: event.detail,
            sequence: event.sequence,
            hash: event.hash.to_string(),
        }
    }
}
