//! Mails as files, for trying things out.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use mfa_domain::Timestamp;
use mfa_domain::ports::SenderError;
use tempfile::{Builder, NamedTempFile};
use tokio::task::spawn_blocking;

use crate::message::Mail;

/// A folder in which each mail becomes a file `TIME-NUMBER.eml`, readable by its owner only.
pub(crate) struct Folder {
    path: PathBuf,
    written: AtomicU32,
}

impl Folder {
    /// Makes the folder if it is not there, for its owner only, and tries to write to it.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        if !path.is_dir() {
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(&path)?;
        }
        NamedTempFile::new_in(&path)?;
        Ok(Self { path, written: AtomicU32::new(0) })
    }

    /// Writes a mail whole or not at all.
    pub(crate) async fn write(&self, mail: Mail, now: Timestamp) -> Result<(), SenderError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number:04}.eml", now.unix_millis());
        let path = self.path.clone();
        let written = spawn_blocking(move || {
            let mut file = Builder::new().prefix(".").suffix(".part").tempfile_in(&path)?;
            file.write_all(&mail.bytes)?;
            file.persist_noclobber(path.join(name)).map_err(|error| error.error)?;
            io::Result::Ok(())
        });
        written.await.map_err(SenderError::not_sent)?.map_err(SenderError::not_sent)
    }
}
