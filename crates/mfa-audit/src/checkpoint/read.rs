//! Reading a checkpoint. Nothing in it is trusted before its signature is checked.

use std::fmt;
use std::io::{BufRead, Seek, SeekFrom};

use mfa_domain::ports::{Signature, SignatureVerifier};
use mfa_domain::{AccountKey, Timestamp};
use serde_json::from_slice;
use sha2::{Digest, Sha256};

use super::{CheckpointError, End, FORMAT, Header, Line, Signed, Then, decode, message};
use crate::LineError;
use crate::lines::Lines;

/// A checkpoint with a valid signature.
pub struct Checkpoint {
    source: Box<dyn Source>,
    begun_at: Timestamp,
    accounts: u64,
    unreadable: u64,
    digest: Vec<u8>,
}

/// The source of a checkpoint, which is read twice.
trait Source: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> Source for T {}

/// The accounts of a checkpoint, in key order.
pub(crate) struct Accounts<'a> {
    lines: Hashed<'a>,
    /// The digest that the file must have, if it was checked before.
    digest: Option<Vec<u8>>,
    end: Option<End>,
    count: u64,
    last: Option<AccountKey>,
}

impl Checkpoint {
    /// Reads a checkpoint from the beginning of `source` to its end, and checks that `key` signed it and that
    /// it belongs to `installation`.
    ///
    /// [`trail::verify`](crate::trail::verify) reads it again, since it may be larger than memory.
    ///
    /// # Errors
    /// [`CheckpointError`] if it cannot be read or must not be trusted.
    pub fn open(
        source: impl BufRead + Seek + Send + 'static,
        key: &dyn SignatureVerifier,
        installation: &str,
    ) -> Result<Self, CheckpointError> {
        let mut source: Box<dyn Source> = Box::new(source);
        let (header, mut accounts) = Accounts::begin(source.as_mut(), None)?;
        if header.signed_by != key.key_id() {
            return Err(CheckpointError::OtherKey { signed_by: header.signed_by, expected: key.key_id() });
        }
        while accounts.next()?.is_some() {}
        let digest = accounts.lines.digest();
        let signature = accounts.signature()?;
        if !key.verify(&message(&digest), &signature) {
            return Err(CheckpointError::Altered);
        }
        if header.installation != installation {
            let (found, expected) = (header.installation, installation.to_owned());
            return Err(CheckpointError::OtherInstallation { found, expected });
        }
        let begun_at = header.begun_at.parse()?;
        let Accounts { count: accounts, end, .. } = accounts;
        let unreadable = end.map_or(0, |end| end.unreadable);
        Ok(Self { source, begun_at, accounts, unreadable, digest })
    }

    /// The time before its first account was read.
    #[must_use]
    pub const fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// The number of accounts in it.
    #[must_use]
    pub const fn accounts(&self) -> u64 {
        self.accounts
    }

    /// The number of accounts that are not in it, because they could not be read.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Reads its contents again.
    pub(crate) fn read(&mut self) -> Result<Accounts<'_>, CheckpointError> {
        let (_, accounts) = Accounts::begin(self.source.as_mut(), Some(self.digest.clone()))?;
        Ok(accounts)
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun_at, accounts, .. } = self;
        f.debug_struct("Checkpoint")
            .field("begun_at", begun_at)
            .field("accounts", accounts)
            .finish_non_exhaustive()
    }
}

impl<'a> Accounts<'a> {
    fn begin(source: &'a mut dyn Source, digest: Option<Vec<u8>>) -> Result<(Header, Self), CheckpointError> {
        source.seek(SeekFrom::Start(0)).map_err(LineError::Io)?;
        let mut lines = Hashed { lines: Lines::of(source), hash: Sha256::new() };
        let line = lines.next()?.ok_or(CheckpointError::Empty)?;
        let header: Header = from_slice(&line).map_err(|_| CheckpointError::NotACheckpoint)?;
        if header.format != FORMAT {
            return Err(CheckpointError::OtherForm(header.format));
        }
        Ok((header, Self { lines, digest, end: None, count: 0, last: None }))
    }

    /// The next account; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Then>, CheckpointError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let Some(line) = self.lines.next()? else {
            return Err(CheckpointError::CutOff(self.lines.lines.number()));
        };
        let altered = || self.lines.lines.altered();
        if let Ok(account) = from_slice::<Line>(&line) {
            let account = account.read().filter(|account| self.last.as_ref() < Some(&account.key));
            let account = account.ok_or_else(altered)?;
            self.count += 1;
            self.last = Some(account.key.clone());
            return Ok(Some(account));
        }
        let end: End = from_slice(&line).map_err(|_| altered())?;
        if end.accounts != self.count {
            return Err(CheckpointError::Miscounted { counted: self.count, said: end.accounts });
        }
        if self.digest.as_ref().is_some_and(|digest| *digest != self.lines.digest()) {
            return Err(CheckpointError::Changed);
        }
        self.end = Some(end);
        Ok(None)
    }

    /// Reads the signature, and checks that nothing follows it.
    fn signature(&mut self) -> Result<Signature, CheckpointError> {
        let line = self.lines.next()?.ok_or(CheckpointError::Unsigned)?;
        let altered = || self.lines.lines.altered();
        let signed: Signed = from_slice(&line).map_err(|_| altered())?;
        let signature = decode(&signed.signature).ok_or_else(altered)?;
        match self.lines.next()? {
            None => Ok(signature),
            Some(_) => Err(CheckpointError::Lengthened),
        }
    }
}

/// Lines, and the SHA-256 of all lines so far.
struct Hashed<'a> {
    lines: Lines<&'a mut dyn Source>,
    hash: Sha256,
}

impl Hashed<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let line = self.lines.next()?;
        if let Some(line) = &line {
            self.hash.update(line);
        }
        Ok(line)
    }

    fn digest(&self) -> Vec<u8> {
        self.hash.clone().finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{BufReader, Cursor};

    use mfa_crypto::SigningKey;
    use mfa_domain::ports::SystemClock;
    use mfa_domain::ports::SystemEntropy;
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::changes;

    use super::super::{Plan, write};
    use super::*;

    /// A checkpoint of three accounts, and its key.
    async fn checkpoint() -> (Vec<u8>, SigningKey) {
        let store = MemoryStore::default();
        for (user, events) in [("alice", 2), ("bob", 1), ("Carol", 3)] {
            for _ in 0..events {
                let _ = changes::change(&store, &changes::key(user), |_| ()).await.unwrap();
            }
        }
        let key = SigningKey::generate(&SystemEntropy).unwrap();
        let plan = Plan { installation: "prod", previous: None };
        let mut text = Vec::new();
        let written = write(&store, &key, &SystemClock, plan, &mut text, |_| ()).await.unwrap();
        assert_eq!(written.accounts, 3);
        (text, key)
    }

    fn open(text: &[u8], key: &SigningKey, installation: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(Cursor::new(text.to_vec()), &key.public_key(), installation)
    }

    fn refusal(text: impl AsRef<[u8]>, key: &SigningKey, installation: &str) -> String {
        open(text.as_ref(), key, installation).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_was_written_is_read_in_key_order() {
        let (text, key) = checkpoint().await;
        let mut checkpoint = open(&text, &key, "prod").unwrap();
        assert_eq!((checkpoint.accounts(), checkpoint.unreadable()), (3, 0));
        // It can be read any number of times.
        for _ in 0..2 {
            let mut accounts = checkpoint.read().unwrap();
            let mut read = Vec::new();
            while let Some(account) = accounts.next().unwrap() {
                read.push((account.key.user.as_str().to_owned(), account.head.sequence));
            }
            assert_eq!(read, [("Carol".to_owned(), 3), ("alice".to_owned(), 2), ("bob".to_owned(), 1)]);
        }
    }

    #[tokio::test]
    async fn whatever_byte_is_altered_it_is_refused() {
        let (whole, key) = checkpoint().await;
        for place in 0..whole.len() {
            for flip in [0x01, 0x20] {
                let mut altered = whole.clone();
                altered[place] ^= flip;
                assert!(open(&altered, &key, "prod").is_err(), "byte {place} of {}", whole.len());
            }
        }
    }

    #[tokio::test]
    async fn wherever_it_is_cut_or_lengthened_it_is_refused() {
        let (whole, key) = checkpoint().await;
        for length in 0..whole.len() {
            assert!(open(&whole[..length], &key, "prod").is_err(), "{length} bytes");
        }
        let longer = [&whole[..], b"\n"].concat();
        assert!(refusal(longer, &key, "prod").contains("data follows its signature"));
        let text = String::from_utf8(whole).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        for (line, reason) in [(5, "has no signature"), (4, "it was cut off"), (2, "but states 3")] {
            let mut lines = lines.clone();
            if line == 2 {
                lines.remove(2);
            } else {
                lines.truncate(line);
            }
            let refusal = refusal(lines.join("\n") + "\n", &key, "prod");
            assert!(refusal.contains(reason), "{line}: {refusal}");
        }
        lines.swap(1, 2);
        assert!(refusal(lines.join("\n") + "\n", &key, "prod").contains("line 3 cannot be read"));
    }

    #[tokio::test]
    async fn that_of_another_key_or_installation_is_refused() {
        let (text, key) = checkpoint().await;
        let text = String::from_utf8(text).unwrap();
        let other = SigningKey::generate(&SystemEntropy).unwrap();
        let refused = refusal(&text, &other, "prod");
        assert!(refused.contains(&format!("signed with key {}", key.public_key().id())), "{refused}");
        // An attacker who writes the id of the right key into it still cannot sign.
        let claimed = text.replace(&key.public_key().id(), &other.public_key().id());
        assert!(refusal(claimed, &other, "prod").contains("signature is invalid"));
        let refused = refusal(&text, &key, "staging");
        assert!(refused.contains("belongs to installation prod, not staging"), "{refused}");
    }

    #[tokio::test]
    async fn one_that_changes_between_two_readings_is_refused() {
        let (text, key) = checkpoint().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.jsonl");
        fs::write(&path, &text).unwrap();
        let file = BufReader::new(File::open(&path).unwrap());
        let mut checkpoint = Checkpoint::open(file, &key.public_key(), "prod").unwrap();
        let text = String::from_utf8(text).unwrap();
        fs::write(&path, text.replace("\"sequence\":2", "\"sequence\":3")).unwrap();
        let mut accounts = checkpoint.read().unwrap();
        let end = loop {
            match accounts.next() {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Err(CheckpointError::Changed)), "{end:?}");
    }
}
