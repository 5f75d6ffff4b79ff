//! Everything that must hold before a change lands.

use std::process::Command;

use anyhow::Result;

use crate::databases::Databases;
use crate::openapi;
use crate::phases::Phases;
use crate::run::{cargo, run};
use crate::tools::{self, CargoDeny};

/// Checks formatting, lints and dependencies, then runs every test. With filters, only the tests
/// that match.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    if filters.is_empty() {
        phases.run("formatting", || run(cargo(&["fmt", "--all", "--check"])))?;
        phases.run("lints", lint)?;
        phases.run("documentation", document)?;
        phases.run("OpenAPI", openapi::validate)?;
    }
    phases.run("build", || run(tests(&["--no-run"])?))?;
    let cargo_deny = if filters.is_empty() { Some(tools::CargoDeny::begin()?) } else { None };
    let databases = Databases::start()?;
    let ran = phases.run("tests", || {
        let mut tests = tests(filters)?;
        databases.tell(&mut tests);
        run(tests)
    });
    drop(databases);
    if let Some(cargo_deny) = cargo_deny {
        phases.run("dependencies", || check_dependencies(cargo_deny))?;
        phases.run("examples", || run(cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])))?;
    }
    ran?;
    eprintln!(
        "\nNOT RUN: faults as often as docs/reliability.md says, and the version before beside this one; \
         `cargo xtask faults` does"
    );
    Ok(())
}

/// A run of all tests but the examples in documentation, in the groups of `.config/nextest.toml`.
pub(crate) fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = tools::cargo_nextest()?;
    tests.args(["run", "--workspace", "--locked"]).args(arguments);
    Ok(tests)
}

fn lint() -> Result<()> {
    run(cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo(&["check", "--locked", "-p", "otp-core", "--no-default-features"]))?;
    let fuzz = "crates/otp-core/fuzz/Cargo.toml";
    run(cargo(&["check", "--locked", "--no-default-features", "--manifest-path", fuzz]))
}

/// With `--examples`, dependencies have the features that they have in lints and tests, and are
/// not compiled anew.
fn document() -> Result<()> {
    let mut documents =
        cargo(&["doc", "--workspace", "--no-deps", "--locked", "--lib", "--bins", "--examples"]);
    documents.env("RUSTDOCFLAGS", "-D warnings");
    run(documents)
}

/// Licences, bans and sources of dependencies. The database of advisories cannot be had everywhere.
#[expect(clippy::print_stderr, reason = "a command line")]
fn check_dependencies(cargo_deny: CargoDeny) -> Result<()> {
    let mut check = cargo_deny.finish()?;
    check.args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    run(check)?;
    eprintln!(
        "\nNOT CHECKED: advisories; `cargo deny check advisories` does, where its database can be fetched"
    );
    Ok(())
}
