//! Columns of audit events.

use std::collections::BTreeMap;

use mfa_domain::audit::EventHash;
use mfa_domain::ports::{EventPosition, RecordedEvent};
use mfa_domain::{AuditEvent, EventKind, UserId};

use crate::{ColumnError, Row};

/// An event. The user is `None` if the account's row is missing.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct EventColumns<'a> {
    pub id: i64,
    pub user: Option<&'a str>,
    pub sequence: i64,
    pub at: i64,
    pub kind: &'a str,
    pub factor: Option<&'a str>,
    pub actor: &'a str,
    /// A JSON object whose values are strings.
    pub detail: &'a [u8],
    pub previous: &'a [u8],
    pub hash: &'a [u8],
}

impl EventColumns<'_> {
    /// The position of the event with this id. Ids are positive.
    #[must_use]
    pub const fn position(id: i64) -> EventPosition {
        EventPosition(id.unsigned_abs())
    }

    /// Reads the event of `row`.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(&self, row: Row) -> Result<RecordedEvent, ColumnError> {
        let detail: BTreeMap<String, String> = row.read("detail", serde_json::from_slice(self.detail))?;
        let user = row.required("user", self.user)?;
        Ok(RecordedEvent {
            position: Self::position(self.id),
            user: row.read("user", UserId::new(user))?,
            event: AuditEvent {
                sequence: row.number("sequence", self.sequence)?,
                at: row.time("at", self.at)?,
                kind: EventKind::from_name(self.kind),
                factor: row.read("factor", self.factor.map(str::parse).transpose())?,
                actor: self.actor.to_owned(),
                detail,
                previous: EventHash(row.read("previous", self.previous.try_into())?),
                hash: EventHash(row.read("hash", self.hash.try_into())?),
            },
        })
    }
}
