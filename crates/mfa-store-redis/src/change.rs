//! Commits: the arguments of the script.

use std::sync::LazyLock;

use mfa_domain::account::Attempts;
use mfa_domain::{AccountKey, BackupCodesChange, Delta, FactorId, HandleChange, Message, Timestamp, Version};

use crate::keys::Keys;
use crate::records::{codes_record, factors_fields, json, spent_entry};
use crate::script::{Call, Script};
use crate::{RedisError, messages};

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/commit.lua")));

/// The call that makes a change, unless the tenant's last event id is less than `lasting`.
pub(crate) fn commit<'a>(
    keys: &Keys,
    key: &AccountKey,
    expected: Version,
    delta: &Delta,
    lasting: u64,
) -> Result<Call<'a>, RedisError> {
    let tenant = &key.tenant;
    // In a cluster, a call that names a missing key must wait while its slot moves. So keys are named only if
    // used.
    let handles = (!delta.handles().is_empty()).then(|| keys.handles(tenant));
    let messages = (!delta.messages().is_empty()).then(|| [keys.messages(tenant), keys.due(tenant)]);
    let mut call = Call::new(
        &COMMIT,
        [
            keys.account(key),
            keys.users(tenant),
            keys.sealed(tenant),
            keys.events(tenant),
            keys.events_of(key),
            keys.last(tenant),
        ]
        .into_iter()
        .chain(handles)
        .chain(messages.into_iter().flatten()),
    );
    let next = expected.0.checked_add(1).ok_or(RedisError::TooLarge { field: "version" })?;
    call.push(key.user.as_str());
    call.push(expected.0.to_string());
    call.push(next.to_string());
    call.push(lasting.to_string());
    push_fields(&mut call, delta)?;
    push_codes(&mut call, delta.backup_codes())?;
    push_handles(&mut call, delta.handles());
    push_messages(&mut call, delta.messages());
    push_events(&mut call, delta)?;
    Ok(call)
}

fn push_fields(call: &mut Call<'_>, delta: &Delta) -> Result<(), RedisError> {
    let Attempts { failures, forgiven, recent, verified } = delta.attempts();
    let recent: Vec<_> = recent.iter().map(|at| at.unix_millis().to_string()).collect();
    let head = delta.audit_head();
    let mut fields: Vec<(&str, Vec<u8>)> = vec![
        ("failures", failures.to_string().into()),
        ("forgiven", forgiven.to_string().into()),
        ("recent", recent.join(" ").into()),
        ("verified_low", verified.low.map(millis).unwrap_or_default().into()),
        ("verified_medium", verified.medium.map(millis).unwrap_or_default().into()),
        ("verified_high", verified.high.map(millis).unwrap_or_default().into()),
        ("audit_sequence", head.sequence.to_string().into()),
        ("audit_hash", head.hash.0.into()),
    ];
    if let Some(factors) = delta.factors() {
        fields.extend(factors_fields(factors)?);
    }
    fields.extend(delta.answers().map(|answers| ("answers", answers.to_bytes())));
    fields.extend(delta.data().map(|data| ("data", data.as_str().into())));
    call.push(fields.len().to_string());
    for (name, value) in fields {
        call.push(name);
        call.push(value);
    }
    Ok(())
}

fn push_codes(call: &mut Call<'_>, change: Option<&BackupCodesChange>) -> Result<(), RedisError> {
    let (what, (first, second)) = match change {
        None => ("keep", Default::default()),
        Some(BackupCodesChange::Remove) => ("remove", Default::default()),
        Some(BackupCodesChange::Replace(set)) => ("replace", codes_record(set)?),
        Some(BackupCodesChange::Spend { place, at }) => ("spend", (spent_entry(*place, *at), String::new())),
    };
    call.push(what);
    call.push(first);
    call.push(second);
    Ok(())
}

fn push_handles(call: &mut Call<'_>, changes: &[HandleChange]) {
    call.push(changes.len().to_string());
    for change in changes {
        let (what, handle) = match change {
            HandleChange::Claim(handle) => ("claim", handle),
            HandleChange::Release(handle) => ("release", handle),
        };
        call.push(what);
        call.push(handle.as_bytes());
    }
}

fn push_messages(call: &mut Call<'_>, messages: &[Message]) {
    call.push(messages.len().to_string());
    for message in messages {
        let parts = messages::parts(message);
        call.push(message.id.to_string());
        call.push(messages::place(message).to_string());
        call.push(parts.len().to_string());
        for (part, value) in parts {
            call.push(part);
            call.push(value);
        }
    }
}

fn push_events(call: &mut Call<'_>, delta: &Delta) -> Result<(), RedisError> {
    call.push(delta.events().len().to_string());
    for event in delta.events() {
        call.push(event.sequence.to_string());
        call.push(millis(event.at));
        call.push(event.kind.as_str());
        call.push(event.factor.as_ref().map(FactorId::to_string).unwrap_or_default());
        call.push(event.actor.as_str());
        call.push(json(&event.detail)?);
        call.push(event.previous.0);
        call.push(event.hash.0);
    }
    Ok(())
}

fn millis(at: Timestamp) -> String {
    at.unix_millis().to_string()
}
