//! `audit checkpoint`

use anyhow::Result;
use mfa_audit::checkpoint::Written;
use mfa_audit::walk::Found;
use mfa_domain::ports::UnreadableAccount;
use serde_json::json;

use crate::audit::{checkpoint, signing_key};
use crate::cli::CheckpointArgs;
use crate::config::Config;
use crate::data_dir::Replacement;
use crate::failure::Exit;
use crate::output::{self, Progress};
use crate::storage::{Absent, Storage};

pub(super) async fn run(config: &Config, arguments: CheckpointArgs) -> Result<Exit> {
    let CheckpointArgs { out, previous, json } = arguments;
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let to = Replacement::begin(&out)?;
    let key = signing_key::open(config)?;
    let signed_by = key.public_key().id();
    let installation = &config.settings.audit.installation;
    let progress = Progress::endless();
    let each = |found: &Found| match found {
        Ok(_) => progress.advance(),
        Err(UnreadableAccount { place, what }) => {
            progress.note(&format!("{place} cannot be read and is left out: {what}"));
        }
    };
    let written = checkpoint::write(storage.accounts.as_ref(), &key, installation, previous, to, each);
    let Written { accounts, unreadable } = written.await?;
    progress.end();
    storage.close().await;
    if json.json {
        let file = out.display().to_string();
        output::say_json(&json!({ "file": file, "accounts": accounts, "unreadable": unreadable,
            "signed_by": signed_by }))?;
    } else {
        output::say(format_args!(
            "Wrote {accounts} accounts to {}, signed with key {signed_by}. Store the file where nobody who can \
             write the database can change it.",
            out.display()
        ))?;
    }
    Ok(if unreadable == 0 { Exit::Done } else { Exit::Failed })
}
