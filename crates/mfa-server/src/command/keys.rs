//! `keys add`, `list`, `re-encrypt`

use anyhow::{Context, Result};
use mfa_crypto::OsEntropy;
use mfa_domain::AccountKey;
use mfa_domain::ports::{AccountQuery, AccountStore, Clock, SystemClock};
use serde_json::json;

use super::operator;
use crate::cli::{Json, KeysCommand};
use crate::config::Config;
use crate::failure::{Exit, Misuse, describe};
use crate::installation::Installation;
use crate::key_ring::{self, RingSource};
use crate::storage::{Absent, Storage};
use crate::{data_dir, output};

/// Accounts that are looked up at a time.
const PAGE: u32 = 500;

pub(super) async fn run(config: &Config, command: KeysCommand) -> Result<Exit> {
    match command {
        KeysCommand::Add { json } => add(config, json).await?,
        KeysCommand::List { json } => return list(config, json).await,
        KeysCommand::ReEncrypt { json } => return re_encrypt(config, json).await,
    }
    Ok(Exit::Done)
}

async fn add(config: &Config, json: Json) -> Result<()> {
    let RingSource::File(path) = RingSource::of(config)? else {
        let text = "the key ring is in MFA_KEY_RING, which cannot be changed from here; use a file";
        return Err(Misuse(text.to_owned()).into());
    };
    // Only the right ring may grow.
    Installation::open(config, Absent::Refuse).await?.close().await;

    let _turn = data_dir::lock(&config.settings.data_dir)?;
    let mut ring = key_ring::read_file(&path)?.context("the key ring is gone")?;
    let id = ring.add(&OsEntropy, SystemClock.now())?;
    key_ring::write(&path, &ring)?;
    if json.json {
        return output::say_json(&json!({ "id": id.as_str() }));
    }
    output::say(format_args!(
        "Key {id} is added to {}. Back the file up now; a running server takes the key up by itself.\n\
         `mfa-server keys re-encrypt` seals with it what is there already.",
        path.display()
    ))
}

/// Does not ask for the right ring: which keys are missing is what one wants to know then.
async fn list(config: &Config, json: Json) -> Result<Exit> {
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let in_use = storage.accounts.keys_in_use().await?;
    storage.close().await;
    let ring = RingSource::of(config)?.read()?;

    let mut keys = Vec::new();
    let mut missing = in_use.iter().collect();
    if let Some(ring) = &ring {
        for (id, created_at) in ring.keys() {
            keys.push((id, Some(created_at), ring.newest() == id, in_use.contains(id)));
        }
        missing = ring.missing(&in_use);
    }
    let complete = missing.is_empty();
    keys.extend(missing.into_iter().map(|id| (id, None, false, true)));

    if json.json {
        let keys = keys.into_iter().map(|(id, created_at, newest, in_use)| {
            json!({
                "id": id.as_str(),
                "created_at": created_at.map(|at| at.to_string()),
                "newest": newest,
                "in_use": in_use,
                "missing": created_at.is_none(),
            })
        });
        output::say_json(&keys.collect())?;
    } else {
        let yes = |yes| if yes { "yes" } else { "-" }.to_owned();
        let rows: Vec<_> = keys
            .into_iter()
            .map(|(id, created_at, newest, in_use)| {
                let created_at = created_at.map_or("MISSING".to_owned(), |at| at.to_string());
                [id.to_string(), created_at, yes(newest), yes(in_use)]
            })
            .collect();
        output::say_table(["ID", "CREATED", "NEWEST", "IN USE"], &rows)?;
    }
    Ok(if complete { Exit::Done } else { Exit::Refused })
}

/// Only accounts that have a secret under an older key are looked at, so whatever was done before
/// an interruption stays done.
async fn re_encrypt(config: &Config, json: Json) -> Result<Exit> {
    let installation = Installation::open(config, Absent::Refuse).await?;
    let ports = installation.mfa.ports();
    let walk = Walk { accounts: ports.accounts.as_ref(), newest: ports.vault.newest() };
    let progress = output::Progress::new(walk.count().await?);
    let actor = operator();

    let (mut sealed, mut failed) = (0_u64, 0_u64);
    let mut after = None;
    while let Some(keys) = walk.next(after).await? {
        for key in &keys {
            match installation.mfa.reseal(key, &actor).await {
                Ok(changed) => sealed += u64::from(changed),
                Err(error) => {
                    failed += 1;
                    let error = describe(&error.into());
                    progress.note(&format!("{error} (user {} of tenant {})", key.user, key.tenant));
                }
            }
            progress.advance();
        }
        after = keys.into_iter().next_back();
    }
    progress.end();
    let newest = walk.newest.clone();
    installation.close().await;

    if json.json {
        output::say_json(&json!({ "newest": newest.as_str(), "accounts": sealed, "failed": failed }))?;
    } else {
        output::say(format_args!(
            "Sealed the secrets of {sealed} accounts with key {newest}; {failed} failed."
        ))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// The accounts that are not sealed with the newest key.
struct Walk<'a> {
    accounts: &'a dyn AccountStore,
    newest: mfa_domain::KeyId,
}

impl Walk<'_> {
    /// The next page; none after the last.
    async fn next(&self, after: Option<AccountKey>) -> Result<Option<Vec<AccountKey>>> {
        let query = AccountQuery { after, not_sealed_with: Some(self.newest.clone()), limit: PAGE };
        let keys = self.accounts.page(&query).await?.keys;
        Ok((!keys.is_empty()).then_some(keys))
    }

    async fn count(&self) -> Result<u64> {
        let mut total = 0;
        let mut after = None;
        while let Some(keys) = self.next(after).await? {
            total += keys.len() as u64;
            after = keys.into_iter().next_back();
        }
        Ok(total)
    }
}
