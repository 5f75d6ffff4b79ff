//! `audit verify`

use anyhow::Result;
use mfa_domain::ports::{AccountEntry, AccountQuery, AccountStore, EventQuery};
use mfa_domain::{AccountKey, AuditHead};
use serde_json::json;

use crate::cli::{AuditCommand, Json};
use crate::config::Config;
use crate::failure::Exit;
use crate::output::{self, Progress};
use crate::storage::{Absent, Storage};

/// Accounts or events that are read at a time.
const PAGE: u32 = 500;

/// Broken chains that are named; beyond that they are counted.
const MOST_NAMED: usize = 20;

/// What was found.
#[derive(Default)]
struct Findings {
    accounts: u64,
    events: u64,
    broken: Vec<Broken>,
}

/// A chain, and the first event of it that is missing or altered.
struct Broken {
    key: AccountKey,
    sequence: u64,
}

/// Needs no key ring: the trail holds no secret.
pub(super) async fn run(config: &Config, command: AuditCommand) -> Result<Exit> {
    let AuditCommand::Verify { json } = command;
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let findings = verify(storage.accounts.as_ref()).await?;
    storage.close().await;
    say(&findings, json)?;
    Ok(if findings.broken.is_empty() { Exit::Done } else { Exit::Failed })
}

async fn verify(accounts: &dyn AccountStore) -> Result<Findings> {
    let mut findings = Findings::default();
    let progress = Progress::endless();
    let mut query = AccountQuery { after: None, not_sealed_with: None, limit: PAGE };
    loop {
        let page = accounts.page(&query).await?;
        query.after = page.accounts.last().map(|account| account.key.clone());
        for AccountEntry { key, .. } in page.accounts {
            findings.accounts += 1;
            match chain(accounts, &key).await? {
                (events, None) => findings.events += events,
                (events, Some(sequence)) => {
                    findings.events += events;
                    findings.broken.push(Broken { key, sequence });
                }
            }
            progress.advance();
        }
        if !page.more || query.after.is_none() {
            progress.end();
            return Ok(findings);
        }
    }
}

/// Follows one chain to its end: how many events are right, and the first that is not.
///
/// The account is read after the events: whatever was appended meanwhile it knows too, so an event
/// that it does not know was put there by somebody else.
async fn chain(accounts: &dyn AccountStore, key: &AccountKey) -> Result<(u64, Option<u64>)> {
    let mut head = AuditHead::default();
    let mut query =
        EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: PAGE };
    loop {
        let page = accounts.events(&query).await?;
        query.after = page.events.last().map(|event| event.id).or(query.after);
        for recorded in &page.events {
            match head.extend(key, &recorded.event) {
                Ok(next) => head = next,
                Err(broken) => return Ok((head.sequence, Some(broken.sequence))),
            }
        }
        if page.more {
            continue;
        }
        let known = accounts.load(key).await?.value.audit_head;
        if known == head {
            return Ok((head.sequence, None));
        }
        // Fewer events than the account knows: some were appended just now, or the end is gone.
        let appended = known.sequence > head.sequence && !accounts.events(&query).await?.events.is_empty();
        if !appended {
            return Ok((head.sequence, Some(known.sequence.min(head.sequence) + 1)));
        }
    }
}

fn say(findings: &Findings, json: Json) -> Result<()> {
    let Findings { accounts, events, broken } = findings;
    if json.json {
        let named: Vec<_> = broken
            .iter()
            .map(|Broken { key, sequence }| {
                json!({ "tenant": key.tenant.as_str(), "user": key.user.as_str(), "sequence": sequence })
            })
            .collect();
        return output::say_json(&json!({ "accounts": accounts, "events": events, "broken": named }));
    }
    for Broken { key, sequence } in broken.iter().take(MOST_NAMED) {
        let AccountKey { tenant, user } = key;
        output::say(format_args!("BROKEN  user {user} of tenant {tenant}, at event {sequence}"))?;
    }
    let verdict = match broken.len() {
        0 => "every chain holds".to_owned(),
        1 => "1 chain is broken".to_owned(),
        n => format!("{n} chains are broken"),
    };
    output::say(format_args!("{accounts} accounts and {events} events: {verdict}"))
}
