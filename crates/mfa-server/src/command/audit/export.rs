//! `audit export`

use std::path::Path;

use anyhow::{Context, Result};
use mfa_audit::export::{self, Exported, LeftOut, Selection};
use mfa_crypto::AesGcmVault;
use mfa_domain::ports::Vault;
use mfa_domain::{EventId, TenantId};
use serde_json::json;

use crate::cli::ExportArgs;
use crate::config::Config;
use crate::data_dir::Replacement;
use crate::failure::{Exit, Misuse};
use crate::key_ring::{self, RingSource};
use crate::output;
use crate::storage::{Absent, Storage};

pub(super) async fn run(config: &Config, arguments: ExportArgs) -> Result<Exit> {
    let ExportArgs { tenant, user, after, since, until, out, json } = arguments;
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let vault = vault(config, &storage).await?;
    let position = |tenant: &TenantId, id: EventId| {
        let position = vault.event_position(tenant, id);
        position.ok_or_else(|| Misuse(format!("{id} is not the id of an event of tenant {tenant}")))
    };
    let after = match (&tenant, after) {
        (Some(tenant), Some(id)) => Some(position(tenant, id)?),
        _ => None,
    };
    let user = match (&tenant, user) {
        (Some(tenant), Some(user)) => Some(storage.account(tenant.clone(), user).await?.user),
        (_, user) => user,
    };
    let selection = Selection { tenant, user, after, since, until };
    let accounts = storage.accounts.as_ref();
    let name = |left_out: LeftOut| output::complain(&left_out.to_string());
    let exported = if let Some(path) = out {
        let mut file = Replacement::begin(&path)?;
        let exported = export::write(accounts, &vault, &selection, &mut file, name).await?;
        file.commit()?;
        let last = selection.tenant.as_ref().zip(exported.last);
        say(&path, &exported, last.map(|(tenant, last)| vault.event_id(tenant, last)), json)?;
        exported
    } else {
        export::write(accounts, &vault, &selection, &mut output::stream(), name).await?
    };
    storage.close().await;
    Ok(if exported.unreadable == 0 { Exit::Done } else { Exit::Failed })
}

/// The vault that computes event ids. Never creates a key ring.
async fn vault(config: &Config, storage: &Storage) -> Result<AesGcmVault> {
    let in_use = storage.accounts.keys_in_use().await.context("the keys in use cannot be read")?;
    let ring = key_ring::existing(&RingSource::of(config)?, &in_use)?;
    Ok(AesGcmVault::new(ring))
}

fn say(path: &Path, exported: &Exported, last: Option<EventId>, json: bool) -> Result<()> {
    let Exported { events, unreadable, .. } = exported;
    let (file, last) = (path.display(), last.map(|id| id.to_string()));
    if json {
        let file = file.to_string();
        return output::say_json(
            &json!({ "file": file, "events": events, "unreadable": unreadable, "last": last }),
        );
    }
    let next = last.map_or(String::new(), |id| format!(" For the next export, add --after {id}"));
    output::say(format_args!("Wrote {events} events to {file}.{next}"))
}
