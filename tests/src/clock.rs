//! The clock of a running server, for tests to move.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::{ServerOptions, now};

/// Moves the wall clock of the servers that are started with its options; timeouts go on as before.
///
/// It is `libfaketime`, preloaded into the server itself. The program `faketime` is only asked where
/// that library is: as a wrapper it stays the parent of the server, so that whoever ends the wrapper
/// leaves the server behind.
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
    library: String,
}

impl Clock {
    /// A clock that is right.
    #[must_use]
    pub fn new() -> Self {
        let asked = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
        let asked = asked.expect("faketime is needed: run `cargo xtask tools`");
        let libraries = String::from_utf8(asked.stdout).expect("text");
        let library = libraries.trim().rsplit(':').next().filter(|path| path.contains("faketime"));
        let library = library.expect("faketime preloads its library").to_owned();
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder"), library };
        clock.set(0);
        clock
    }

    /// `options` with this clock.
    #[must_use]
    pub fn of(&self, mut options: ServerOptions) -> ServerOptions {
        let file = self.file().to_str().expect("a path").to_owned();
        for (name, value) in [
            ("LD_PRELOAD", self.library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ] {
            options.environment.push((name.to_owned(), value.to_owned()));
        }
        options
    }

    /// From now on the server's clock is so many seconds ahead of the real one.
    pub fn set(&self, seconds: i64) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, format!("{seconds:+}")).expect("a file");
        // At once, so that the server never reads half of it.
        std::fs::rename(fresh, self.file()).expect("a file");
    }

    /// Sets the clock, at most a minute ahead, to shortly after a step of 30 seconds began; gives
    /// how many seconds ahead that is. For tests whose outcome must not depend on when they run.
    #[must_use]
    pub fn begin_step(&self) -> i64 {
        let into_step = i64::try_from(now() % 30).expect("less than 30");
        let seconds = 31 - into_step;
        self.set(seconds);
        seconds
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
