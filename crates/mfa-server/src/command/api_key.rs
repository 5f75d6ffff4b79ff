//! `api-key create`, `list`, `revoke`

use anyhow::{Context, Result, bail, ensure};
use mfa_actix::api_key::PlainApiKey;
use mfa_domain::ports::{
    ApiKey, ApiKeyId, ApiKeyList, ApiKeyName, Clock, Scopes, SystemClock, SystemEntropy,
};
use mfa_domain::{TenantId, UserCase};
use serde_json::{Value, json};

use crate::cli::{ApiKeyCommand, Json};
use crate::config::{Config, Settings, StoreUrl};
use crate::failure::Misuse;
use crate::installation::Installation;
use crate::new_key::NewKey;
use crate::output;
use crate::storage::Absent;

pub(super) async fn run(config: &Config, command: ApiKeyCommand) -> Result<()> {
    if let ApiKeyCommand::Create { tenant, .. } = &command
        && *tenant == TenantId::installation()
    {
        return Err(Misuse(format!("tenant {tenant} is reserved")).into());
    }
    let absent = match command {
        // A key in memory would be lost at the end of this command.
        ApiKeyCommand::Create { init: true, .. } if config.settings.store != StoreUrl::Memory => {
            Absent::Create
        }
        _ => Absent::Refuse,
    };
    let installation = Installation::open(config, absent).await?;
    match command {
        ApiKeyCommand::Create { tenant, scopes, name, json, .. } => {
            let scopes: Scopes = scopes.into_iter().collect();
            let key = create(&installation, &config.settings, name, &tenant, scopes).await?;
            say_created(&key, json)?;
        }
        ApiKeyCommand::List { tenant, json } => list(&installation, tenant.as_ref(), json).await?,
        ApiKeyCommand::Revoke { id, json } => revoke(&installation, &id, json).await?,
    }
    installation.close().await;
    Ok(())
}

/// Creates and stores a key.
pub(super) async fn create(
    installation: &Installation,
    settings: &Settings,
    name: Option<ApiKeyName>,
    tenant: &TenantId,
    scopes: Scopes,
) -> Result<NewKey> {
    let plain = PlainApiKey::generate(&SystemEntropy)?;
    let user_case = UserCase::from(settings.users.case);
    let record = plain.record(tenant.clone(), scopes, SystemClock.now())?;
    let record = ApiKey { name, user_case, ..record };
    installation.api_keys.insert(&record).await.context("the API key cannot be stored")?;
    let kept = installation.api_keys.find(plain.id()).await.context("the API key cannot be read")?;
    if let Some(fixed) = kept.map(|key| key.user_case).filter(|kept| *kept != user_case) {
        output::complain(&format!(
            "users.case = \"{}\" does not apply to tenant {tenant}: its first API key fixed \"{}\"",
            user_case.as_str(),
            fixed.as_str(),
        ));
    }
    Ok(NewKey { plain, record })
}

fn say_created(key: &NewKey, json: Json) -> Result<()> {
    if json.json {
        return output::say_json(&json!({ "id": key.record.id.as_str(), "key": key.plain.expose() }));
    }
    output::say(key)
}

async fn list(installation: &Installation, tenant: Option<&TenantId>, json: Json) -> Result<()> {
    let ApiKeyList { keys, unreadable } = installation.api_keys.list(tenant).await?;
    for key in &unreadable {
        output::complain(&key.to_string());
    }
    if json.json {
        output::say_json(&keys.iter().map(as_json).collect())?;
    } else {
        let rows: Vec<_> = keys.iter().map(as_row).collect();
        let head = ["ID", "NAME", "TENANT", "USER IDS", "SCOPES", "CREATED", "LAST USED", "REVOKED"];
        output::say_table(head, &rows)?;
    }
    ensure!(unreadable.is_empty(), "{} API keys cannot be read", unreadable.len());
    Ok(())
}

async fn revoke(installation: &Installation, id: &ApiKeyId, json: Json) -> Result<()> {
    if !installation.api_keys.revoke(id, SystemClock.now()).await? {
        bail!("there is no API key {id}");
    }
    if json.json {
        return output::say_json(&json!({ "id": id.as_str(), "revoked": true }));
    }
    output::say(format_args!("API key {id} was revoked."))
}

fn as_json(key: &ApiKey) -> Value {
    json!({
        "id": key.id.as_str(),
        "name": key.name.as_ref().map(ApiKeyName::as_str),
        "tenant": key.tenant.as_str(),
        "user_case": key.user_case.as_str(),
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "created_at": key.created_at.to_string(),
        "last_used_at": key.last_used_at.map(|at| at.to_string()),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
    })
}

fn as_row(key: &ApiKey) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    [
        key.id.to_string(),
        or_dash(key.name.as_ref().map(ApiKeyName::to_string)),
        key.tenant.to_string(),
        key.user_case.as_str().to_owned(),
        scopes.join(","),
        key.created_at.to_string(),
        or_dash(key.last_used_at.map(|at| at.to_string())),
        or_dash(key.revoked_at.map(|at| at.to_string())),
    ]
}
