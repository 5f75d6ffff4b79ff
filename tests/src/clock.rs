//! A clock that tests move while a server runs.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{ServerOptions, now};

/// Controls the wall clock of servers that are started with its options. Timeouts are not affected.
///
/// It preloads `libfaketime` into the server. The program `faketime` is unsuitable: as a wrapper it stays the
/// parent of the server, so killing the wrapper leaves the server behind, and it fails if its process id
/// equals that of a killed process (see `forget`).
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
    library: String,
}

impl Clock {
    /// Creates a clock with the right time.
    #[must_use]
    pub fn new() -> Self {
        let library = library().expect("libfaketime is needed: run `cargo xtask tools`");
        let library = library.into_os_string().into_string().expect("text");
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder"), library };
        clock.set(0);
        clock
    }

    /// Adds this clock to `options`.
    #[must_use]
    pub fn of(&self, mut options: ServerOptions) -> ServerOptions {
        let file = self.file().to_str().expect("a path").to_owned();
        for (name, value) in [
            ("LD_PRELOAD", self.library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ] {
            options.environment.push((name.to_owned(), value.to_owned()));
        }
        options
    }

    /// Sets the server's clock ahead of the real one by this many seconds.
    pub fn set(&self, seconds: i64) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, format!("{seconds:+}")).expect("a file");
        // Renamed into place, so that the server never reads half of it.
        std::fs::rename(fresh, self.file()).expect("a file");
    }

    /// Sets the clock, at most a minute ahead, to shortly after the start of a 30-second step; returns how
    /// many seconds ahead that is. For tests whose result must not depend on the time of day.
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

/// The path of the library, with or without a folder for the processor architecture, as Debian and others
/// install it.
fn library() -> Option<PathBuf> {
    let below = |folder: &Path| folder.join("faketime/libfaketime.so.1");
    ["/usr/local/lib", "/usr/lib", "/usr/lib64"].into_iter().map(Path::new).find_map(|folder| {
        let inner = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(folder.to_owned())
            .chain(inner)
            .map(|folder| below(&folder))
            .find(|path| path.is_file())
    })
}

/// Removes the shared memory that the library named after the id of a killed process. A process that ends
/// normally removes it itself; a remainder would affect a new process with the same id.
pub(crate) fn forget(process: u32) {
    for kind in ["sem.faketime_sem", "faketime_shm"] {
        // Absent if the process ran with the real clock.
        let _ = std::fs::remove_file(format!("/dev/shm/{kind}_{process}"));
    }
}
