//! Periodic work of a server on the audit trail: checkpoints and retention.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mfa_audit::checkpoint::Written;
use mfa_audit::retention::{Mode, Old, Pruned, kept_since, prune};
use mfa_audit::walk::Found;
use mfa_crypto::SigningKey;
use mfa_domain::Timestamp;
use mfa_domain::ports::{AccountStore, Clock, DeliveryStore, SystemClock, UnreadableAccount};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{checkpoint, signing_key};
use crate::config::{Config, Settings, StoreUrl};
use crate::data_dir::{self, Replacement};
use crate::failure::describe;
use crate::installation::Installation;
use crate::webhooks;

/// Pause after a failure.
const AFTER_A_FAILURE: Duration = Duration::from_mins(1);

/// Shortest pause after a checkpoint, unless checkpoints are written more often.
const AFTER_ONE: Duration = Duration::from_mins(1);

/// The name of a checkpoint's file consists of this prefix, the time with `-` for each `:`, and this suffix.
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".jsonl";

/// Checkpoints that are further ahead of this server's clock are ignored, since one of the clocks was wrong.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// Time between two searches for expired events.
const BETWEEN_PRUNINGS: Duration = Duration::from_hours(1);

/// Delay of the first search. The clock of a machine that has just started may be wrong, and removed events cannot be
/// restored.
const BEFORE_THE_FIRST: Duration = Duration::from_mins(10);

/// Starts both in the background.
pub(crate) fn start(config: &Config, installation: &Installation) -> Result<()> {
    let accounts = &installation.mfa.ports().accounts;
    let Settings { store, data_dir, audit, .. } = &config.settings;
    if let Some(retention) = audit.retention {
        let deliveries = installation.deliveries();
        tokio::spawn(keep_pruning(Arc::clone(accounts), deliveries, config.settings.clone(), retention));
    }
    if *store != StoreUrl::Memory && !audit.checkpoint_dir.as_os_str().is_empty() {
        let checkpoints = Checkpoints {
            key: signing_key::open(config)?,
            installation: audit.installation.clone(),
            folder: data_dir.join(&audit.checkpoint_dir),
            every: audit.checkpoint_every,
        };
        data_dir::make(&checkpoints.folder)?;
        tokio::spawn(checkpoints.keep(Arc::clone(accounts)));
    }
    Ok(())
}

/// Removes events by age. All servers that share a database do so.
async fn keep_pruning(
    accounts: Arc<dyn AccountStore>,
    deliveries: Option<Arc<dyn DeliveryStore>>,
    settings: Settings,
    retention: Duration,
) {
    // A short retention makes the delay shorter, as there is less to lose.
    tokio::time::sleep(BEFORE_THE_FIRST.min(retention / 60)).await;
    loop {
        let pruned = async {
            let through = webhooks::delivered(&settings, deliveries.as_deref()).await?;
            let before = kept_since(SystemClock.now(), retention);
            let pruned = prune(accounts.as_ref(), Old { before, through }, Mode::Remove, || ()).await?;
            anyhow::Ok((before, pruned))
        };
        let pause = match pruned.await {
            Ok((before, Pruned { accounts, events, broken })) => {
                if events > 0 {
                    // The time in the line shows whether the clock is right.
                    info!(accounts, events, %before, "events were removed by age");
                }
                for account in broken {
                    warn!(%account, "the trail of an account is broken and was left unchanged; run `audit verify`");
                }
                BETWEEN_PRUNINGS
            }
            Err(error) => {
                warn!("events could not be removed by age: {}", describe(&error));
                AFTER_A_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Checkpoints in a folder, which several servers may share. A server that finds a checkpoint due writes it. If two
/// servers do so at the same time, there is one more than needed.
struct Checkpoints {
    key: SigningKey,
    installation: String,
    folder: PathBuf,
    every: Duration,
}

impl Checkpoints {
    async fn keep(self, accounts: Arc<dyn AccountStore>) {
        loop {
            let pause = match self.next(accounts.as_ref()).await {
                // A pause, so that no content of the folder can make the server fill the disk.
                Ok(()) => self.every.min(AFTER_ONE),
                Err(error) => {
                    warn!("no checkpoint of the audit trail was written: {}", describe(&error));
                    AFTER_A_FAILURE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until a checkpoint is due, and writes it.
    async fn next(&self, accounts: &dyn AccountStore) -> Result<()> {
        let previous = loop {
            let (folder, now) = (self.folder.clone(), SystemClock.now());
            let newest = spawn_blocking(move || newest(&folder, now)).await??;
            let Some((written, newest)) = newest else { break None };
            let age = now.since(written);
            if age >= self.every {
                break Some(newest);
            }
            tokio::time::sleep(self.every.saturating_sub(age)).await;
        };
        let to = self.folder.join(name(SystemClock.now()));
        let file = Replacement::begin(&to)?;
        let written = checkpoint::write(accounts, &self.key, &self.installation, previous, file, warn_of);
        let Written { accounts, unreadable } = written.await?;
        info!(file = %to.display(), accounts, unreadable, "a checkpoint of the audit trail was written");
        Ok(())
    }
}

/// Logs an account that cannot be read and is left out.
fn warn_of(found: &Found) {
    if let Err(UnreadableAccount { place, what }) = found {
        metrics::counter!("mfa_unreadable_rows_total", "table" => "accounts").increment(1);
        error!(account = %place, what, "a checkpoint leaves out an account that cannot be read; run `audit verify`");
    }
}

/// The newest checkpoint of a folder, and when it was begun.
fn newest(folder: &Path, now: Timestamp) -> Result<Option<(Timestamp, PathBuf)>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("{} cannot be read", folder.display()))?;
    let ours =
        entries.into_iter().filter_map(|entry| Some((time(entry.file_name().to_str()?)?, entry.path())));
    let (past, ahead): (Vec<_>, Vec<_>) = ours.partition(|(time, _)| *time <= now.plus(CLOCKS_DIFFER));
    if let Some((_, path)) = ahead.first() {
        let (count, file) = (ahead.len(), path.display());
        warn!(count, %file, "checkpoints from the future were ignored; check the clock");
    }
    Ok(past.into_iter().max())
}

/// The file name of a checkpoint that begins now.
fn name(now: Timestamp) -> String {
    let now = Timestamp::from_unix_seconds(now.unix_seconds()).to_string();
    format!("{PREFIX}{}{SUFFIX}", now.replace(':', "-"))
}

/// The time in the name of a checkpoint's file; `None` for any other name.
fn time(file: &str) -> Option<Timestamp> {
    let (date, time) = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('T')?;
    let time = format!("{date}T{}", time.replace('-', ":")).parse().ok()?;
    (name(time) == file).then_some(time)
}

#[cfg(test)]
mod tests {
    use mfa_testkit::changes::{happen, key};
    use tokio::time::sleep;

    use super::*;
    use crate::config::Flags;
    use crate::storage::Absent;

    /// The clock of a machine that has just started may be wrong.
    #[tokio::test(start_paused = true)]
    async fn events_are_removed_by_age_but_not_at_once() {
        let variables = [("MFA_STORE", "memory:"), ("MFA_AUDIT_RETENTION", "1h")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(&Flags::default(), variables.into_iter()).unwrap();
        let installation = Installation::open(&config, Absent::Create).await.unwrap();
        let accounts = &installation.mfa.ports().accounts;
        let removed = async || accounts.load(&key("alice")).await.unwrap().value.audit_base.sequence;
        happen(accounts.as_ref(), &key("alice"), 0..30).await.unwrap();
        // As with two servers on one database.
        start(&config, &installation).unwrap();
        start(&config, &installation).unwrap();
        sleep(Duration::from_secs(59)).await;
        assert_eq!(removed().await, 0);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(removed().await, 29);
        happen(accounts.as_ref(), &key("alice"), 30..40).await.unwrap();
        sleep(Duration::from_mins(59)).await;
        assert_eq!(removed().await, 29);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(removed().await, 39);
    }

    #[test]
    fn the_newest_checkpoint_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-03-01T12:00:00.5Z".parse().unwrap();
        let found = |name: &str| {
            fs::write(folder.path().join(name), "").unwrap();
            let newest = newest(folder.path(), now).unwrap();
            newest.map(|(time, path)| (time.to_string(), path.file_name().unwrap().to_owned()))
        };
        // Other files, and checkpoints of a clock that was ahead.
        for other in [
            "checkpoint-before-upgrade.jsonl",
            "checkpoint-.jsonl",
            "checkpoint-2026-03-01T11-00-00+00-00.jsonl",
            "checkpoint-2026-03-01T11-00-00.5Z.jsonl",
            "checkpoint-2026-03-01T11:00:00Z.jsonl",
            "checkpoint-2026-03-01T11-00-00Z.jsonl.tmp",
            "checkpoint-2026-03-01T12-10-01Z.jsonl",
            "checkpoint-2036-03-01T12-00-00Z.jsonl",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        for (file, time) in [
            ("checkpoint-2026-02-28T23-59-59Z.jsonl", "2026-02-28T23:59:59Z"),
            ("checkpoint-2026-03-01T11-59-59Z.jsonl", "2026-03-01T11:59:59Z"),
            // A checkpoint of a server whose clock is slightly ahead.
            ("checkpoint-2026-03-01T12-10-00Z.jsonl", "2026-03-01T12:10:00Z"),
        ] {
            assert_eq!(found(file), Some((time.to_owned(), file.into())));
            assert_eq!(name(time.parse().unwrap()), file);
        }
        assert_eq!(found("checkpoint-2026-01-01T00-00-00Z.jsonl").unwrap().0, "2026-03-01T12:10:00Z");
    }
}
