//! Lines of a file that may be larger than the memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Result, anyhow, bail};

/// More than any line that is written: an event may hold a reason that somebody typed.
const LONGEST: u64 = 1 << 20;

/// Reads a file line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    from: BufReader<File>,
    number: u64,
}

impl Lines {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        Ok(Self { from: BufReader::new(File::open(path)?), number: 0 })
    }

    /// The next line with its end; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.from).take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') {
            bail!("line {} has no end: it was cut off", self.number);
        }
        Ok(Some(line))
    }

    /// How many lines were read.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The error of a line that is not of the form.
    pub(crate) fn unreadable(&self) -> anyhow::Error {
        anyhow!("line {} cannot be read: it was altered", self.number)
    }
}
