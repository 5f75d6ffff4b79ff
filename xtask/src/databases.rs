//! The PostgreSQL and the Redis that tests share.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result};

/// A folder in memory, if the machine has one. Hundreds of small databases are made, and a file system on a disk takes
/// much of the processors' time to create and delete their files.
const IN_MEMORY: &str = "/dev/shm";

/// Running databases. They stop and their files are deleted when this is dropped or the process ends.
pub(crate) struct Databases {
    program: Child,
    variables: Vec<(String, String)>,
}

impl Databases {
    /// Starts them with the example `test-databases` of `tests`, which is built with the tests.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?.with_file_name("examples/test-databases"));
        if has_memory_to_spare() {
            command.env("TMPDIR", IN_MEMORY);
        }
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(program.stdout.take().context("its output")?).lines();
        let mut variable = || {
            let line = lines.next().context("the databases of the tests did not start")??;
            let (name, value) = line.split_once('=').context("NAME=value")?;
            anyhow::Ok((name.to_owned(), value.to_owned()))
        };
        let variables = vec![variable()?, variable()?, variable()?];
        Ok(Self { program, variables })
    }

    /// Passes their addresses to a command that runs tests.
    pub(crate) fn tell(&self, tests: &mut Command) {
        tests.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

/// Whether the folder in memory has room for the databases, and the machine has twice as much memory.
fn has_memory_to_spare() -> bool {
    const NEEDED: u64 = 6_000_000;
    let df = Command::new("df").args(["--output=avail", "--block-size=1000", IN_MEMORY]).output();
    let df = df.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let room = df.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    let memory = memory.and_then(|kibibytes| kibibytes.parse::<u64>().ok());
    room.is_some_and(|room| room >= NEEDED) && memory.is_some_and(|memory| memory >= 2 * NEEDED)
}

impl Drop for Databases {
    fn drop(&mut self) {
        // The end of its input tells it to stop.
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}
