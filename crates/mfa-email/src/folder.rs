//! Mails as files, for trials.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mfa_domain::Timestamp;
use mfa_domain::ports::SenderError;
use tempfile::Builder;
use tokio::task::spawn_blocking;

use crate::message::Mail;

/// A folder that receives each mail as a file `TIME-NUMBER.eml`, readable by its owner only.
pub(crate) struct Folder {
    path: PathBuf,
    written: AtomicU32,
}

impl Folder {
    /// Uses `path` without changing it. The folder is created with the first mail.
    ///
    /// # Errors
    /// If `path` is not a writable folder, or is absent and cannot be created.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        // A dangling link counts as present.
        let is_there = |place: &&Path| place.symlink_metadata().is_ok();
        let above =
            path.ancestors().map(|place| if place.as_os_str().is_empty() { Path::new(".") } else { place });
        let nearest = above.into_iter().find(is_there).unwrap_or(Path::new("/"));
        if !nearest.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        #[cfg(unix)]
        rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
        Ok(Self { path, written: AtomicU32::new(0) })
    }

    /// Writes a mail completely or not at all.
    pub(crate) async fn write(&self, mail: Mail, now: Timestamp) -> Result<(), SenderError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number:04}.eml", now.unix_millis());
        let path = self.path.clone();
        let written = spawn_blocking(move || {
            make(&path)?;
            let mut file = Builder::new().prefix(".").suffix(".part").tempfile_in(&path)?;
            file.write_all(&mail.bytes)?;
            file.persist_noclobber(path.join(name)).map_err(|error| error.error)?;
            io::Result::Ok(())
        });
        written.await.map_err(SenderError::not_sent)?.map_err(SenderError::not_sent)
    }
}

/// Creates the folder if it is absent, accessible to its owner only.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_not_made_before_its_first_mail_and_what_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        fs::write(place("file"), "").unwrap();
        fs::create_dir(place("there")).unwrap();
        for good in ["there", "new", "new/below"] {
            assert!(Folder::new(place(good)).is_ok(), "{good}");
        }
        for bad in ["file", "file/below"] {
            assert!(Folder::new(place(bad)).is_err(), "{bad}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", place("link")).unwrap();
            assert!(Folder::new(place("link")).is_err());
        }
        assert!(!place("new").exists());
    }
}
