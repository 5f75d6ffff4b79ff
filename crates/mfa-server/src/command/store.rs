//! `store`

use anyhow::{Context, Result};
use mfa_store_postgres::PostgresStore;

use crate::cli::StoreCommand;
use crate::config::{Config, StoreUrl};
use crate::{logging, output};

pub(super) async fn run(config: &Config, StoreCommand::Upgrade: &StoreCommand) -> Result<()> {
    let StoreUrl::Postgres(url) = &config.settings.store else {
        return output::say("nothing to do: only a PostgreSQL database waits to be upgraded");
    };
    // It says for what it waits, which may be minutes.
    logging::start(&config.settings)?;
    PostgresStore::upgrade(url.expose())
        .await
        .with_context(|| format!("the database {url} cannot be upgraded"))?;
    output::say(
        "the database is up to date; versions of this program that need what was taken away refuse it",
    )
}
