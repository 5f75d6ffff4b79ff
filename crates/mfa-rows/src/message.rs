//! Columns of queued messages.

use mfa_domain::ports::{Claimed, UnreadableMessage};
use mfa_domain::{
    AccountKey, KeyId, Message, Sealed, Sending, TenantId, Timestamp, UserId, Version, Versioned,
};

use crate::{ColumnError, Row, millis};

/// A message and its version.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct MessageColumns {
    pub tenant: String,
    pub id: String,
    pub user: String,
    pub version: i64,
    pub expires_at: i64,
    pub sending: SendingColumns,
}

/// The columns that change while a message is sent.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct SendingColumns {
    pub state: String,
    pub due_at: i64,
    pub tries: i64,
    pub last_failure: Option<String>,
    pub key: Option<String>,
    pub content: Option<Vec<u8>>,
}

impl MessageColumns {
    /// The columns of a new message, with the version that an insert gives it.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let Message { id, account: AccountKey { tenant, user }, expires_at, sending } = message;
        Self {
            tenant: tenant.as_str().to_owned(),
            id: id.to_string(),
            user: user.as_str().to_owned(),
            version: 1,
            expires_at: millis(*expires_at),
            sending: SendingColumns::of(sending),
        }
    }

    /// Messages that expired by this time, in milliseconds, and are not queued may be deleted at a claim.
    #[must_use]
    pub fn forgotten_at(now: Timestamp) -> i64 {
        millis(now).saturating_sub(millis(Timestamp::default().plus(Message::KEPT)))
    }

    /// The result of a claim, from the rows as the claim has updated them.
    #[must_use]
    pub fn claimed(rows: impl IntoIterator<Item = Self>) -> Claimed {
        let mut claimed = Claimed::default();
        for row in rows {
            let known = row.known();
            match row.read() {
                Ok(message) => claimed.messages.push(message),
                Err(error) => {
                    claimed.unreadable.push(UnreadableMessage { what: error.to_string(), ..known });
                }
            }
        }
        claimed
    }

    /// Reads the message and its version.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(self) -> Result<Versioned<Message>, ColumnError> {
        let row = Row::of("messages");
        let tenant = row.read("tenant", TenantId::new(&self.tenant))?;
        let user = row.read("user", UserId::new(&self.user))?;
        let value = Message {
            id: row.read("id", self.id.parse())?,
            account: AccountKey::new(tenant, user),
            expires_at: row.time("expires_at", self.expires_at)?,
            sending: self.sending.read(row)?,
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }

    /// The entry for a message that cannot be read.
    fn known(&self) -> UnreadableMessage {
        let row = Row::of("messages");
        UnreadableMessage {
            tenant: TenantId::new(&self.tenant).ok(),
            id: self.id.parse().ok(),
            version: row.number("version", self.version).ok().map(Version),
            expires_at: row.time("expires_at", self.expires_at).ok(),
            what: String::new(),
        }
    }
}

impl SendingColumns {
    /// The columns of `sending`.
    #[must_use]
    pub fn of(sending: &Sending) -> Self {
        let Sending { state, due_at, tries, last_failure, content } = sending;
        Self {
            state: state.as_str().to_owned(),
            due_at: millis(*due_at),
            tries: (*tries).into(),
            last_failure: last_failure.clone(),
            key: content.as_ref().map(|sealed| sealed.key.to_string()),
            content: content.as_ref().map(|sealed| sealed.bytes.clone()),
        }
    }

    fn read(self, row: Row) -> Result<Sending, ColumnError> {
        let content = match (self.key, self.content) {
            (Some(key), Some(bytes)) => Some(Sealed { key: KeyId::new(key), bytes }),
            (None, None) => None,
            _ => return Err(row.undecodable("content")),
        };
        Ok(Sending {
            state: row.read("state", self.state.parse())?,
            due_at: row.time("due_at", self.due_at)?,
            tries: row.number("tries", self.tries)?,
            last_failure: self.last_failure,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::MessageId;

    use super::*;

    /// The row of a message after a change that makes it unreadable.
    fn row(spoil: impl Fn(&mut MessageColumns)) -> MessageColumns {
        let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
        let content = Sealed { key: KeyId::new("k1"), bytes: vec![7] };
        let [now, later] = [1_000, 1_600].map(Timestamp::from_unix_seconds);
        let id = MessageId::from_entropy([7; 16]);
        let mut row = MessageColumns::of(&Message::queued(id, account, now, later, content));
        spoil(&mut row);
        row
    }

    #[test]
    fn what_cannot_be_read_is_told_with_as_much_as_is_known_and_keeps_no_other_out() {
        let whole = row(|_| ()).known();
        let later = Timestamp::from_unix_seconds(1_600);
        assert_eq!((whole.version, whole.expires_at), (Some(Version(1)), Some(later)));
        let id = row(|_| ()).id;
        assert_eq!(whole.id.map(|id| id.to_string()), Some(id));
        for (spoilt, column, known) in [
            (row(|row| row.user = String::new()), "user", whole.clone()),
            (row(|row| row.sending.tries = -1), "tries", whole.clone()),
            (row(|row| row.sending.key = None), "content", whole.clone()),
            (row(|row| row.sending.state = "lost".to_owned()), "state", whole.clone()),
            (
                row(|row| row.tenant = "A".to_owned()),
                "tenant",
                UnreadableMessage { tenant: None, ..whole.clone() },
            ),
            (row(|row| row.id = "x".to_owned()), "id", UnreadableMessage { id: None, ..whole.clone() }),
            (row(|row| row.version = -1), "version", UnreadableMessage { version: None, ..whole.clone() }),
            (
                row(|row| row.expires_at = i64::MAX),
                "expires_at",
                UnreadableMessage { expires_at: None, ..whole.clone() },
            ),
        ] {
            let claimed = MessageColumns::claimed([spoilt, row(|_| ())]);
            assert_eq!(claimed.messages.len(), 1, "{column}");
            let what = claimed.unreadable[0].what.clone();
            assert!(what.contains(&format!("column {column} ")), "{what}");
            assert_eq!(claimed.unreadable, [UnreadableMessage { what, ..known }], "{column}");
        }
    }
}
