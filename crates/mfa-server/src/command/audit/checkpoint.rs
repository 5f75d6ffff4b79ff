//! `audit checkpoint`

use anyhow::Result;
use serde_json::json;

use crate::audit::checkpoint::{Plan, write};
use crate::audit::signing_key;
use crate::cli::CheckpointArgs;
use crate::config::Config;
use crate::data_dir::Replacement;
use crate::output::{self, Progress};
use crate::storage::{Absent, Storage};

pub(super) async fn run(config: &Config, arguments: CheckpointArgs) -> Result<()> {
    let CheckpointArgs { out, previous, json } = arguments;
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let to = Replacement::begin(&out)?;
    let key = signing_key::open(config)?;
    let signed_by = key.public_key().id();
    let installation = config.settings.audit.installation.clone();
    let progress = Progress::endless();
    let plan = Plan { installation, previous, to };
    let accounts = write(storage.accounts.as_ref(), &key, plan, || progress.advance()).await?;
    progress.end();
    storage.close().await;
    if json.json {
        let file = out.display().to_string();
        return output::say_json(&json!({ "file": file, "accounts": accounts, "signed_by": signed_by }));
    }
    output::say(format_args!(
        "{} has {accounts} accounts, signed with key {signed_by}. Keep it where whoever can write the database \
         cannot.",
        out.display()
    ))
}
