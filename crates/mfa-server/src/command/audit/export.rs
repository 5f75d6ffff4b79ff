//! `audit export`

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::audit::export::{Exported, Selection, export};
use crate::cli::ExportArgs;
use crate::config::Config;
use crate::data_dir::Replacement;
use crate::failure::Exit;
use crate::output;
use crate::storage::{Absent, Storage};

pub(super) async fn run(config: &Config, arguments: ExportArgs) -> Result<Exit> {
    let ExportArgs { tenant, user, after, since, until, out, json } = arguments;
    let storage = Storage::open(&config.settings, Absent::Refuse).await?;
    let user = match (&tenant, user) {
        (Some(tenant), Some(user)) => Some(storage.account(tenant.clone(), user).await?.user),
        (_, user) => user,
    };
    let selection = Selection { tenant, user, after, since, until };
    let accounts = storage.accounts.as_ref();
    let mut name: fn(&str) = output::complain;
    let exported = if let Some(path) = out {
        let mut file = Replacement::begin(&path)?;
        let exported = export(accounts, &selection, &mut file, &mut name).await?;
        file.commit()?;
        say(&path, &exported, json)?;
        exported
    } else {
        export(accounts, &selection, &mut output::stream(), &mut name).await?
    };
    storage.close().await;
    Ok(if exported.unreadable == 0 { Exit::Done } else { Exit::Failed })
}

fn say(path: &Path, Exported { events, unreadable, last }: &Exported, json: bool) -> Result<()> {
    let (file, last) = (path.display(), last.map(|id| id.to_string()));
    if json {
        let file = file.to_string();
        return output::say_json(
            &json!({ "file": file, "events": events, "unreadable": unreadable, "last": last }),
        );
    }
    let next = last.map_or(String::new(), |id| format!(" Those to come: --after {id}"));
    output::say(format_args!("{file} has {events} events.{next}"))
}
