//! Numbers and bytes between the domain and a column.

use mfa_domain::Timestamp;
use thiserror::Error;

/// A column that cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ColumnError {
    /// It holds what this version cannot read.
    #[error("column {column} of table {table} holds what this version cannot read (account {account})")]
    Undecodable {
        /// In which table.
        table: &'static str,
        /// Which column.
        column: &'static str,
        /// The number of its account, as in `accounts.id`; 0 if it has none.
        account: i64,
    },
    /// What is to be kept cannot be held by the column.
    #[error("what is to be kept has no form that column {column} holds")]
    Unwritable {
        /// In which column.
        column: &'static str,
    },
    /// A number is beyond what a database can hold.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// For which column.
        column: &'static str,
    },
}

/// A number for a column: integers of databases end at `i64::MAX`, and a value beyond is refused.
///
/// # Errors
/// [`ColumnError::TooLarge`].
pub fn integer(column: &'static str, value: u64) -> Result<i64, ColumnError> {
    i64::try_from(value).map_err(|_| ColumnError::TooLarge { column })
}

/// A time for a column, in milliseconds.
#[must_use]
pub fn millis(time: Timestamp) -> i64 {
    // The last time there is, Timestamp::MAX, is far below i64::MAX.
    i64::try_from(time.unix_millis()).unwrap_or(i64::MAX)
}

/// A row that is being read. All its methods fail with [`ColumnError::Undecodable`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of which table.
    pub table: &'static str,
    /// Of which account, as in `accounts.id`; 0 if of none.
    pub account: i64,
}

#[expect(clippy::missing_errors_doc, reason = "they are said once, on the type")]
impl Row {
    /// A row of a table that belongs to no account.
    #[must_use]
    pub const fn of(table: &'static str) -> Self {
        Self { table, account: 0 }
    }

    /// The error of a column that cannot be read.
    #[must_use]
    pub const fn undecodable(self, column: &'static str) -> ColumnError {
        ColumnError::Undecodable { table: self.table, column, account: self.account }
    }

    /// What a column holds, if it could be read.
    pub fn read<T, E>(self, column: &'static str, read: Result<T, E>) -> Result<T, ColumnError> {
        read.map_err(|_| self.undecodable(column))
    }

    /// A text column that was read as bytes, for databases that keep bytes that are no text as well.
    pub fn text<'a>(self, column: &'static str, bytes: &'a [u8]) -> Result<&'a str, ColumnError> {
        self.read(column, str::from_utf8(bytes))
    }

    /// The same for a column that may hold none.
    pub fn optional_text<'a>(
        self,
        column: &'static str,
        bytes: Option<&'a [u8]>,
    ) -> Result<Option<&'a str>, ColumnError> {
        bytes.map(|bytes| self.text(column, bytes)).transpose()
    }

    /// An integer column as any other type of number.
    pub fn number<T: TryFrom<i64>>(self, column: &'static str, value: i64) -> Result<T, ColumnError> {
        self.read(column, T::try_from(value))
    }

    /// A time; one beyond [`Timestamp::MAX`] is none that was ever written.
    pub fn time(self, column: &'static str, millis: i64) -> Result<Timestamp, ColumnError> {
        let time = Timestamp::from_unix_millis(self.number(column, millis)?);
        if self::millis(time) == millis { Ok(time) } else { Err(self.undecodable(column)) }
    }

    /// A time that may be missing.
    pub fn optional_time(
        self,
        column: &'static str,
        millis: Option<i64>,
    ) -> Result<Option<Timestamp>, ColumnError> {
        millis.map(|millis| self.time(column, millis)).transpose()
    }

    /// A column that rows of this kind always have.
    pub fn required<T>(self, column: &'static str, value: Option<T>) -> Result<T, ColumnError> {
        value.ok_or_else(|| self.undecodable(column))
    }
}
