//! Running tests.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::databases::Databases;
use crate::phases::Phases;
use crate::run::{cargo, output, root, run};
use crate::{lint, tools};

/// Runs every test, examples in documentation included. With filters, only the tests that match.
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    phases.run("build", build)?;
    let databases = Databases::start()?;
    let ran = phases.run("tests", || run_tests(&databases, filters));
    drop(databases);
    if filters.is_empty() {
        phases.run("examples", examples)?;
        not_run();
    }
    ran
}

/// The same after the lints, as CI does.
pub(crate) fn ci() -> Result<()> {
    lint::lint()?;
    test(&[])
}

fn run_tests(databases: &Databases, filters: &[&str]) -> Result<()> {
    let mut tests = tests(filters)?;
    databases.tell(&mut tests);
    run(tests)
}

fn examples() -> Result<()> {
    run(cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"]))
}

#[expect(clippy::print_stderr, reason = "a command line")]
fn not_run() {
    eprintln!(
        "\nNOT RUN: faults as often as docs/reliability.md says, and the version before beside this one; \
         `cargo xtask faults` does"
    );
}

/// What was built, for those who run it without building.
const BINARIES: &str = "target/test-tools/binaries.json";
const METADATA: &str = "target/test-tools/metadata.json";

/// Builds all tests, and notes where they are.
pub(crate) fn build() -> Result<()> {
    fs::create_dir_all(tools::folder())?;
    let mut list = tools::cargo_nextest()?;
    list.args([
        "list",
        "--workspace",
        "--locked",
        "--list-type",
        "binaries-only",
        "--message-format",
        "json",
    ]);
    fs::write(root().join(BINARIES), output(list)?)?;
    fs::write(root().join(METADATA), output(cargo(&["metadata", "--locked", "--format-version", "1"]))?)?;
    Ok(())
}

/// A run of all tests that were built but the examples in documentation, in the groups of `.config/nextest.toml`. It
/// leaves the folder of what is built to others.
pub(crate) fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = tools::cargo_nextest()?;
    tests.args(["run", "--binaries-metadata", BINARIES, "--cargo-metadata", METADATA]).args(arguments);
    Ok(tests)
}
