//! `audit verify`

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mfa_audit::checkpoint::Checkpoint;
use mfa_audit::export::Chains;
use mfa_audit::retention::Horizon;
use mfa_audit::trail::{Against, Checked, Finding, VerifyError, Watch, Wrong, verify};
use mfa_domain::ports::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::audit::{checkpoint, signing_key};
use crate::cli::{Json, VerifyArgs};
use crate::config::Config;
use crate::failure::Exit;
use crate::output::{self, Progress};
use crate::storage::{Absent, Storage};

/// The most broken chains that text output names; the rest are only counted.
const MAX_SAID: usize = 20;

/// The most broken chains that JSON output names, so that verification of the wrong database does not fill the
/// memory.
const MAX_LISTED: usize = 10_000;

pub(super) async fn run(config: &Config, arguments: &VerifyArgs) -> Result<Exit> {
    if !arguments.export.is_empty() {
        return exported(&arguments.export, horizon(config, arguments), arguments.json);
    }
    let audit = &config.settings.audit;
    let mut checkpoint = match &arguments.checkpoint {
        Some(path) => {
            let key = signing_key::public(config, arguments.public_key.as_deref())?;
            Some((path, checkpoint::open(path, &key, &audit.installation)?))
        }
        None => None,
    };
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let mut findings = Findings::new();
    let checked = check(&storage, checkpoint.as_mut(), horizon(config, arguments), &mut findings).await?;
    storage.close().await;
    findings.progress.end();
    let Findings { listed, count, .. } = findings;
    if arguments.json.json {
        let checkpoint = checkpoint.map_or(Value::Null, |(_, checkpoint)| {
            json!({ "begun_at": checkpoint.begun_at().to_string(), "accounts": checkpoint.accounts(),
                "unreadable": checkpoint.unreadable() })
        });
        output::say_json(&json!({
            "accounts": checked.accounts,
            "events": checked.events,
            "checkpoint": checkpoint,
            "broken": listed.iter().map(as_json).collect::<Vec<_>>(),
            "found": count,
        }))?;
    } else {
        let against = checkpoint.map_or(String::new(), |(_, checkpoint)| {
            let left_out = match checkpoint.unreadable() {
                0 => String::new(),
                n => format!(" ({n} more could not be read)"),
            };
            format!(
                ", compared with the checkpoint of {} with {} accounts{left_out}",
                checkpoint.begun_at(),
                checkpoint.accounts()
            )
        });
        say(checked, &against, &listed, count)?;
    }
    Ok(exit(count))
}

/// Verifies the chains in the database.
async fn check(
    storage: &Storage,
    checkpoint: Option<&mut (&PathBuf, Checkpoint)>,
    pruned: Option<Horizon>,
    findings: &mut Findings,
) -> Result<Checked> {
    let accounts = storage.accounts.as_ref();
    let Some((path, checkpoint)) = checkpoint else { return Ok(verify(accounts, None, findings).await?) };
    let against = Against { checkpoint, pruned, clock: &SystemClock };
    match verify(accounts, Some(against), findings).await {
        Err(VerifyError::Checkpoint(error)) => Err(error).with_context(|| checkpoint::named(path)),
        checked => Ok(checked?),
    }
}

/// The time before which events may be missing.
fn horizon(config: &Config, arguments: &VerifyArgs) -> Option<Horizon> {
    let told = arguments.pruned_before.map(Horizon::At);
    told.or_else(|| config.settings.audit.retention.map(Horizon::Behind))
}

/// Verifies the chains in files, without a database.
fn exported(files: &[PathBuf], pruned: Option<Horizon>, json: Json) -> Result<Exit> {
    let mut findings = Findings::new();
    let mut chains = Chains::new(pruned.map(|pruned| pruned.gone_before(SystemClock.now())));
    for path in files {
        follow(&mut chains, path, &mut findings).with_context(|| format!("the export {}", path.display()))?;
    }
    let (checked, late) = (chains.checked(), chains.late());
    findings.progress.end();
    let Findings { listed, count, .. } = findings;
    if json.json {
        output::say_json(&json!({
            "accounts": checked.accounts,
            "events": checked.events,
            "begin_later": late,
            "broken": listed.iter().map(as_json).collect::<Vec<_>>(),
            "found": count,
        }))?;
    } else {
        let exported =
            format!(" in {} files, with {late} gaps where earlier events are not in the files", files.len());
        say(checked, &exported, &listed, count)?;
    }
    Ok(exit(count))
}

fn follow(chains: &mut Chains, path: &Path, findings: &mut Findings) -> Result<()> {
    Ok(chains.follow(BufReader::new(File::open(path)?), findings)?)
}

const fn exit(found: u64) -> Exit {
    if found == 0 { Exit::Done } else { Exit::Failed }
}

/// Findings and progress.
struct Findings {
    progress: Progress,
    listed: Vec<Finding>,
    count: u64,
}

impl Findings {
    fn new() -> Self {
        Self { progress: Progress::endless(), listed: Vec::new(), count: 0 }
    }
}

impl Watch for Findings {
    fn checked(&mut self) {
        self.progress.advance();
    }

    fn found(&mut self, finding: Finding) {
        self.count += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(finding);
        }
    }
}

fn as_json(Finding { place, sequence, what }: &Finding) -> Value {
    let mut finding = json!({
        "tenant": String::from_utf8_lossy(&place.tenant),
        "user": String::from_utf8_lossy(&place.user),
        "sequence": sequence,
        "what": what.as_str(),
    });
    if let Wrong::Unreadable(Some(position)) = what {
        finding["position"] = position.to_string().into();
    }
    finding
}

fn say(checked: Checked, how: &str, listed: &[Finding], count: u64) -> Result<()> {
    for Finding { place, sequence, what } in listed.iter().take(MAX_SAID) {
        let at = if *sequence == 0 { String::new() } else { format!(", at event {sequence}") };
        output::say(format_args!("BROKEN  {place}{at}: {what}"))?;
    }
    let Checked { accounts, events } = checked;
    let verdict = match count {
        0 => "every chain is intact".to_owned(),
        1 => "1 chain is broken".to_owned(),
        n => format!("{n} chains are broken"),
    };
    output::say(format_args!("{accounts} accounts and {events} events{how}: {verdict}"))
}
