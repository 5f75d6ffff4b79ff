//! Work that goes on beside other work.

use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

/// Work on a thread of its own.
pub(crate) struct Background(JoinHandle<Result<()>>);

impl Background {
    pub(crate) fn begin(work: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self(thread::spawn(work))
    }

    /// Waits until it is done.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.join().map_err(|_| anyhow!("what went on beside the tests panicked"))?
    }
}
