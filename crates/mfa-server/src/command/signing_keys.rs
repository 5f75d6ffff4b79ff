//! `signing-keys list`, `rotate`, `revoke`

use anyhow::{Context, Result, bail};
use mfa_domain::account::{SigningKeyInfo, SigningKeyState};
use mfa_domain::signing::SigningAlgorithm;
use mfa_domain::{Mfa, Reason};
use serde_json::{Value, json};

use super::operator;
use crate::cli::{Json, SigningKeysCommand};
use crate::config::Config;
use crate::failure::Misuse;
use crate::installation::Installation;
use crate::output;
use crate::storage::Absent;

pub(super) async fn run(config: &Config, command: SigningKeysCommand) -> Result<()> {
    let assertions = &config.settings.assertions;
    if !assertions.enabled && !matches!(command, SigningKeysCommand::List { .. }) {
        let option = config.name("assertions.enabled");
        return Err(Misuse(format!("{option}: nothing is signed while it is false")).into());
    }
    let installation = Installation::open(config, Absent::Refuse).await?;
    let (mfa, algorithm) = (installation.mfa.as_ref(), assertions.algorithm.into());
    match command {
        SigningKeysCommand::List { json } => list(&mfa.signing_keys().await?, json)?,
        SigningKeysCommand::Rotate { json } => rotate(mfa, algorithm, json).await?,
        SigningKeysCommand::Revoke { key, reason, json } => {
            revoke(mfa, algorithm, &key, &reason, json).await?;
        }
    }
    installation.close().await;
    Ok(())
}

fn list(keys: &[SigningKeyInfo], json: Json) -> Result<()> {
    if json.json {
        return output::say_json(&keys.iter().map(as_json).collect());
    }
    let rows: Vec<_> = keys.iter().map(as_row).collect();
    output::say_table(["ID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM"], &rows)
}

async fn rotate(mfa: &Mfa, algorithm: SigningAlgorithm, json: Json) -> Result<()> {
    let keys = mfa.rotate_signing_key(&operator(), algorithm).await?;
    let new = keys.last().context("the new key is missing")?;
    if json.json {
        return output::say_json(&as_json(new));
    }
    let SigningKeyInfo { id, algorithm, signs_from, state, .. } = new;
    if *state == SigningKeyState::Signing {
        return output::say(format_args!(
            "Created key {id} ({algorithm}). It signs now, as there was no other. Running servers follow within a\n\
             minute."
        ));
    }
    output::say(format_args!(
        "Created key {id} ({algorithm}). It signs from {signs_from} on; before that, the present key signs.\n\
         Running servers publish the new key within a minute, so that hosts have it before it signs."
    ))
}

async fn revoke(
    mfa: &Mfa,
    algorithm: SigningAlgorithm,
    key: &str,
    reason: &Reason,
    json: Json,
) -> Result<()> {
    let known = mfa.signing_keys().await?;
    if !mfa.revoke_signing_key(&operator(), key, algorithm, reason).await? {
        bail!("there is no signing key {}", key.escape_debug());
    }
    let keys = mfa.signing_keys().await?;
    let signing = keys.iter().find(|key| key.state == SigningKeyState::Signing);
    let signing = &signing.context("the key was revoked, but no other signs")?.id;
    if json.json {
        return output::say_json(&json!({ "id": key, "revoked": true, "signing": signing }));
    }
    output::say(format_args!(
        "Revoked key {key}. Running servers follow within a minute. Hosts accept what it signed until they fetch the\n\
         key set again."
    ))?;
    if known.iter().any(|known| known.id == *signing) {
        return output::say(format_args!("Key {signing} signs."));
    }
    output::say(format_args!(
        "The new key {signing} signs at once; hosts refuse its assertions until they fetch the key set again."
    ))
}

fn as_json(key: &SigningKeyInfo) -> Value {
    json!({
        "id": key.id,
        "algorithm": key.algorithm.as_str(),
        "state": key.state.as_str(),
        "created_at": key.created_at.to_string(),
        "signs_from": key.signs_from.to_string(),
    })
}

fn as_row(key: &SigningKeyInfo) -> [String; 5] {
    [
        key.id.clone(),
        key.algorithm.to_string(),
        key.state.as_str().to_owned(),
        key.created_at.to_string(),
        key.signs_from.to_string(),
    ]
}
