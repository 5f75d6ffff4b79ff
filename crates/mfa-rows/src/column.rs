//! Conversions of numbers, times and texts between the domain and a column.

use mfa_domain::Timestamp;
use thiserror::Error;

/// A column that cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ColumnError {
    /// The column holds a value that this version cannot read.
    #[error(
        "column {column} of table {table} holds a value that this version cannot read (account {account})"
    )]
    Undecodable {
        /// The table of the value.
        table: &'static str,
        /// The column of the value.
        column: &'static str,
        /// The number of the account, as in `accounts.id`; 0 if the row has none.
        account: i64,
    },
    /// The column cannot hold the value.
    #[error("column {column} cannot hold the value")]
    Unwritable {
        /// The column of the value.
        column: &'static str,
    },
    /// The number exceeds what a database can store.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// The column of the number.
        column: &'static str,
    },
}

/// A number for a column. Integers of databases end at `i64::MAX`; a greater value is an error.
///
/// # Errors
/// [`ColumnError::TooLarge`].
pub fn integer(column: &'static str, value: u64) -> Result<i64, ColumnError> {
    i64::try_from(value).map_err(|_| ColumnError::TooLarge { column })
}

/// A time for a column, in milliseconds.
#[must_use]
pub fn millis(time: Timestamp) -> i64 {
    // The greatest time, `Timestamp::MAX`, is far below `i64::MAX`.
    i64::try_from(time.unix_millis()).unwrap_or(i64::MAX)
}

/// A row that is being read. All methods that return a `Result` fail with [`ColumnError::Undecodable`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The table of the row.
    pub table: &'static str,
    /// The number of the account, as in `accounts.id`; 0 if the row has none.
    pub account: i64,
}

#[expect(clippy::missing_errors_doc, reason = "documented once, on the type")]
impl Row {
    /// A row of a table without accounts.
    #[must_use]
    pub const fn of(table: &'static str) -> Self {
        Self { table, account: 0 }
    }

    /// The error of a column that cannot be read.
    #[must_use]
    pub const fn undecodable(self, column: &'static str) -> ColumnError {
        ColumnError::Undecodable { table: self.table, column, account: self.account }
    }

    /// The parsed value of a column.
    pub fn read<T, E>(self, column: &'static str, read: Result<T, E>) -> Result<T, ColumnError> {
        read.map_err(|_| self.undecodable(column))
    }

    /// A text column that was read as bytes, for databases that also store bytes which are not text.
    pub fn text<'a>(self, column: &'static str, bytes: &'a [u8]) -> Result<&'a str, ColumnError> {
        self.read(column, str::from_utf8(bytes))
    }

    /// A text column that may be null, read as bytes.
    pub fn optional_text<'a>(
        self,
        column: &'static str,
        bytes: Option<&'a [u8]>,
    ) -> Result<Option<&'a str>, ColumnError> {
        bytes.map(|bytes| self.text(column, bytes)).transpose()
    }

    /// An integer column as another type of number.
    pub fn number<T: TryFrom<i64>>(self, column: &'static str, value: i64) -> Result<T, ColumnError> {
        self.read(column, T::try_from(value))
    }

    /// A time in milliseconds. A time beyond [`Timestamp::MAX`] is an error: it was never written.
    pub fn time(self, column: &'static str, millis: i64) -> Result<Timestamp, ColumnError> {
        let time = Timestamp::from_unix_millis(self.number(column, millis)?);
        if self::millis(time) == millis { Ok(time) } else { Err(self.undecodable(column)) }
    }

    /// A time that may be null.
    pub fn optional_time(
        self,
        column: &'static str,
        millis: Option<i64>,
    ) -> Result<Option<Timestamp>, ColumnError> {
        millis.map(|millis| self.time(column, millis)).transpose()
    }

    /// The value of a column that this kind of row always has.
    pub fn required<T>(self, column: &'static str, value: Option<T>) -> Result<T, ColumnError> {
        value.ok_or_else(|| self.undecodable(column))
    }
}
