//! `audit prune`

use anyhow::Result;
use mfa_audit::retention::{Mode, Old, Pruned, prune};
use mfa_domain::ports::{Clock, SystemClock};
use serde_json::json;

use crate::cli::PruneArgs;
use crate::config::Config;
use crate::failure::{Exit, Misuse};
use crate::output::{self, Progress};
use crate::storage::{Absent, Storage};
use crate::webhooks;

pub(super) async fn run(config: &Config, arguments: &PruneArgs) -> Result<Exit> {
    let PruneArgs { before, dry_run, json } = *arguments;
    if before > SystemClock.now() {
        return Err(Misuse(format!("--before: {before} is in the future")).into());
    }
    let mode = if dry_run { Mode::Count } else { Mode::Remove };
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let progress = Progress::endless();
    let through = webhooks::delivered(&config.settings, storage.deliveries.as_deref()).await?;
    let pruned =
        prune(storage.accounts.as_ref(), Old { before, through }, mode, || progress.advance()).await?;
    storage.close().await;
    let Pruned { accounts, events, broken } = pruned;
    for account in &broken {
        progress
            .note(&format!("the trail of {account} is broken and was left unchanged; run `audit verify`"));
    }
    progress.end();
    if json.json {
        let broken = broken.len();
        output::say_json(
            &json!({ "accounts": accounts, "events": events, "broken": broken, "dry_run": dry_run }),
        )?;
    } else {
        let removed = if dry_run { "would be removed" } else { "were removed" };
        output::say(format_args!("{events} events of {accounts} accounts {removed}."))?;
    }
    Ok(if broken.is_empty() { Exit::Done } else { Exit::Failed })
}
