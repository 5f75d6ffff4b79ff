//! `keys add`, `promote`, `list`, `re-encrypt`, `remove`

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use mfa_domain::KeyId;
use mfa_domain::ports::{Clock, SystemClock, SystemEntropy};
use serde_json::json;

use super::operator;
use crate::cli::{Json, KeysCommand};
use crate::config::Config;
use crate::data_dir::Replacement;
use crate::failure::{Exit, Misuse, Refusal, describe};
use crate::installation::Installation;
use crate::key_ring::{self, RingSource};
use crate::re_encryption::ReEncryption;
use crate::storage::{Absent, Storage};
use crate::{data_dir, output};

pub(super) async fn run(config: &Config, command: KeysCommand) -> Result<Exit> {
    match command {
        KeysCommand::Add { standby, json } => add(config, standby, json).await?,
        KeysCommand::Promote { id, json } => promote(config, &KeyId::new(id), json).await?,
        KeysCommand::Remove { id, json } => remove(config, &KeyId::new(id), json).await?,
        KeysCommand::List { json } => return list(config, json).await,
        KeysCommand::ReEncrypt { json } => return re_encrypt(config, json).await,
    }
    Ok(Exit::Done)
}

async fn add(config: &Config, standby: bool, json: Json) -> Result<()> {
    let path = ring_file(config)?;
    // Refuses a key ring that does not belong to this database.
    Installation::open(config, Absent::Refuse).await?.close().await;

    let _turn = data_dir::lock(&config.settings.data_dir)?;
    let mut ring = key_ring::read_file(&path)?.context("the key ring is missing")?;
    let now = SystemClock.now();
    let id = if standby {
        ring.add_standby(&SystemEntropy, now).map_err(|error| Misuse(error.to_string()))?
    } else {
        ring.add(&SystemEntropy, now)?
    };
    key_ring::write(&path, &ring)?;
    if json.json {
        return output::say_json(&json!({ "id": id.as_str(), "standby": standby }));
    }
    let path = path.display();
    if standby {
        return output::say(format_args!(
            "Added key {id} to {path}, on standby. Back up the file now and copy it to every machine.\n\
             Once every machine has it, run `mfa-server keys promote {id}` to encrypt with this key."
        ));
    }
    output::say(format_args!(
        "Added key {id} to {path}. Back up the file now. A running server starts to use the key by itself and\n\
         re-encrypts existing secrets in the background; `mfa-server keys re-encrypt` does so at once."
    ))
}

async fn promote(config: &Config, id: &KeyId, json: Json) -> Result<()> {
    let path = ring_file(config)?;
    Installation::open(config, Absent::Refuse).await?.close().await;

    let _turn = data_dir::lock(&config.settings.data_dir)?;
    let mut ring = key_ring::read_file(&path)?.context("the key ring is missing")?;
    ring.promote(id).map_err(|error| Misuse(format!("key {id} cannot be promoted: {error}")))?;
    key_ring::write(&path, &ring)?;
    if json.json {
        return output::say_json(&json!({ "id": id.as_str(), "promoted": true }));
    }
    output::say(format_args!("Key {id} now encrypts new secrets. Copy {} to every machine.", path.display()))
}

/// Also works with a wrong key ring, to show which keys are missing.
async fn list(config: &Config, json: Json) -> Result<Exit> {
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let in_use = storage.accounts.keys_in_use().await?;
    storage.close().await;
    let ring = RingSource::of(config)?.read()?;

    let mut keys = Vec::new();
    let mut missing = in_use.iter().collect();
    if let Some(ring) = &ring {
        for (id, created_at) in ring.keys() {
            let state = match id {
                id if id == ring.newest() => "seals",
                id if ring.standby() == Some(id) => "standby",
                _ => "opens",
            };
            keys.push((id, Some(created_at), state, in_use.contains(id)));
        }
        missing = ring.missing(&in_use);
    }
    let complete = missing.is_empty();
    keys.extend(missing.into_iter().map(|id| (id, None, "missing", true)));

    if json.json {
        let keys = keys.into_iter().map(|(id, created_at, state, in_use)| {
            json!({
                "id": id.as_str(),
                "created_at": created_at.map(|at| at.to_string()),
                "state": state,
                "newest": state == "seals",
                "in_use": in_use,
                "missing": created_at.is_none(),
            })
        });
        output::say_json(&keys.collect())?;
    } else {
        let rows: Vec<_> = keys
            .into_iter()
            .map(|(id, created_at, state, in_use)| {
                let created_at = created_at.map_or("-".to_owned(), |at| at.to_string());
                let in_use = if in_use { "yes" } else { "-" };
                [id.to_string(), created_at, state.to_owned(), in_use.to_owned()]
            })
            .collect();
        output::say_table(["ID", "CREATED", "STATE", "IN USE"], &rows)?;
    }
    Ok(if complete { Exit::Done } else { Exit::Refused })
}

async fn re_encrypt(config: &Config, json: Json) -> Result<Exit> {
    let installation = Installation::open(config, Absent::Refuse).await?;
    let actor = operator();
    let mut re_encryption = ReEncryption::new(&installation.mfa, &actor);
    let progress = output::Progress::new(re_encryption.count().await?);

    let (mut sealed, mut failed) = (0_u64, 0_u64);
    while let Some(done) = re_encryption.step().await? {
        for (account, resealed) in done {
            match resealed {
                Ok(changed) => sealed += u64::from(changed),
                Err(error) => {
                    failed += 1;
                    progress.note(&format!("{} ({account})", describe(&error)));
                }
            }
            progress.advance();
        }
    }
    progress.end();
    let newest = re_encryption.newest().clone();
    installation.close().await;

    if json.json {
        output::say_json(&json!({ "newest": newest.as_str(), "accounts": sealed, "failed": failed }))?;
    } else {
        output::say(format_args!(
            "Re-encrypted the secrets of {sealed} accounts with key {newest}; {failed} accounts failed."
        ))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// Refused while a secret needs the key. Checked again after the removal, since a server that does not know the
/// newest key yet may have encrypted with the old one in between.
async fn remove(config: &Config, id: &KeyId, json: Json) -> Result<()> {
    let path = ring_file(config)?;
    let installation = Installation::open(config, Absent::Refuse).await?;
    let accounts = Arc::clone(&installation.mfa.ports().accounts);
    let in_use = async || Ok::<_, Error>(accounts.keys_in_use().await?.contains(id));

    let _turn = data_dir::lock(&config.settings.data_dir)?;
    let mut ring = key_ring::read_file(&path)?.context("the key ring is missing")?;
    let mut replacement = Replacement::begin(&path)?;
    let before = ring.to_text();
    ring.remove(id).map_err(|error| Misuse(format!("key {id} cannot be removed: {error}")))?;
    if in_use().await? {
        return Err(still_in_use(id));
    }
    let kept = path.with_added_extension("before-removal");
    data_dir::replace(&kept, before.as_bytes())?;
    replacement.write_all(ring.to_text().as_bytes())?;
    replacement.commit()?;
    // Until every server has loaded the new ring and finished the requests that it had begun before.
    tokio::time::sleep(key_ring::FOLLOW_EVERY * 2 + config.settings.request_timeout).await;
    let unused = match in_use().await {
        Ok(false) => Ok(()),
        Ok(true) => Err(still_in_use(id)),
        Err(error) => {
            Err(error.context(format!("cannot find out whether key {id} is in use; nothing was removed")))
        }
    };
    if unused.is_err() {
        data_dir::replace(&path, before.as_bytes()).with_context(|| {
            format!("the old key ring is in {}; move it to {}", kept.display(), path.display())
        })?;
    }
    fs::remove_file(&kept).with_context(|| format!("delete {}, the old key ring", kept.display()))?;
    unused?;
    installation.close().await;
    if json.json {
        return output::say_json(&json!({ "id": id.as_str(), "removed": true }));
    }
    output::say(format_args!(
        "Removed key {id} from {}. Database backups from before the re-encryption still need the key:\n\
         keep the backup of the key ring that belongs to them.",
        path.display()
    ))
}

fn still_in_use(id: &KeyId) -> Error {
    let what = format!("key {id} is still in use; nothing was removed");
    let advice = "run `keys re-encrypt`, or wait until a running server has re-encrypted all secrets; if the key is \
                  used again after that, a server has a key ring in which this key is the newest";
    Refusal::new(what, advice).into()
}

fn ring_file(config: &Config) -> Result<PathBuf> {
    match RingSource::of(config)? {
        RingSource::File(path) => Ok(path),
        RingSource::Content(_) => {
            let text =
                "the key ring comes from MFA_KEY_RING, which this command cannot change; use a key ring file";
            Err(Misuse(text.to_owned()).into())
        }
    }
}
