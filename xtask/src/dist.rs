//! The files to ship: the program without symbols, and the files that are installed with it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, command, root, run};

/// The largest size of the program, in bytes.
const LIMIT: u64 = 30_000_000;

/// The output folder.
const FOLDER: &str = "target/dist";

const PROGRAM: &str = "target/dist/mfa-server";

/// Each shell, and the name that it expects of a file of completions.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "mfa-server.bash"), ("zsh", "_mfa-server"), ("fish", "mfa-server.fish")];

/// Files of this repository that are shipped unchanged.
const FILES: [&str; 5] = [
    "packaging/mfa-server.service",
    "packaging/credentials.conf",
    "packaging/mfa-server.toml",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Empties the output folder, creates all files and lists them.
///
/// # Errors
/// If a file cannot be created, or the program is too large.
pub(crate) fn dist() -> Result<()> {
    run(cargo(&["build", "--release", "--locked", "--package", "mfa-server"]))?;
    let folder = root().join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("completions"))?;
    run(command("strip", &["-o", PROGRAM, "target/release/mfa-server"]))?;
    let size = fs::metadata(root().join(PROGRAM))?.len();
    ensure!(size <= LIMIT, "{PROGRAM} has {size} bytes; the limit is {LIMIT}");
    run(program(&["man", "target/dist/man"]))?;
    for (shell, name) in COMPLETIONS {
        let mut completions = program(&["completions", shell]);
        completions.stdout(File::create(folder.join("completions").join(name))?);
        run(completions)?;
    }
    for file in FILES {
        let name = Path::new(file).file_name().context("a file")?;
        fs::copy(root().join(file), folder.join(name)).with_context(|| file.to_owned())?;
    }
    list(&folder, FOLDER)
}

/// The program that was just built.
fn program(arguments: &[&str]) -> Command {
    command(root().join(PROGRAM), arguments)
}

/// Prints every file below a folder, with its size.
#[expect(clippy::print_stdout, reason = "a command line")]
fn list(folder: &Path, shown: &str) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let shown = format!("{shown}/{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list(&entry.path(), &shown)?;
        } else {
            println!("{:>10} bytes  {shown}", metadata.len());
        }
    }
    Ok(())
}
