//! Reading the audit trail.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use mfa_domain::audit::EventHash;
use mfa_domain::ports::{AccountPlace, EventPage, EventPosition, EventQuery, RecordedEvent, UnreadableEvent};
use mfa_domain::{AccountKey, AuditEvent, EventKind, UserId};
use redis::Value;

use crate::field::Fields;
use crate::keys::Keys;
use crate::script::{Call, Script};
use crate::{LONGEST_PAGE, RedisError};

static EVENTS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/events.lua")));

const EVENT: &str = "events";

/// The id of a stream entry, and its fields.
type Entry = (String, Value);

/// The call that reads a page.
pub(crate) fn page<'a>(keys: &Keys, query: &EventQuery) -> Call<'a> {
    let of_user = query.user.as_ref();
    let of_user = of_user.map(|user| keys.events_of(&AccountKey::new(query.tenant.clone(), user.clone())));
    let all = [keys.events(&query.tenant), keys.last(&query.tenant)];
    Call::new(&EVENTS, all.into_iter().chain(of_user))
        .with(query.after.map(|position| position.to_string()).unwrap_or_default())
        .with((query.limit.min(LONGEST_PAGE) + 1).to_string())
}

/// Returns the tenant's last event id, and the page.
pub(crate) fn read(answer: Value, query: &EventQuery) -> Result<(u64, EventPage), RedisError> {
    let undecodable = RedisError::Undecodable { key: EVENT, field: "entry" };
    let (last, entries): (u64, Vec<Entry>) = redis::from_redis_value(answer).map_err(|_| undecodable)?;
    let limit = query.limit.min(LONGEST_PAGE) as usize;
    let more = entries.len() > limit;
    let mut page = EventPage { more, ..EventPage::default() };
    for (id, fields) in entries.into_iter().take(limit) {
        let position = id.split('-').next().and_then(|id| id.parse().ok()).map(EventPosition);
        let position = position.ok_or(RedisError::Undecodable { key: EVENT, field: "id" })?;
        // Fields whose names are not text are not ours.
        let fields: HashMap<Vec<u8>, Vec<u8>> = redis::from_redis_value(fields).unwrap_or_default();
        let fields =
            fields.into_iter().filter_map(|(name, value)| Some((String::from_utf8(name).ok()?, value)));
        let fields = Fields { key: EVENT, fields: fields.collect() };
        match event(position, &fields, query.user.as_ref()) {
            Ok(event) => page.events.push(event),
            Err(error) => page.unreadable.push(unreadable(position, &fields, query, &error)),
        }
    }
    Ok((last, page))
}

/// Parses one event. An event in a user's list that names another user is an error: otherwise it would be
/// shown as an event of both.
fn event(position: EventPosition, fields: &Fields, of: Option<&UserId>) -> Result<RecordedEvent, RedisError> {
    let user = fields.read("user", UserId::new(fields.text("user")?))?;
    if of.is_some_and(|of| *of != user) {
        return Err(fields.undecodable("user"));
    }
    let factor = Some(fields.text("factor")?).filter(|factor| !factor.is_empty());
    let detail: BTreeMap<String, String> =
        fields.read("detail", serde_json::from_slice(fields.bytes("detail")?))?;
    Ok(RecordedEvent {
        position,
        user,
        event: AuditEvent {
            sequence: fields.number("sequence")?,
            at: fields.time("at", Some(fields.number("at")?))?,
            kind: EventKind::from_name(fields.text("kind")?),
            factor: fields.read("factor", factor.map(str::parse).transpose())?,
            actor: fields.text("actor")?.to_owned(),
            detail,
            previous: EventHash(fields.array("previous")?),
            hash: EventHash(fields.array("hash")?),
        },
    })
}

fn unreadable(
    position: EventPosition,
    fields: &Fields,
    query: &EventQuery,
    error: &RedisError,
) -> UnreadableEvent {
    let asked = query.user.as_ref().map(|user| user.as_str().as_bytes());
    let user = asked.or_else(|| fields.bytes("user").ok()).unwrap_or_default().to_owned();
    let place = AccountPlace { tenant: query.tenant.as_str().into(), user };
    UnreadableEvent { position, place, what: error.to_string() }
}
