//! Columns of the progress of endpoints.

use mfa_domain::ports::EventPosition;
use mfa_domain::{Delivery, Version, Versioned};

use crate::{ColumnError, Row, integer, millis};

/// The progress of an endpoint and its version.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct DeliveryColumns {
    pub version: i64,
    pub position: i64,
    pub through: Option<i64>,
    pub claimed_until: i64,
    pub not_before: i64,
    pub failures: i64,
    pub last_failure: Option<String>,
    pub stopped: bool,
    pub unreadable: i64,
}

impl DeliveryColumns {
    /// The columns of `next`, which replaces the progress at version `expected`.
    ///
    /// # Errors
    /// [`ColumnError::TooLarge`].
    pub fn of(expected: Version, next: &Delivery) -> Result<Self, ColumnError> {
        Ok(Self {
            version: integer("version", expected.0)?,
            position: integer("position", next.position.0)?,
            through: next.through.map(|through| integer("through", through.0)).transpose()?,
            claimed_until: millis(next.claimed_until),
            not_before: millis(next.not_before),
            failures: next.failures.into(),
            last_failure: next.last_failure.clone(),
            stopped: next.stopped,
            unreadable: integer("unreadable", next.unreadable)?,
        })
    }

    /// Reads the progress of the endpoint and its version.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(self) -> Result<Versioned<Delivery>, ColumnError> {
        let row = Row::of("deliveries");
        let through = self.through.map(|through| row.number("through", through)).transpose()?;
        let value = Delivery {
            position: EventPosition(row.number("position", self.position)?),
            through: through.map(EventPosition),
            claimed_until: row.time("claimed_until", self.claimed_until)?,
            not_before: row.time("not_before", self.not_before)?,
            failures: row.number("failures", self.failures)?,
            last_failure: self.last_failure,
            stopped: self.stopped,
            unreadable: row.number("unreadable", self.unreadable)?,
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}
