//! Numbers and bytes between the domain and a column.

use mfa_domain::Timestamp;

use crate::SqliteError;

/// A number for a column: SQLite's integers end at `i64::MAX`, and a value beyond is refused.
pub(crate) fn integer(column: &'static str, value: u64) -> Result<i64, SqliteError> {
    i64::try_from(value).map_err(|_| SqliteError::TooLarge { column })
}

/// A time for a column, in milliseconds.
pub(crate) fn millis(time: Timestamp) -> i64 {
    // The last time there is, Timestamp::MAX, is far below i64::MAX.
    i64::try_from(time.unix_millis()).unwrap_or(i64::MAX)
}

/// A row that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) table: &'static str,
    pub(crate) account: i64,
}

impl Row {
    /// The error of a column that cannot be read.
    pub(crate) fn undecodable(self, column: &'static str) -> SqliteError {
        SqliteError::Undecodable { table: self.table, column, account: self.account }
    }

    /// What a column holds, if it could be read.
    pub(crate) fn read<T, E>(self, column: &'static str, read: Result<T, E>) -> Result<T, SqliteError> {
        read.map_err(|_| self.undecodable(column))
    }

    /// A text column that was read as bytes, since SQLite keeps bytes that are no text as well.
    pub(crate) fn text<'a>(self, column: &'static str, bytes: &'a [u8]) -> Result<&'a str, SqliteError> {
        self.read(column, str::from_utf8(bytes))
    }

    /// An integer column as any other type of number.
    pub(crate) fn number<T: TryFrom<i64>>(self, column: &'static str, value: i64) -> Result<T, SqliteError> {
        self.read(column, T::try_from(value))
    }

    /// A time; one beyond [`Timestamp::MAX`] is none that was ever written.
    pub(crate) fn time(self, column: &'static str, millis: i64) -> Result<Timestamp, SqliteError> {
        let time = Timestamp::from_unix_millis(self.number(column, millis)?);
        if self::millis(time) == millis { Ok(time) } else { Err(self.undecodable(column)) }
    }

    /// A time that may be missing.
    pub(crate) fn optional_time(
        self,
        column: &'static str,
        millis: Option<i64>,
    ) -> Result<Option<Timestamp>, SqliteError> {
        millis.map(|millis| self.time(column, millis)).transpose()
    }

    /// A column that rows of this kind always have.
    pub(crate) fn required<T>(self, column: &'static str, value: Option<T>) -> Result<T, SqliteError> {
        value.ok_or_else(|| self.undecodable(column))
    }
}
