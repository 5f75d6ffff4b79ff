//! The only place that writes to the terminal. Answers go to standard output, all else to standard
//! error; nothing here goes through the log, since some of it is secret.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Writes an answer.
pub(crate) fn say(answer: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Where an answer goes that is too large to be held.
pub(crate) fn stream() -> impl Write + Send {
    BufWriter::new(io::stdout())
}

/// Writes an answer without ending the line.
pub(crate) fn ask(question: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{question} ").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Writes an answer for programs.
pub(crate) fn say_json(answer: &Value) -> Result<()> {
    say(answer)
}

/// Writes rows under a head, in columns.
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

/// Writes what went wrong. If that cannot be written either, there is nobody to tell.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How far a walk over accounts is: a bar on a terminal, else a line now and then, on standard
/// error.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

/// Accounts between two lines.
const LINE_EVERY: u64 = 10_000;

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        Self::with("{bar:40} {human_pos}/{human_len} accounts, {eta} left", Some(total))
    }

    /// Of a walk whose length is not known.
    pub(crate) fn endless() -> Self {
        Self::with("{spinner} {human_pos} accounts, {per_sec}", None)
    }

    fn with(template: &str, total: Option<u64>) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        // Draws nothing where standard error is no terminal.
        Self(ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style))
    }

    pub(crate) fn advance(&self) {
        self.0.inc(1);
        let done = self.0.position();
        if self.0.is_hidden() && done.is_multiple_of(LINE_EVERY) {
            complain(&format!("{done} accounts"));
        }
    }

    /// Writes a line without spoiling the bar.
    pub(crate) fn note(&self, line: &str) {
        self.0.suspend(|| complain(line));
    }

    pub(crate) fn end(self) {
        self.0.finish_and_clear();
    }
}
