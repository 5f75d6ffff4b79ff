//! The only module that writes to the terminal. Results go to standard output, everything else to standard error.
//! Nothing here goes to the log, since some of it is secret.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Writes a result.
pub(crate) fn say(answer: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Standard output, for results that are too large for memory.
pub(crate) fn stream() -> impl Write + Send {
    BufWriter::new(io::stdout())
}

/// Writes a question without ending the line.
pub(crate) fn ask(question: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{question} ").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Writes a result as JSON.
pub(crate) fn say_json(answer: &Value) -> Result<()> {
    say(answer)
}

/// Writes a table.
pub(crate) fn say_table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: [&str; N]| {
        let cells: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    say(line(head))?;
    rows.iter().try_for_each(|row| say(line(row.each_ref().map(String::as_str))))
}

/// Writes an error. Ignores that standard error cannot be written, since there is no other place to report it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The progress of a walk over accounts, on standard error: a bar on a terminal, otherwise a line for every
/// [`LINE_EVERY`] accounts.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

/// Accounts between two lines.
const LINE_EVERY: u64 = 10_000;

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        Self::with("{bar:40} {human_pos}/{human_len} accounts, {eta} left", Some(total))
    }

    /// For a walk of unknown length.
    pub(crate) fn endless() -> Self {
        Self::with("{spinner} {human_pos} accounts, {per_sec}", None)
    }

    fn with(template: &str, total: Option<u64>) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        // Draws nothing if standard error is not a terminal.
        Self(ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style))
    }

    pub(crate) fn advance(&self) {
        self.0.inc(1);
        let done = self.0.position();
        if self.0.is_hidden() && done.is_multiple_of(LINE_EVERY) {
            complain(&format!("{done} accounts done"));
        }
    }

    /// Writes a line above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.0.suspend(|| complain(line));
    }

    pub(crate) fn end(self) {
        self.0.finish_and_clear();
    }
}
