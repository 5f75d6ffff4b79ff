//! The clock of a running server, for tests to move.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{ServerOptions, now};

/// Moves the wall clock of the servers that are started with its options; timeouts go on as before.
///
/// It is `libfaketime`, preloaded into the server itself. The program `faketime` is not asked: as a
/// wrapper it stays the parent of the server, so that whoever ends the wrapper leaves the server
/// behind, and it fails where its process id is that of one that was killed (see `forget`).
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
    library: String,
}

impl Clock {
    /// A clock that is right.
    #[must_use]
    pub fn new() -> Self {
        let library = library().expect("libfaketime is needed: run `cargo xtask tools`");
        let library = library.into_os_string().into_string().expect("text");
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

/// Where Debian and other systems put the library, below a folder of the processor or not.
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

/// Removes what the library shared in memory by the id of a process that was killed. The process
/// itself does so when it ends by its own; what stays would meet another process with the same id.
pub(crate) fn forget(process: u32) {
    for kind in ["sem.faketime_sem", "faketime_shm"] {
        // There is nothing where the clock was the real one.
        let _ = std::fs::remove_file(format!("/dev/shm/{kind}_{process}"));
    }
}
