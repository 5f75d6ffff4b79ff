//! Runs programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program that runs in the root of the workspace.
pub(crate) fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo =
        command(env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from), arguments);
    compile_once(&mut cargo);
    cargo
}

/// Turns incremental compilation off in a clone where only this program was compiled so far, such as in CI: it
/// costs time and helps only the next compilation.
pub(crate) fn compile_once(cargo: &mut Command) {
    let compiled = fs::read_dir(root().join("target/debug/incremental")).into_iter().flatten().flatten();
    let is_other = |name: OsString| !name.to_string_lossy().starts_with("xtask-");
    if env::var_os("CARGO_INCREMENTAL").is_none() && !compiled.map(|entry| entry.file_name()).any(is_other) {
        cargo.env("CARGO_INCREMENTAL", "0");
    }
}

/// The same program at the lowest priority.
pub(crate) fn patient(program: &Command) -> Command {
    let mut patient = command("nice", &["-n", "19"]);
    patient.arg(program.get_program()).args(program.get_args());
    patient.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    patient
}

/// Prints and runs a command; an error if it fails.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("\n--- {shown}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown} failed ({status})");
    Ok(())
}

/// Whether a program can be run and succeeds.
pub(crate) fn succeeds(program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    command(program, arguments).output().is_ok_and(|output| output.status.success())
}
