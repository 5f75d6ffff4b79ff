//! What the operating system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are not connections: the database, its log, the terminal, workers, room to breathe.
const OTHER_FILES: u64 = 128;

/// As many connections as wanted, or as many as the limit of open files leaves room for.
///
/// The soft limit is often 1,024, and raised as far as it may be. Without room for the database a
/// crowd of idle connections would stop every request, not only new ones.
pub(crate) fn connections(wanted: usize) -> usize {
    let needed = (wanted as u64).saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let reachable = needed.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < reachable) {
        let raised = Rlimit { current: Some(reachable), maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            warn!(%error, "the limit of open files could not be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        warn!(
            max_connections = wanted,
            open_files = files,
            "the limit of open files leaves room for fewer connections"
        );
    }
    wanted.min(room)
}
