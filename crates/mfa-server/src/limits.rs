//! Limits of the operating system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Open files that are reserved for other purposes than connections: database, terminal, workers, and a margin.
const OTHER_FILES: u64 = 128;

/// The number of connections to allow: `wanted`, or fewer if the limit of open files requires it.
///
/// Raises the soft limit, often 1,024, as far as allowed. Without files reserved for the database, many idle
/// connections would make every request fail, not only those on new connections.
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
            "the limit of open files is too low for max_connections; fewer connections are accepted"
        );
    }
    wanted.min(room)
}
