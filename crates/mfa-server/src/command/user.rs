//! `user list`, `show`, `unlock`, `reset`, `set-back`, `events`

use anyhow::{Result, ensure};
use mfa_domain::mfa::Status;
use mfa_domain::ports::{EventQuery, RecordedEvent, UnreadableEvent};
use mfa_domain::{AccountKey, AuditHead, EventId, Factor, FactorId, Mfa, Reason, TenantId, Timestamp};
use serde_json::{Value, json};

mod list;

use super::operator;
use crate::cli::{Json, ReasonedArgs, SetBackArgs, UserArgs, UserCommand};
use crate::config::Config;
use crate::failure::Misuse;
use crate::installation::Installation;
use crate::output;
use crate::storage::Absent;

/// Events per page.
const PAGE: u32 = 500;

pub(super) async fn run(config: &Config, command: UserCommand) -> Result<()> {
    let installation = Installation::open(config, Absent::Refuse).await?;
    let mfa = installation.mfa.as_ref();
    match command {
        UserCommand::List(arguments) => list::run(&installation, arguments).await?,
        UserCommand::Show { user, json } => show(mfa, &known(&installation, user).await?, json).await?,
        UserCommand::Unlock(ReasonedArgs { user, reason, json }) => {
            let key = changeable(&installation, user).await?;
            mfa.unlock(&key, &operator(), &reason).await?;
            say_done(&key, "unlocked", json)?;
        }
        UserCommand::Reset(ReasonedArgs { user, reason, json }) => {
            let key = changeable(&installation, user).await?;
            mfa.reset(&key, &operator(), &reason).await?;
            say_done(&key, "reset", json)?;
        }
        UserCommand::SetBack(SetBackArgs { user, factor, reason, json }) => {
            let key = changeable(&installation, user).await?;
            set_back(mfa, &key, factor, &reason, json).await?;
        }
        UserCommand::Events { user, json } => events(mfa, &key(&installation, user).await?, json).await?,
    }
    installation.close().await;
    Ok(())
}

async fn key(installation: &Installation, UserArgs { user, tenant }: UserArgs) -> Result<AccountKey> {
    installation.account(tenant, user).await
}

/// The account key of a known user. A mistyped id must not look like a success.
async fn known(installation: &Installation, arguments: UserArgs) -> Result<AccountKey> {
    let key = key(installation, arguments).await?;
    ensure_seen(&installation.mfa, &key).await?;
    Ok(key)
}

/// The account key of a known user who may be changed. The accounts of the installation can only be read: without
/// its signing keys, for example, no assertion could be signed.
async fn changeable(installation: &Installation, arguments: UserArgs) -> Result<AccountKey> {
    if arguments.tenant == TenantId::installation() {
        return Err(Misuse(format!("tenant {} is reserved", arguments.tenant)).into());
    }
    known(installation, arguments).await
}

async fn ensure_seen(mfa: &Mfa, key: &AccountKey) -> Result<()> {
    let seen = mfa.ports().accounts.load(key).await?.value.audit_head != AuditHead::default();
    ensure!(seen, "there is no user {} in tenant {}", key.user.escaped(), key.tenant);
    Ok(())
}

fn say_done(key: &AccountKey, done: &str, json: Json) -> Result<()> {
    let AccountKey { user, tenant } = key;
    if json.json {
        return output::say_json(&json!({ "user": user.as_str(), "tenant": tenant.as_str(), done: true }));
    }
    let user = user.escaped();
    output::say(format_args!("User {user} of tenant {tenant} was {done}."))
}

async fn set_back(mfa: &Mfa, key: &AccountKey, id: FactorId, reason: &Reason, json: Json) -> Result<()> {
    let ahead = mfa.status(key).await?.ahead.contains_key(&id);
    mfa.set_back(key, &operator(), id, reason).await?;
    if json.json {
        let (user, tenant, factor) = (key.user.as_str(), key.tenant.as_str(), id.to_string());
        let answer = json!({ "user": user, "tenant": tenant, "factor": factor, "set_back": ahead });
        return output::say_json(&answer);
    }
    let done = if ahead {
        "accepts codes again, but not those shown now"
    } else {
        "is not ahead of the clock; nothing was changed"
    };
    output::say(format_args!("Factor {id} {done}."))
}

async fn show(mfa: &Mfa, key: &AccountKey, json: Json) -> Result<()> {
    let status = mfa.status(key).await?;
    let standing = standing(&status);
    let Status {
        enrolled,
        factors,
        ahead,
        backup_codes_remaining,
        backup_codes_total,
        locked_until,
        disabled,
        attempts_left,
        ..
    } = status;
    let locked_until = locked_until.map(|until| until.to_string());
    if json.json {
        return output::say_json(&json!({
            "user": key.user.as_str(),
            "tenant": key.tenant.as_str(),
            "enrolled": enrolled,
            "factors": factors.iter().map(|factor| factor_as_json(factor, ahead.get(&factor.id))).collect::<Vec<_>>(),
            "backup_codes": { "remaining": backup_codes_remaining, "total": backup_codes_total },
            "locked_until": locked_until,
            "disabled": disabled,
            "attempts_left": attempts_left,
        }));
    }
    output::say(format_args!(
        "user          {}\ntenant        {}\nenrolled      {}\nstatus        {standing}\n\
         backup codes  {backup_codes_remaining} of {backup_codes_total} left\n",
        key.user.escaped(),
        key.tenant,
        if enrolled { "yes" } else { "no" },
    ))?;
    let rows: Vec<_> = factors.iter().map(|factor| factor_as_row(factor, ahead.get(&factor.id))).collect();
    output::say_table(["FACTOR", "KIND", "LABEL", "STATE", "CREATED", "LAST USED"], &rows)
}

/// Whether the account is open, locked or disabled.
fn standing(status: &Status) -> String {
    match (status.disabled, status.locked_until) {
        (true, _) => "disabled until the user is reset".to_owned(),
        (false, Some(until)) => format!("locked until {until}"),
        (false, None) => format!("open, {} attempts left", status.attempts_left),
    }
}

fn factor_as_json(factor: &Factor, ahead: Option<&Timestamp>) -> Value {
    json!({
        "id": factor.id.to_string(),
        "kind": factor.kind().as_str(),
        "label": factor.label.as_str(),
        "state": state(factor),
        "created_at": factor.created_at.to_string(),
        "last_used_at": factor.last_used_at.map(|at| at.to_string()),
        "ahead_until": ahead.map(Timestamp::to_string),
    })
}

fn factor_as_row(factor: &Factor, ahead: Option<&Timestamp>) -> [String; 6] {
    [
        factor.id.to_string(),
        factor.kind().as_str().to_owned(),
        factor.label.to_string(),
        ahead.map_or(state(factor).to_owned(), |until| {
            format!("{}, accepts no code before {until}", state(factor))
        }),
        factor.created_at.to_string(),
        factor.last_used_at.map_or("-".to_owned(), |at| at.to_string()),
    ]
}

fn state(factor: &Factor) -> &'static str {
    if factor.is_active() { "active" } else { "pending" }
}

async fn events(mfa: &Mfa, key: &AccountKey, json: Json) -> Result<()> {
    let mut query =
        EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: PAGE };
    let mut events = Vec::new();
    loop {
        let page = mfa.events(&query).await?;
        query.after = page.last();
        for UnreadableEvent { position, what, .. } in &page.unreadable {
            output::complain(&format!("the event at position {position} cannot be read: {what}"));
        }
        events.extend(page.events);
        if !page.more || query.after.is_none() {
            break;
        }
    }
    // The trail may be readable even if the account is not.
    if events.is_empty() {
        ensure_seen(mfa, key).await?;
    }
    if json.json {
        let id = |position| mfa.ports().vault.event_id(&key.tenant, position);
        let events = events.iter().map(|recorded| event_as_json(id(recorded.position), recorded));
        return output::say_json(&events.collect());
    }
    let rows: Vec<_> = events.iter().map(event_as_row).collect();
    output::say_table(["AT", "EVENT", "FACTOR", "BY", "DETAIL"], &rows)
}

fn event_as_json(id: EventId, recorded: &RecordedEvent) -> Value {
    let event = &recorded.event;
    json!({
        "id": id.to_string(),
        "position": recorded.position.to_string(),
        "at": event.at.to_string(),
        "kind": event.kind.as_str(),
        "user": recorded.user.as_str(),
        "factor": event.factor.map(|id| id.to_string()),
        "actor": event.actor,
        "detail": event.detail,
        "sequence": event.sequence,
        "hash": event.hash.to_string(),
    })
}

fn event_as_row(recorded: &RecordedEvent) -> [String; 5] {
    let event = &recorded.event;
    let detail: Vec<_> = event.detail.iter().map(|(name, value)| format!("{name}={value}")).collect();
    [
        event.at.to_string(),
        event.kind.to_string(),
        event.factor.map_or("-".to_owned(), |id| id.to_string()),
        event.actor.clone(),
        detail.join(" "),
    ]
}
