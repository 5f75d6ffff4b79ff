//! `audit verify`, `checkpoint`, `public-key`, `export`, `prune`

use anyhow::Result;

use crate::audit::signing_key;
use crate::cli::AuditCommand;
use crate::config::Config;
use crate::failure::Exit;
use crate::output;

mod checkpoint;
mod export;
mod prune;
mod verify;

/// The trail contains no secrets. Only an export needs the key ring, from which event ids are computed.
pub(super) async fn run(config: &Config, command: AuditCommand) -> Result<Exit> {
    match command {
        AuditCommand::Verify(arguments) => return verify::run(config, &arguments).await,
        AuditCommand::Prune(arguments) => return prune::run(config, &arguments).await,
        AuditCommand::Export(arguments) => return export::run(config, arguments).await,
        AuditCommand::Checkpoint(arguments) => return checkpoint::run(config, arguments).await,
        AuditCommand::PublicKey => output::say(signing_key::open(config)?.public_key().to_pem().trim_end())?,
    }
    Ok(Exit::Done)
}
