//! Runs tests.

use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::{panic, thread};

use anyhow::Result;

use crate::databases::Databases;
use crate::lint;
use crate::phases::Phases;
use crate::run::{cargo, patient, run};
use crate::tools::{self, CargoDeny};

/// Runs all tests, including examples in documentation. With filters, only the tests that match.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools and build", || {
        thread::scope(|scope| {
            let tools = scope.spawn(tools::install);
            run(tests(&["--no-run"])?)?;
            finish(tools)
        })
    })?;
    let databases = Databases::start()?;
    let ran = phases.run("tests", || {
        thread::scope(|scope| {
            // At the lowest priority, so that it uses the time in which tests wait.
            let examples = filters.is_empty().then(|| scope.spawn(|| run(patient(&examples()))));
            let mut tests = tests(filters)?;
            databases.tell(&mut tests);
            let ran = run(tests);
            examples.map_or(Ok(()), finish)?;
            ran
        })
    });
    drop(databases);
    if filters.is_empty() {
        eprintln!(
            "\nNOT RUN: faults at full length, and the previous release beside this version; `cargo xtask faults` \
             runs them"
        );
    }
    ran
}

/// The result of a thread of a phase.
fn finish(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// The command that runs the examples in documentation.
fn examples() -> Command {
    cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])
}

/// Lints and tests, as CI does.
pub(crate) fn ci() -> Result<()> {
    lint::code()?;
    let cargo_deny = CargoDeny::begin()?;
    let ran = test(&[]);
    lint::dependencies(cargo_deny)?;
    ran
}

/// The command that runs all tests except the examples in documentation, in the groups of `.config/nextest.toml`.
pub(crate) fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = tools::cargo_nextest()?;
    tests.args(["run", "--workspace", "--locked"]).args(arguments);
    Ok(tests)
}
