//! Files and directories that only their owner can read.
//!
//! Modes are set on creation, since others could open a file before its mode is restricted. A file that replaces
//! another keeps owner and mode; a new file belongs to the owner of its folder.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;
use tracing::warn;
use zeroize::Zeroizing;

use crate::failure::Refusal;
use crate::ownership::{self, Ownership};

const OWNER_ONLY_DIR: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// Creates a directory and its parents, unless it exists.
pub(crate) fn make(dir: &Path) -> Result<()> {
    make_within(dir).with_context(|| format!("the data directory {} cannot be created", dir.display()))
}

fn make_within(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = folder(dir);
    if !above.exists() {
        make_within(above)?;
    }
    match DirBuilder::new().mode(OWNER_ONLY_DIR).create(dir) {
        Ok(()) => ownership::give_to_owner_of(above, &ownership::open_made(dir)?),
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Waits until no other process changes the directory, and locks it until the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let lock = || -> io::Result<File> {
        let dir = File::open(dir)?;
        dir.lock()?;
        Ok(dir)
    };
    lock().with_context(|| format!("the data directory {} cannot be locked", dir.display()))
}

/// Replaces a file with `content`, atomically and durably. See [`Replacement`].
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut replacement = Replacement::begin(path)?;
    replacement.write_all(content).with_context(|| format!("{} cannot be written", path.display()))?;
    replacement.commit()
}

/// A file that replaces another on commit, with the same owner and mode. If it is dropped before, nothing changes.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Replacement {
    /// Creates the new file beside the old one. Changes nothing else.
    ///
    /// # Errors
    /// A [`Refusal`] if the old file could not keep its owner and mode, or is not a regular file.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let unwritable = || format!("{} cannot be written", path.display());
        let refuse = |why: &str, advice| {
            Refusal::new(format!("{} {why}", path.display()), format!("{advice}; nothing was changed"))
        };
        let old = find(path).with_context(unwritable)?;
        if old.as_ref().is_some_and(|(_, metadata)| !metadata.is_file()) {
            return Err(refuse("is not a regular file", "give the path of a file").into());
        }
        // A link stays a link; its target is replaced.
        let target = old.as_ref().map_or(path, |(target, _)| target);
        // With a unique name, and readable by its owner only.
        let file = tempfile::Builder::new().suffix(".new").tempfile_in(folder(target));
        let file = file.with_context(unwritable)?;
        match &old {
            None => ownership::give_to_owner_of(folder(target), file.as_file()),
            Some((target, metadata)) => {
                let given = Ownership::of(target, metadata).and_then(|old| old.give(file.as_file()));
                given.map_err(|error| {
                    let why = format!("would not keep its owner and mode: {error}");
                    refuse(&why, "run the command as its owner or as root")
                })?;
            }
        }
        let path = target.to_owned();
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// Replaces the old file, durably.
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

/// Locks a database for this server until the file is dropped or the process ends.
///
/// The lock is on the file itself, so that it holds for every link and path to it. It is independent of SQLite's own
/// locks, but those would be lost if this file were closed while the database is open, so drop it last.
pub(crate) fn claim(database: &Path) -> Result<File> {
    let file = open_or_make(database)?;
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

/// Opens a file for writing; creates an empty one if it does not exist.
pub(crate) fn open_or_make(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(OWNER_ONLY_FILE);
    let opened = match options.clone().create_new(true).open(path) {
        Ok(file) => {
            ownership::give_to_owner_of(folder(path), &file);
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    };
    opened.with_context(|| format!("{} cannot be written", path.display()))
}

/// Reads a file of keys; `None` if it does not exist. Logs a warning if every user of this machine can read it.
///
/// # Errors
/// A [`Refusal`] if every user of this machine can write it. An attacker could put in a key of their own, and then
/// decrypt new secrets or sign a forgery.
pub(crate) fn read_key_file(path: &Path, what: &str) -> Result<Option<Zeroizing<String>>> {
    let read = || -> io::Result<_> {
        let mut file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)?;
        Ok((text, mode))
    };
    match read() {
        Ok((_, mode)) if mode & 0o002 != 0 => {
            let what = format!("every user of this machine can write the {what} {}", path.display());
            Err(Refusal::new(
                what,
                "check that its content is right, then let only its owner write it (chmod 600)",
            )
            .into())
        }
        Ok((text, mode)) => {
            if mode & 0o004 != 0 {
                warn!(file = %path.display(), "the {what} can be read by every user of this machine");
            }
            Ok(Some(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the {what} {} cannot be read", path.display())),
    }
}

/// Resolves a path relative to the data directory.
pub(crate) fn inside(dir: &Path, path: &Path) -> Result<PathBuf> {
    let path = dir.join(path);
    ensure!(path.file_name().is_some(), "{} is not a file", path.display());
    Ok(path)
}

/// The target of a path, with all links followed; `None` if it does not exist.
fn find(path: &Path) -> io::Result<Option<(PathBuf, Metadata)>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        // A dangling link is an error: its target may be missing only for a moment.
        Ok(_) => {
            let target = fs::canonicalize(path)?;
            let metadata = fs::metadata(&target)?;
            Ok(Some((target, metadata)))
        }
    }
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
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
    fn what_is_replaced_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "old").unwrap();
        for kept in [0o640, 0o400, 0o666] {
            fs::set_permissions(&file, fs::Permissions::from_mode(kept)).unwrap();
            replace(&file, b"new").unwrap();
            assert_eq!((mode(&file), fs::read(&file).unwrap()), (kept, b"new".to_vec()));
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let [place, link, socket] = ["place", "link", "socket"].map(|name| root.path().join(name));
        fs::create_dir_all(place.join("full")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(replace(&place, b"new").unwrap_err().is::<Refusal>());
        assert!(replace(&socket, b"new").unwrap_err().is::<Refusal>());
        assert!(replace(&link, b"new").is_err());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
        // A folder takes the place after everything was written.
        let late = root.path().join("late");
        let replacement = Replacement::begin(&late).unwrap();
        fs::create_dir_all(late.join("full")).unwrap();
        assert!(replacement.commit().is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4);
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
