//! Messages on their way.

use mfa_domain::{
    AccountKey, KeyId, Message, Sealed, Sending, TenantId, Timestamp, UserId, Version, Versioned,
};

use crate::{ColumnError, Row, millis};

/// A message.
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

/// What changes of a message.
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
    /// The columns of a message that is put; its version is that of one that was never there.
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

    /// Messages that expired by then, and are not queued, may be forgotten at a claim.
    #[must_use]
    pub fn forgotten_at(now: Timestamp) -> i64 {
        millis(now).saturating_sub(millis(Timestamp::default().plus(Message::KEPT)))
    }

    /// The message, and its version.
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
