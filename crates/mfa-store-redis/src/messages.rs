//! Messages as fields of a hash. Each part of a message is a field named `ID:part`, so that a script reads
//! and changes only what it needs, and every number stays text.

use mfa_domain::ports::UnreadableMessage;
use mfa_domain::{
    AccountKey, KeyId, Message, MessageId, MessageState, Sealed, Sending, TenantId, Timestamp, UserId,
    Version, Versioned,
};

use crate::RedisError;
use crate::field::Fields;

/// The parts that a message can have.
pub(crate) const PARTS: [&str; 9] =
    ["version", "user", "expires_at", "state", "due_at", "tries", "last_failure", "key", "content"];

/// Added to the time of expiry of a message that is not queued. In the sorted set of due messages the score
/// is in milliseconds: queued messages have their due time, and all others follow. All scores are exact in a
/// double.
pub(crate) const OVER: u64 = 1_000_000_000_000_000;

const MESSAGES: &str = "messages";

/// The values of a message in the order of [`PARTS`].
pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// The name of a field.
pub(crate) fn field(id: MessageId, part: &str) -> String {
    format!("{id}:{part}")
}

/// The score of a message in the set of due messages.
pub(crate) fn place(message: &Message) -> u64 {
    queued_place(&message.sending).unwrap_or(OVER + message.expires_at.unix_millis())
}

/// The score of a queued message.
pub(crate) fn queued_place(sending: &Sending) -> Option<u64> {
    (sending.state == MessageState::Queued).then(|| sending.due_at.unix_millis())
}

/// Whether it is still to be sent.
pub(crate) fn is_queued(message: &Message) -> bool {
    message.sending.state == MessageState::Queued
}

/// The range of scores of messages that may be deleted.
pub(crate) fn forgotten(now: Timestamp) -> (u64, u64) {
    let kept = Timestamp::default().plus(Message::KEPT);
    (OVER, OVER + now.unix_millis() - kept.unix_millis())
}

/// All parts of a new message except its version.
pub(crate) fn parts(message: &Message) -> Vec<(&'static str, Vec<u8>)> {
    let mut parts: Vec<(_, Vec<u8>)> = vec![
        ("user", message.account.user.as_str().into()),
        ("expires_at", millis(message.expires_at).into()),
    ];
    parts.extend(sending_parts(&message.sending));
    parts
}

/// The parts that hold the progress. Missing values of the last three have no field.
pub(crate) fn sending_parts(sending: &Sending) -> Vec<(&'static str, Vec<u8>)> {
    let Sending { state, due_at, tries, last_failure, content } = sending;
    let mut parts: Vec<(_, Vec<u8>)> = vec![
        ("state", state.as_str().into()),
        ("due_at", millis(*due_at).into()),
        ("tries", tries.to_string().into()),
    ];
    parts.extend(last_failure.as_deref().map(|how| ("last_failure", how.into())));
    if let Some(Sealed { key, bytes }) = content {
        parts.extend([("key", key.as_str().into()), ("content", bytes.clone())]);
    }
    parts
}

/// The message of a row, if it exists.
pub(crate) fn read(
    tenant: &TenantId,
    id: MessageId,
    row: Row,
) -> Result<Option<Versioned<Message>>, RedisError> {
    let parts = PARTS.iter().zip(row).filter_map(|(part, value)| Some(((*part).to_owned(), value?)));
    let fields = Fields { key: MESSAGES, fields: parts.collect() };
    if fields.fields.is_empty() {
        return Ok(None);
    }
    let user = fields.read("user", UserId::new(fields.text("user")?))?;
    let content = match (fields.has("key"), fields.has("content")) {
        (true, true) => {
            let (key, bytes) = (KeyId::new(fields.text("key")?), fields.bytes("content")?.to_owned());
            Some(Sealed { key, bytes })
        }
        (false, false) => None,
        _ => return Err(fields.undecodable("content")),
    };
    let last_failure = fields.has("last_failure").then(|| fields.text("last_failure")).transpose()?;
    let sending = Sending {
        state: fields.read("state", fields.text("state")?.parse())?,
        due_at: fields.time("due_at", Some(fields.number("due_at")?))?,
        tries: fields.number("tries")?,
        last_failure: last_failure.map(str::to_owned),
        content,
    };
    let value = Message {
        id,
        account: AccountKey::new(tenant.clone(), user),
        expires_at: fields.time("expires_at", Some(fields.number("expires_at")?))?,
        sending,
    };
    Ok(Some(Versioned { value, version: Version(fields.number("version")?) }))
}

/// The message of a row that begins with the message's id.
pub(crate) fn read_claimed(tenant: &TenantId, mut row: Row) -> Result<Versioned<Message>, RedisError> {
    let unknown = RedisError::Undecodable { key: "due", field: "member" };
    let parts = row.split_off(row.len().min(1));
    let id = row.pop().flatten().and_then(|id| String::from_utf8(id).ok()?.parse().ok());
    let Some(id) = id else { return Err(unknown) };
    read(tenant, id, parts)?.ok_or(unknown)
}

/// The entry for a message that cannot be read. The row begins with the message's id.
pub(crate) fn known(tenant: &TenantId, row: &[Option<Vec<u8>>]) -> UnreadableMessage {
    let text = |at: usize| str::from_utf8(row.get(at)?.as_deref()?).ok();
    let number = |name: &str| -> Option<u64> {
        let at = PARTS.iter().position(|part| *part == name)?;
        text(at + 1)?.parse().ok()
    };
    let expires_at = number("expires_at").and_then(|millis| {
        let time = Timestamp::from_unix_millis(millis);
        (time.unix_millis() == millis).then_some(time)
    });
    UnreadableMessage {
        tenant: Some(tenant.clone()),
        id: text(0).and_then(|id| id.parse().ok()),
        version: number("version").map(Version),
        expires_at,
        what: String::new(),
    }
}

pub(crate) fn millis(at: Timestamp) -> String {
    at.unix_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: MessageState) -> Message {
        let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
        let content = Sealed { key: KeyId::new("k1"), bytes: vec![0xff, 0, 7] };
        let id = MessageId::from_entropy([0xab; 16]);
        let queued = Message::queued(id, account, Timestamp::MAX, Timestamp::MAX, content);
        let sending = match state {
            MessageState::Sent => queued.sending.sent(),
            MessageState::Failed => queued.sending.failed("refused"),
            _ => queued.sending,
        };
        Message { sending, ..queued }
    }

    #[test]
    fn a_message_is_read_as_it_was_put() {
        for message in MessageState::ALL.map(message) {
            let parts = parts(&message);
            let value =
                |part: &str| parts.iter().find(|(name, _)| *name == part).map(|(_, value)| value.clone());
            let row =
                PARTS.iter().map(|part| if *part == "version" { Some(b"7".to_vec()) } else { value(part) });
            let row: Row = row.collect();
            let read_back = read(&message.account.tenant, message.id, row.clone());
            let expected = Versioned { value: message.clone(), version: Version(7) };
            assert_eq!(read_back.unwrap(), Some(expected.clone()));
            let id = message.id.to_string().into_bytes();
            let claimed = [vec![Some(id)], row].concat();
            assert_eq!(read_claimed(&message.account.tenant, claimed).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_there_is_no_message_and_cannot_be_claimed() {
        let tenant = TenantId::new("acme").unwrap();
        let (id, nothing) = (MessageId::from_entropy([1; 16]), vec![None; PARTS.len()]);
        assert_eq!(read(&tenant, id, nothing.clone()).unwrap(), None);
        for first in [Some(id.to_string().into_bytes()), Some(b"no id".to_vec()), None] {
            assert!(read_claimed(&tenant, [vec![first], nothing.clone()].concat()).is_err());
        }
        assert!(read_claimed(&tenant, Vec::new()).is_err());
    }

    #[test]
    fn what_is_known_of_a_message_does_not_depend_on_the_rest() {
        let tenant = TenantId::new("acme").unwrap();
        let id = MessageId::from_entropy([1; 16]);
        let row = |id: &str, version: &str, expires_at: &str| -> Row {
            let part = |part: &&str| -> Option<Vec<u8>> {
                match *part {
                    "version" => Some(version.into()),
                    "expires_at" => Some(expires_at.into()),
                    _ => None,
                }
            };
            [Some(id.into())].into_iter().chain(PARTS.iter().map(part)).collect()
        };
        let whole = known(&tenant, &row(&id.to_string(), "7", "600000"));
        let expires_at = Timestamp::from_unix_seconds(600);
        assert_eq!((whole.tenant.as_ref(), whole.id), (Some(&tenant), Some(id)));
        assert_eq!((whole.version, whole.expires_at), (Some(Version(7)), Some(expires_at)));
        for (row, expected) in [
            (row("x", "7", "600000"), UnreadableMessage { id: None, ..whole.clone() }),
            (row(&id.to_string(), "x", "600000"), UnreadableMessage { version: None, ..whole.clone() }),
            (row(&id.to_string(), "7", "-1"), UnreadableMessage { expires_at: None, ..whole.clone() }),
            (row(&id.to_string(), "7", "999999999999999"), UnreadableMessage { expires_at: None, ..whole }),
            (Vec::new(), UnreadableMessage { tenant: Some(tenant.clone()), ..UnreadableMessage::default() }),
        ] {
            assert_eq!(known(&tenant, &row), expected);
        }
    }

    /// Scripts calculate with doubles.
    #[test]
    fn whatever_is_not_queued_comes_after_all_that_is_and_is_forgotten_an_hour_after_it_expired() {
        let (queued, sent) = (message(MessageState::Queued), message(MessageState::Sent));
        assert_eq!((place(&queued), queued_place(&sent.sending)), (Timestamp::MAX.unix_millis(), None));
        assert!(place(&queued) < OVER && place(&sent) < 1 << 53);
        let expires_at = Timestamp::from_unix_seconds(600);
        let place = place(&Message { expires_at, ..sent });
        let is_forgotten = |now| {
            let (from, to) = forgotten(now);
            (from..=to).contains(&place)
        };
        let hour_later = expires_at.plus(Message::KEPT);
        assert!(is_forgotten(hour_later));
        assert!(!is_forgotten(Timestamp::from_unix_millis(hour_later.unix_millis() - 1)));
        assert!(!is_forgotten(Timestamp::default()));
    }
}
