//! Every fault of `docs/reliability.md` at full length, and the previous release beside this version.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, command, root, run};
use crate::test::tests;
use crate::tools;

/// The tests that read `MFA_TEST_FULL`, of the whole program and of each store.
const TESTS: &str = "test(/^(audit::busy|challenges|contract|crash|email_codes|failover|faults|museum|passkeys::races|\
                     poolers|races|refusals|replicas|throttle)::/)";

/// The tests of two servers on one database.
const RACES: &str = "test(/^faults::races::/)";

/// Runs the tests of faults, or those that match the filters.
pub(crate) fn faults(filters: &[&str]) -> Result<()> {
    tools::install()?;
    let ran = run_full(TESTS, filters, None);
    if let Some(program) = filters.is_empty().then(previous).transpose()?.flatten() {
        run_full(RACES, &[], Some(program))?;
    }
    ran
}

/// Runs tests at full length, one at a time, and shows their output.
fn run_full(which: &str, filters: &[&str], previous: Option<PathBuf>) -> Result<()> {
    let mut tests = tests(&["--test-threads", "1", "--success-output", "immediate", "-E", which])?;
    tests.args(filters).env("MFA_TEST_FULL", "yes");
    tests.envs(previous.map(|program| ("MFA_TEST_PREVIOUS", program)));
    run(tests)
}

/// Builds the newest release before this version; `None` if there is no release.
#[expect(clippy::print_stderr, reason = "a command line")]
fn previous() -> Result<Option<PathBuf>> {
    let Ok(release) = text(&["describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^"]) else {
        eprintln!(
            "\nNOT RUN: the previous release beside this version, because this checkout has no tag of a release"
        );
        return Ok(None);
    };
    let folder = root().join("target/previous");
    let source = folder.join(text(&["rev-parse", "--short", &format!("{release}^{{commit}}")])?);
    fs::create_dir_all(&source)?;
    let (archive, source_path) = (folder.join("source.tar"), source.to_str().context("a path")?.to_owned());
    let archive = archive.to_str().context("a path")?;
    run(command("git", &["archive", "--format=tar", "--output", archive, &release]))?;
    run(command("tar", &["--extract", "--file", archive, "--directory", &source_path]))?;
    let mut build = cargo(&["build", "--locked", "--package", "mfa-server", "--manifest-path"]);
    build.arg(source.join("Cargo.toml")).arg("--target-dir").arg(folder.join("build"));
    run(build)?;
    let program = folder.join("build/debug/mfa-server");
    ensure!(program.is_file(), "{} was not built", program.display());
    Ok(Some(fs::canonicalize(program)?))
}

/// The output of git, trimmed.
fn text(arguments: &[&str]) -> Result<String> {
    let output = command("git", arguments).output()?;
    ensure!(output.status.success(), "git {} failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
