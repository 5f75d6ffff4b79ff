//! What a serving process does about the trail by itself.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mfa_crypto::SigningKey;
use mfa_domain::ports::{AccountStore, Clock, DeliveryStore, SystemClock};
use mfa_domain::{AccountKey, Timestamp};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::retention::{self, Mode, Old, Pruned, prune};
use super::{checkpoint, signing_key};
use crate::config::{Config, Settings, StoreUrl};
use crate::data_dir;
use crate::failure::describe;
use crate::installation::Installation;
use crate::webhooks;

/// How long to wait after something failed.
const AFTER_A_FAILURE: Duration = Duration::from_mins(1);

/// How a checkpoint's file is called: between these, the time. So names sort as times do.
const PREFIX: &str = "checkpoint-";
const EXTENSION: &str = "jsonl";

/// How long to wait between two looks for events that are too old.
const BETWEEN_PRUNINGS: Duration = Duration::from_hours(1);

/// Starts it, until the runtime ends.
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

/// Removes events by age. Servers that share a database all do so; what one has removed, the others do
/// not find any more.
async fn keep_pruning(
    accounts: Arc<dyn AccountStore>,
    deliveries: Option<Arc<dyn DeliveryStore>>,
    settings: Settings,
    retention: Duration,
) {
    loop {
        let pruned = async {
            let through = webhooks::delivered(&settings, deliveries.as_deref()).await?;
            let old = Old { before: retention::before(retention), through };
            prune(accounts.as_ref(), old, Mode::Remove, || ()).await
        };
        let pause = match pruned.await {
            Ok(Pruned { accounts, events, broken }) => {
                if events > 0 {
                    info!(accounts, events, "events were removed by age");
                }
                for AccountKey { tenant, user } in broken {
                    warn!(%tenant, %user, "a trail does not hold, and is left as it is; see audit verify");
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

/// Checkpoints in a folder, which several servers may share: whoever finds that one is due writes it.
/// If two do at once, there is one more than needed.
struct Checkpoints {
    key: SigningKey,
    installation: String,
    folder: PathBuf,
    every: Duration,
}

impl Checkpoints {
    async fn keep(self, accounts: Arc<dyn AccountStore>) {
        loop {
            if let Err(error) = self.next(accounts.as_ref()).await {
                warn!("no checkpoint of the audit trail was written: {}", describe(&error));
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }

    /// Waits until one is due, and writes it.
    async fn next(&self, accounts: &dyn AccountStore) -> Result<()> {
        let previous = loop {
            let folder = self.folder.clone();
            let Some((newest, age)) = spawn_blocking(move || newest(&folder)).await?? else { break None };
            if age >= self.every {
                break Some(newest);
            }
            tokio::time::sleep(self.every.saturating_sub(age)).await;
        };
        let now = Timestamp::from_unix_seconds(SystemClock.now().unix_seconds());
        let to = self.folder.join(format!("{PREFIX}{}.{EXTENSION}", now.to_string().replace(':', "-")));
        let plan = checkpoint::Plan { installation: self.installation.clone(), previous, to: to.clone() };
        let count = checkpoint::write(accounts, &self.key, plan, || ()).await?;
        info!(file = %to.display(), accounts = count, "a checkpoint of the audit trail was written");
        Ok(())
    }
}

/// The newest checkpoint of a folder, and how old it is.
fn newest(folder: &Path) -> Result<Option<(PathBuf, Duration)>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("{} cannot be read", folder.display()))?;
    let ours = entries.into_iter().map(|entry| entry.path()).filter(|path| is_checkpoint(path));
    let Some(newest) = ours.max() else { return Ok(None) };
    let written = fs::metadata(&newest).and_then(|metadata| metadata.modified());
    let written = written.with_context(|| format!("{} cannot be read", newest.display()))?;
    Ok(Some((newest, written.elapsed().unwrap_or_default())))
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(EXTENSION))
        && path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PREFIX))
}
