//! A key ring in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use mfa_domain::Timestamp;
use mfa_domain::ports::{Entropy, EntropyError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyRing, KeyRingError};

/// Why a key ring could not be opened or created. No text contains a key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyRingFileError {
    /// The file could not be read or written.
    #[error("the key ring file could not be read or written")]
    File(#[from] io::Error),
    /// The file is not a key ring.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// No randomness was available for a new key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl KeyRing {
    /// Reads the key ring from a file, or creates the file with a new ring if it does not exist. The new file can be
    /// read only by its owner. If several processes create it at the same time, all get the same ring.
    ///
    /// A new ring opens nothing that another ring sealed: if a database exists and its ring is lost, restore the ring
    /// from the backup first. `now` becomes the creation time of a new key.
    ///
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use mfa_crypto::KeyRing;
    /// use mfa_domain::ports::{Clock, SystemClock, SystemEntropy};
    ///
    /// let ring = KeyRing::open_or_create(Path::new("keyring.toml"), &SystemEntropy, SystemClock.now())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`KeyRingFileError`]. An existing file is never changed.
    pub fn open_or_create(
        path: &Path,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, KeyRingFileError> {
        match read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            text => return Ok(Self::parse(&text?)?),
        }
        let mut name = [0; 8];
        entropy.fill(&mut name)?;
        let text = Self::generate(entropy, now)?.to_text();
        create(path, &HEXLOWER.encode(&name), &text)?;
        // Another process may have been faster.
        Ok(Self::parse(&read(path)?)?)
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    fs::read_to_string(path).map(Zeroizing::new)
}

/// Creates the file durably and with its whole content, unless it exists. No reader sees an incomplete ring.
fn create(path: &Path, random: &str, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = folder.join(format!(".keyring-{random}"));
    let written = write(&new, text).and_then(|()| match fs::hard_link(&new, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&new);
    written?;
    removed?;
    // The name of the file must be as durable as its content.
    File::open(folder)?.sync_all()
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
