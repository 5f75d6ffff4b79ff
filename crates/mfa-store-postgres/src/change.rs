//! Commits: many accounts in one statement.

use std::collections::BTreeMap;

use mfa_domain::account::{Attempts, BackupCodes, HashedCode, KeptAnswers};
use mfa_domain::{AccountKey, AuditEvent, BackupCodesChange, Delta, FactorId, HandleChange, Version};
use mfa_rows::{ColumnError, FactorsColumns, MessageColumns, integer, millis};

use crate::PostgresError;
use crate::transaction::TimeLimits;
use crate::writes::{GuardedWrite, Numbers, column, numbers};

mod sending;
mod usual;
mod whole;

pub(crate) use sending::SENDING;
pub(crate) use usual::USUAL;
pub(crate) use whole::WHOLE;

/// A change of one account, as rows.
pub(crate) struct ChangeRows {
    key: AccountKey,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: Vec<i64>,
    verified_low: Option<i64>,
    verified_medium: Option<i64>,
    verified_high: Option<i64>,
    audit_sequence: i64,
    audit_hash: [u8; 32],
    /// `None` keeps the stored answers.
    answers: Option<Vec<u8>>,
    /// `None` keeps the stored factors.
    factors: Option<FactorsColumns>,
    codes: Codes,
    events: Vec<EventRow>,
    /// `None` keeps the stored data.
    data: Option<String>,
    claimed: Vec<Vec<u8>>,
    released: Vec<Vec<u8>>,
    /// No id appears twice.
    messages: Vec<MessageColumns>,
}

enum Codes {
    Kept,
    Removed,
    Replaced(CodeSetRow),
    Spent { place: i32, at: i64 },
}

struct CodeSetRow {
    scheme: String,
    issued_at: i64,
    count: i16,
    /// All hashes, concatenated.
    hashes: Vec<u8>,
    /// Empty if no code is spent.
    spent_at: Vec<Option<i64>>,
}

struct EventRow {
    sequence: i64,
    at: i64,
    kind: String,
    factor: Option<String>,
    actor: String,
    detail: String,
    previous: [u8; 32],
    hash: [u8; 32],
}

impl ChangeRows {
    /// The rows of a change. Of several changes of one handle, only the last counts.
    pub(crate) fn of(key: &AccountKey, expected: Version, delta: &Delta) -> Result<Self, PostgresError> {
        let Attempts { failures, forgiven, recent, verified } = delta.attempts();
        let version = integer("version", expected.0)?;
        // The next version must be storable, too.
        version.checked_add(1).ok_or(PostgresError::TooLarge { column: "version" })?;
        let head = delta.audit_head();
        let (claimed, released) = last_of_each(delta.handles());
        Ok(Self {
            key: key.clone(),
            version,
            failures: (*failures).into(),
            forgiven: (*forgiven).into(),
            recent_failures: recent.iter().copied().map(millis).collect(),
            verified_low: verified.low.map(millis),
            verified_medium: verified.medium.map(millis),
            verified_high: verified.high.map(millis),
            audit_sequence: integer("audit_sequence", head.sequence)?,
            audit_hash: head.hash.0,
            answers: delta.answers().map(KeptAnswers::to_bytes),
            factors: delta.factors().map(FactorsColumns::of).transpose()?,
            codes: Codes::of(delta.backup_codes())?,
            events: delta.events().iter().map(EventRow::of).collect::<Result<_, _>>()?,
            data: delta.data().map(|data| data.as_str().to_owned()),
            claimed,
            released,
            messages: delta.messages().iter().map(MessageColumns::of).collect(),
        })
    }

    /// Whether it is among the most frequent changes: a code was right, wrong or sent, and so there is one event
    /// of an existing account.
    fn is_usual(&self) -> bool {
        self.version > 0
            && self.events.len() == 1
            && matches!(self.codes, Codes::Kept)
            && self.answers.is_none()
            && self.data.is_none()
            && self.claimed.is_empty()
            && self.released.is_empty()
    }
}

impl GuardedWrite for ChangeRows {
    type Row = AccountKey;

    fn row(&self) -> &AccountKey {
        &self.key
    }

    fn statement<'q>(wave: &[&'q Self], limits: TimeLimits) -> Numbers<'q> {
        if !wave.iter().all(|change| change.is_usual()) {
            whole::bind(numbers(WHOLE, limits), wave)
        } else if wave.iter().any(|change| !change.messages.is_empty()) {
            sending::bind(numbers(SENDING, limits), wave)
        } else {
            usual::bind(numbers(USUAL, limits), wave)
        }
    }
}

/// The handles that are claimed in the end, and those that are released.
fn last_of_each(changes: &[HandleChange]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut last = BTreeMap::new();
    for change in changes {
        let (HandleChange::Claim(handle) | HandleChange::Release(handle)) = change;
        last.insert(handle.as_bytes().to_vec(), matches!(change, HandleChange::Claim(_)));
    }
    let (claimed, released): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, claimed)| *claimed);
    let handles = |list: Vec<(Vec<u8>, bool)>| list.into_iter().map(|(handle, _)| handle).collect();
    (handles(claimed), handles(released))
}

impl Codes {
    fn of(change: Option<&BackupCodesChange>) -> Result<Self, PostgresError> {
        Ok(match change {
            None => Self::Kept,
            Some(BackupCodesChange::Remove) => Self::Removed,
            Some(BackupCodesChange::Spend { place, at }) => {
                let place =
                    i32::try_from(*place).map_err(|_| PostgresError::TooLarge { column: "spent_at" })?;
                Self::Spent { place, at: millis(*at) }
            }
            Some(BackupCodesChange::Replace(set)) => Self::Replaced(CodeSetRow::of(set)?),
        })
    }
}

impl CodeSetRow {
    fn of(BackupCodes { scheme, codes, issued_at }: &BackupCodes) -> Result<Self, PostgresError> {
        let length = |code: &HashedCode| code.hash.0.len();
        if codes.windows(2).any(|pair| matches!(pair, [one, next] if length(one) != length(next))) {
            return Err(ColumnError::Unwritable { column: "hashes" }.into());
        }
        let spent = codes.iter().any(|code| code.spent_at.is_some());
        Ok(Self {
            scheme: scheme.clone(),
            issued_at: millis(*issued_at),
            count: i16::try_from(codes.len()).map_err(|_| PostgresError::TooLarge { column: "count" })?,
            hashes: codes.iter().flat_map(|code| code.hash.0.iter().copied()).collect(),
            spent_at: codes.iter().filter(|_| spent).map(|code| code.spent_at.map(millis)).collect(),
        })
    }
}

/// Arrays of different lengths. PostgreSQL cannot pass those as one array of arrays, so `items` concatenates
/// them, and array `n` is the slice from `first[n]` to `last[n]`, counted from 1.
struct Arrays<'a, T> {
    items: Vec<&'a T>,
    first: Vec<i32>,
    last: Vec<i32>,
}

impl<'a, T> Arrays<'a, T> {
    fn of(arrays: impl IntoIterator<Item = &'a Vec<T>>) -> Self {
        let mut all = Self { items: Vec::new(), first: Vec::new(), last: Vec::new() };
        // No message of the protocol can hold more items.
        let places = |items: &[&T]| i32::try_from(items.len()).unwrap_or(i32::MAX);
        for array in arrays {
            all.first.push(places(&all.items).saturating_add(1));
            all.items.extend(array);
            all.last.push(places(&all.items));
        }
        all
    }
}

impl EventRow {
    fn of(event: &AuditEvent) -> Result<Self, PostgresError> {
        Ok(Self {
            sequence: integer("sequence", event.sequence)?,
            at: millis(event.at),
            kind: event.kind.as_str().to_owned(),
            factor: event.factor.as_ref().map(FactorId::to_string),
            actor: event.actor.clone(),
            detail: serde_json::to_string(&event.detail).map_err(PostgresError::other)?,
            previous: event.previous.0,
            hash: event.hash.0,
        })
    }
}

/// Binds what all three statements begin with, `$2` to `$12`: the accounts and their attempts.
fn bind_attempts<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let failures = Arrays::of(wave.iter().map(|c| &c.recent_failures));
    query
        .bind(column(wave, |c| c.key.tenant.as_str()))
        .bind(column(wave, |c| c.key.user.as_str()))
        .bind(column(wave, |c| c.version))
        .bind(column(wave, |c| c.failures))
        .bind(column(wave, |c| c.forgiven))
        .bind(failures.first)
        .bind(failures.last)
        .bind(column(wave, |c| c.verified_low))
        .bind(column(wave, |c| c.verified_medium))
        .bind(column(wave, |c| c.verified_high))
        .bind(column(&failures.items, |at| *at))
}

/// The items of each change, with the number of the change in the statement.
fn numbered<'a, T>(wave: &[&'a ChangeRows], of: impl Fn(&'a ChangeRows) -> &'a Vec<T>) -> Vec<(i64, &'a T)> {
    (1..)
        .zip(wave)
        .flat_map(move |(number, change)| of(change).iter().map(move |item| (number, item)))
        .collect()
}

/// Binds the messages, with the number of the change that queues each.
fn bind_messages<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let messages = numbered(wave, |change| &change.messages);
    query
        .bind(column(&messages, |(number, _)| number))
        .bind(column(&messages, |(_, message)| message.id.as_str()))
        .bind(column(&messages, |(_, message)| message.user.as_str()))
        .bind(column(&messages, |(_, message)| message.expires_at))
        .bind(column(&messages, |(_, message)| message.sending.state.as_str()))
        .bind(column(&messages, |(_, message)| message.sending.due_at))
        .bind(column(&messages, |(_, message)| message.sending.tries))
        .bind(column(&messages, |(_, message)| message.sending.last_failure.as_deref()))
        .bind(column(&messages, |(_, message)| message.sending.key.as_deref()))
        .bind(column(&messages, |(_, message)| message.sending.content.as_deref()))
}
