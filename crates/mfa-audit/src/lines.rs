//! Lines of a file that may be larger than memory.

use std::io::{self, BufRead, Read};

use thiserror::Error;

/// Longer than any line that is written: an event may hold a reason that a person typed.
const LONGEST: u64 = 1 << 20;

/// Why a line of a checkpoint or an export could not be read. Lines are counted from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LineError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The line has no newline, or is longer than 1 MiB.
    #[error("line {0} is incomplete: it was cut off")]
    CutOff(u64),
    /// The line does not have the expected form.
    #[error("line {0} cannot be read: it was altered")]
    Altered(u64),
}

/// Reads line by line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn of(from: R) -> Self {
        Self { from, number: 0 }
    }

    /// The next line with its newline; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let mut line = Vec::new();
        self.from.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') {
            return Err(LineError::CutOff(self.number));
        }
        Ok(Some(line))
    }

    /// The number of lines read so far.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The error of a line that does not have the expected form.
    pub(crate) const fn altered(&self) -> LineError {
        LineError::Altered(self.number)
    }
}
