//! The clocks that this server's is compared with.

use std::sync::Arc;
use std::time::Duration;

use mfa_actix::Clocks;

use crate::config::Settings;
use crate::installation::Installation;
use crate::time_server::TimeServer;

/// How often the clock of the database is read.
const DATABASE: Duration = Duration::from_secs(5);

/// How often a time server is asked: seldom enough for a public one.
const TIME_SERVER: Duration = Duration::from_secs(64);

/// Compares the clock for the first time, and from then on again and again.
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
