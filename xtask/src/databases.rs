//! The PostgreSQL and the Redis that tests share.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Running databases. They stop, and their files go, when this is dropped or this process ends.
pub(crate) struct Databases {
    program: Child,
    variables: Vec<(String, String)>,
}

impl Databases {
    /// Starts them, by a program that was built with the tests and lies beside this one.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?.with_file_name("test-databases"));
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(program.stdout.take().context("its output")?).lines();
        let mut variable = || {
            let line = lines.next().context("the databases of the tests do not start")??;
            let (name, value) = line.split_once('=').context("NAME=value")?;
            anyhow::Ok((name.to_owned(), value.to_owned()))
        };
        let variables = vec![variable()?, variable()?, variable()?];
        Ok(Self { program, variables })
    }

    /// Tells a command that runs tests where they are.
    pub(crate) fn tell(&self, tests: &mut Command) {
        tests.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        // The end of its input tells it to stop.
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}
