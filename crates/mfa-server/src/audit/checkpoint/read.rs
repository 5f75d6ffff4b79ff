//! Reading a checkpoint. Nothing in it is believed before its signature is checked.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use mfa_crypto::PublicKey;
use mfa_domain::{AccountKey, Timestamp};
use serde_json::from_slice;
use sha2::{Digest, Sha256};

use super::super::lines::Lines;
use super::{End, FORMAT, Header, Line, Signed, Then, decode, message};

/// A checkpoint whose signature is right.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// When its first account was read.
    pub(crate) begun_at: Timestamp,
    pub(crate) accounts: u64,
    /// Accounts that are not in it, since they could not be read.
    pub(crate) unreadable: u64,
    path: PathBuf,
    digest: Vec<u8>,
}

/// The accounts of a checkpoint, in key order.
#[derive(Debug)]
pub(crate) struct Accounts {
    lines: Hashed,
    /// What the file must be, if that was checked before.
    digest: Option<Vec<u8>>,
    end: Option<End>,
    count: u64,
    last: Option<AccountKey>,
}

impl Checkpoint {
    /// Reads a checkpoint from end to end, and checks its signature and that it is of `installation`.
    pub(crate) fn open(path: &Path, key: &PublicKey, installation: &str) -> Result<Self> {
        let read = || -> Result<Self> {
            let (header, mut accounts) = Accounts::open(path, None)?;
            if header.signed_by != key.id() {
                bail!("it is signed with key {}, and not with {}", header.signed_by, key.id());
            }
            while accounts.next()?.is_some() {}
            let digest = accounts.lines.digest();
            let signature = accounts.signature()?;
            if !key.verify(&message(&digest), &signature) {
                bail!("its signature is not right: it was altered");
            }
            if header.installation != installation {
                bail!("it is of the installation {}, and not of {installation}", header.installation);
            }
            let begun_at = header.begun_at.parse()?;
            let unreadable = accounts.end.as_ref().map_or(0, |end| end.unreadable);
            Ok(Self { begun_at, accounts: accounts.count, unreadable, path: path.to_owned(), digest })
        };
        read().with_context(|| format!("the checkpoint {}", path.display()))
    }

    /// What is in it, read once more, since it may be larger than the memory.
    pub(crate) fn accounts(&self) -> Result<Accounts> {
        let (_, accounts) = Accounts::open(&self.path, Some(self.digest.clone()))
            .with_context(|| format!("the checkpoint {}", self.path.display()))?;
        Ok(accounts)
    }
}

impl Accounts {
    fn open(path: &Path, digest: Option<Vec<u8>>) -> Result<(Header, Self)> {
        let mut lines = Hashed { lines: Lines::of(path)?, hash: Sha256::new() };
        let header: Header = match lines.next()? {
            Some(line) => from_slice(&line).map_err(|_| anyhow!("it is no checkpoint"))?,
            None => bail!("it is empty"),
        };
        if header.format != FORMAT {
            bail!("its form is {}, and this version knows {FORMAT}", header.format);
        }
        Ok((header, Self { lines, digest, end: None, count: 0, last: None }))
    }

    /// The next account; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Then>> {
        if self.end.is_some() {
            return Ok(None);
        }
        let Some(line) = self.lines.next()? else {
            bail!("it ends after line {}, and has no signature: it was cut off", self.lines.lines.number());
        };
        if let Ok(account) = from_slice::<Line>(&line) {
            let account = account.read().filter(|account| self.last.as_ref() < Some(&account.key));
            let account = account.ok_or_else(|| self.lines.lines.unreadable())?;
            self.count += 1;
            self.last = Some(account.key.clone());
            return Ok(Some(account));
        }
        let end: End = from_slice(&line).map_err(|_| self.lines.lines.unreadable())?;
        if end.accounts != self.count {
            bail!("it has {} accounts and says that they are {}", self.count, end.accounts);
        }
        if self.digest.as_ref().is_some_and(|digest| *digest != self.lines.digest()) {
            bail!("it was changed while it was read");
        }
        self.end = Some(end);
        Ok(None)
    }

    /// What stands behind the accounts, and nothing behind that.
    fn signature(&mut self) -> Result<mfa_crypto::signing::Signature> {
        let Some(line) = self.lines.next()? else {
            bail!("it has no signature: it was cut off");
        };
        let signed: Signed = from_slice(&line).map_err(|_| self.lines.lines.unreadable())?;
        let signature = decode(&signed.signature).ok_or_else(|| self.lines.lines.unreadable())?;
        if self.lines.next()?.is_some() {
            bail!("there is more after its signature");
        }
        Ok(signature)
    }
}

/// Lines, and SHA-256 over all of them so far.
#[derive(Debug)]
struct Hashed {
    lines: Lines,
    hash: Sha256,
}

impl Hashed {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
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
    use mfa_domain::ports::SystemEntropy;
    use std::fs;

    use mfa_crypto::SigningKey;
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::changes;
    use tempfile::TempDir;

    use super::super::{Plan, write};
    use super::*;
    use crate::data_dir::Replacement;

    /// A checkpoint of three accounts, and its key.
    async fn checkpoint() -> (TempDir, PathBuf, SigningKey) {
        let store = MemoryStore::default();
        for (user, events) in [("alice", 2), ("bob", 1), ("Carol", 3)] {
            for _ in 0..events {
                let _ = changes::change(&store, &changes::key(user), |_| ()).await.unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("checkpoint.jsonl");
        let key = SigningKey::generate(&SystemEntropy).unwrap();
        let replacement = Replacement::begin(&to).unwrap();
        let plan = Plan { installation: "prod".to_owned(), previous: None, to: replacement };
        assert_eq!(write(&store, &key, plan, |_| ()).await.unwrap().accounts, 3);
        (folder, to, key)
    }

    fn refusal(path: &Path, key: &SigningKey, installation: &str) -> String {
        let error = Checkpoint::open(path, &key.public_key(), installation).unwrap_err();
        format!("{error:#}")
    }

    #[tokio::test]
    async fn what_was_written_is_read_in_key_order() {
        let (_folder, path, key) = checkpoint().await;
        let checkpoint = Checkpoint::open(&path, &key.public_key(), "prod").unwrap();
        let mut accounts = checkpoint.accounts().unwrap();
        let mut read = Vec::new();
        while let Some(account) = accounts.next().unwrap() {
            read.push((account.key.user.as_str().to_owned(), account.head.sequence));
        }
        assert_eq!(read, [("Carol".to_owned(), 3), ("alice".to_owned(), 2), ("bob".to_owned(), 1)]);
        assert_eq!(checkpoint.accounts, 3);
    }

    #[tokio::test]
    async fn whatever_byte_is_altered_it_is_refused() {
        let (_folder, path, key) = checkpoint().await;
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for flip in [0x01, 0x20] {
                let mut altered = whole.clone();
                altered[place] ^= flip;
                fs::write(&path, &altered).unwrap();
                let opened = Checkpoint::open(&path, &key.public_key(), "prod");
                assert!(opened.is_err(), "byte {place} of {}", whole.len());
            }
        }
    }

    #[tokio::test]
    async fn wherever_it_is_cut_or_lengthened_it_is_refused() {
        let (_folder, path, key) = checkpoint().await;
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Checkpoint::open(&path, &key.public_key(), "prod").is_err(), "{length} bytes");
        }
        fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert!(refusal(&path, &key, "prod").contains("there is more after its signature"));
        let text = String::from_utf8(whole).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        for (line, reason) in [(5, "has no signature"), (4, "it was cut off"), (2, "says that they are 3")] {
            let mut lines = lines.clone();
            if line == 2 {
                lines.remove(2);
            } else {
                lines.truncate(line);
            }
            fs::write(&path, lines.join("\n") + "\n").unwrap();
            let refusal = refusal(&path, &key, "prod");
            assert!(refusal.contains(reason), "{line}: {refusal}");
        }
        lines.swap(1, 2);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        assert!(refusal(&path, &key, "prod").contains("line 3 cannot be read"));
    }

    #[tokio::test]
    async fn that_of_another_key_or_installation_is_refused() {
        let (_folder, path, key) = checkpoint().await;
        let other = SigningKey::generate(&SystemEntropy).unwrap();
        let refused = refusal(&path, &other, "prod");
        assert!(refused.contains(&format!("signed with key {}", key.public_key().id())), "{refused}");
        // Whoever writes the id of the right key into it still cannot sign.
        let text = fs::read_to_string(&path).unwrap();
        let claimed = text.replace(&key.public_key().id(), &other.public_key().id());
        fs::write(&path, claimed).unwrap();
        assert!(refusal(&path, &other, "prod").contains("signature is not right"));
        fs::write(&path, text).unwrap();
        let refused = refusal(&path, &key, "staging");
        assert!(refused.contains("of the installation prod, and not of staging"), "{refused}");
    }

    #[tokio::test]
    async fn one_that_changes_between_two_readings_is_refused() {
        let (_folder, path, key) = checkpoint().await;
        let checkpoint = Checkpoint::open(&path, &key.public_key(), "prod").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"sequence\":2", "\"sequence\":3")).unwrap();
        let mut accounts = checkpoint.accounts().unwrap();
        let end = loop {
            match accounts.next() {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(end.unwrap_err().to_string().contains("changed while it was read"));
    }
}
