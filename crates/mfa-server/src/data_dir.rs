//! Files and directories that only their owner can read.
//!
//! Modes are given on creation: a file that is narrowed afterwards was open for a moment.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use crate::failure::Refusal;

const OWNER_ONLY_DIR: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// Makes a directory, and those above it, unless it is there.
pub(crate) fn make(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY_DIR)
        .create(dir)
        .with_context(|| format!("the data directory {} cannot be created", dir.display()))
}

/// Waits until no other process changes the directory, and keeps others off until it is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let lock = || -> io::Result<File> {
        let dir = File::open(dir)?;
        dir.lock()?;
        Ok(dir)
    };
    lock().with_context(|| format!("the data directory {} cannot be locked", dir.display()))
}

/// Puts `content` in the place of a file, whole or not at all, durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut replacement = Replacement::begin(path)?;
    replacement.write_all(content).with_context(|| format!("{} cannot be written", path.display()))?;
    replacement.commit()
}

/// A file that takes the place of another once all of it is written. If it is dropped before, nothing
/// has happened.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Replacement {
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        // A link stays a link; what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // Of a name that nobody else has, and for its owner only.
        let file = tempfile::Builder::new().suffix(".new").tempfile_in(folder(&path));
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// Puts it in its place, durably.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { file, path } = self;
        let commit = || -> io::Result<()> {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(folder(&path))?.sync_all()
        };
        commit().with_context(|| format!("{} cannot be written", path.display()))
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Claims a database for this server, until the file is dropped or the process ends.
///
/// The lock is on the file itself, so that no link to it and no second folder leads around it. It is
/// another kind of lock than SQLite's own, which would be lost if this file were closed while the
/// database is open: drop it last.
pub(crate) fn claim(database: &Path) -> Result<File> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY_FILE)
        .open(database);
    let file = open.with_context(|| format!("{} cannot be written", database.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refusal::new(
            format!("another server is running on the database {}", database.display()),
            "stop it first, or give this one another data directory; commands such as `api-key create` work while it runs",
        )
        .into()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", database.display()))
        }
    }
}

/// A path that is taken from the data directory unless it is absolute.
pub(crate) fn inside(dir: &Path, path: &Path) -> Result<PathBuf> {
    let path = dir.join(path);
    ensure!(path.file_name().is_some(), "{} is no file", path.display());
    Ok(path)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        make(&dir).unwrap();
        let file = dir.join("file");
        for content in ["old", "new"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        // A folder is in the place, so that renaming fails after all is written.
        let place = root.path().join("place");
        fs::create_dir_all(place.join("full")).unwrap();
        assert!(replace(&place, b"new").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_a_ring_elsewhere_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("target"), root.path().join("link"));
        fs::write(&target, b"old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_database_is_claimed_by_one() {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join("mfa.db");
        fs::write(&database, b"").unwrap();
        let link = root.path().join("link.db");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let first = claim(&database).unwrap();
        assert!(claim(&database).unwrap_err().is::<Refusal>());
        assert!(claim(&link).unwrap_err().is::<Refusal>());
        drop(first);
        claim(&database).unwrap();
    }
}
