//! Running tests.

use std::process::Command;

use anyhow::Result;

use crate::databases::Databases;
use crate::lint;
use crate::phases::Phases;
use crate::run::{cargo, run};
use crate::tools::{self, CargoDeny};

/// Runs every test, examples in documentation included. With filters, only the tests that match.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    phases.run("build", || run(tests(&["--no-run"])?))?;
    let databases = Databases::start()?;
    let ran = phases.run("tests", || {
        let mut tests = tests(filters)?;
        databases.tell(&mut tests);
        run(tests)
    });
    drop(databases);
    if filters.is_empty() {
        phases.run("examples", || run(cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])))?;
        eprintln!(
            "\nNOT RUN: faults as often as docs/reliability.md says, and the version before beside this one; \
             `cargo xtask faults` does"
        );
    }
    ran
}

/// Lints and tests, as CI does.
pub(crate) fn ci() -> Result<()> {
    lint::code()?;
    let cargo_deny = CargoDeny::begin()?;
    let ran = test(&[]);
    lint::dependencies(cargo_deny)?;
    ran
}

/// A run of all tests but the examples in documentation, in the groups of `.config/nextest.toml`.
pub(crate) fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = tools::cargo_nextest()?;
    tests.args(["run", "--workspace", "--locked"]).args(arguments);
    Ok(tests)
}
