//! The reference clocks that this server's clock is compared with.

use std::sync::Arc;
use std::time::Duration;

use mfa_actix::Clocks;

use crate::config::Settings;
use crate::installation::Installation;
use crate::time_server::TimeServer;

/// How often the clock of the database is read.
const DATABASE: Duration = Duration::from_secs(5);

/// How often a time server is asked. Public servers accept this rate.
const TIME_SERVER: Duration = Duration::from_secs(64);

/// Compares the clock once, then periodically in the background.
pub(crate) async fn watch(settings: &Settings, installation: &Installation) -> Clocks {
    let mut clocks = Clocks::new(Arc::clone(&installation.mfa.ports().clock));
    if let Some(database) = installation.reference_clock() {
        clocks = clocks.with("database", database, DATABASE);
    }
    if let Some(server) = TimeServer::at(&settings.time_server) {
        clocks = clocks.with("time_server", Arc::new(server), TIME_SERVER);
    }
    clocks.compare().await;
    tokio::spawn(clocks.clone().watch());
    clocks
}
