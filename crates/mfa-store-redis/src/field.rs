//! Reading of fields.

use std::collections::HashMap;
use std::str::FromStr;

use mfa_domain::Timestamp;

use crate::RedisError;

/// The fields of a hash or of an entry of a stream, and the kind of key that they belong to.
pub(crate) struct Fields {
    pub(crate) key: &'static str,
    pub(crate) fields: HashMap<String, Vec<u8>>,
}

impl Fields {
    /// The error of a field that cannot be read.
    pub(crate) const fn undecodable(&self, field: &'static str) -> RedisError {
        RedisError::Undecodable { key: self.key, field }
    }

    /// The parsed value of a field.
    pub(crate) fn read<T, E>(&self, field: &'static str, read: Result<T, E>) -> Result<T, RedisError> {
        read.map_err(|_| self.undecodable(field))
    }

    /// The value of a required field.
    pub(crate) fn required<T>(&self, field: &'static str, value: Option<T>) -> Result<T, RedisError> {
        value.ok_or_else(|| self.undecodable(field))
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    pub(crate) fn bytes(&self, field: &'static str) -> Result<&[u8], RedisError> {
        self.required(field, self.fields.get(field)).map(Vec::as_slice)
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<&str, RedisError> {
        self.read(field, str::from_utf8(self.bytes(field)?))
    }

    pub(crate) fn array<const N: usize>(&self, field: &'static str) -> Result<[u8; N], RedisError> {
        self.read(field, self.bytes(field)?.try_into())
    }

    pub(crate) fn number<T: FromStr>(&self, field: &'static str) -> Result<T, RedisError> {
        self.read(field, self.text(field)?.parse())
    }

    /// A time in milliseconds. A time beyond [`Timestamp::MAX`] is an error: it was never written.
    pub(crate) fn time(&self, field: &'static str, millis: Option<u64>) -> Result<Timestamp, RedisError> {
        let millis = self.required(field, millis)?;
        let time = Timestamp::from_unix_millis(millis);
        if time.unix_millis() == millis { Ok(time) } else { Err(self.undecodable(field)) }
    }

    /// A time, or `None` if the field is missing or empty.
    pub(crate) fn optional_time(&self, field: &'static str) -> Result<Option<Timestamp>, RedisError> {
        if !self.has(field) || self.text(field)?.is_empty() {
            return Ok(None);
        }
        self.time(field, Some(self.number(field)?)).map(Some)
    }
}
