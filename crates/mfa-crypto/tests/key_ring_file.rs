//! A key ring in a file.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use mfa_crypto::{KeyRing, KeyRingFileError};
use mfa_domain::Timestamp;
use mfa_domain::ports::SystemEntropy;

fn open(path: &Path) -> Result<KeyRing, KeyRingFileError> {
    KeyRing::open_or_create(path, &SystemEntropy, Timestamp::from_unix_seconds(1_700_000_000))
}

#[test]
fn the_first_call_creates_it_for_its_owner_and_later_ones_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.toml");
    let first = open(&path).unwrap();
    let again = open(&path).unwrap();
    assert_eq!(again.newest(), first.newest());
    assert!(again.has_event_ids_of(&first));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn of_many_that_create_it_at_once_all_get_the_same() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.toml");
        let start = Barrier::new(8);
        let newest: Vec<_> = thread::scope(|scope| {
            let open = || {
                start.wait();
                open(&path).unwrap().newest().clone()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(newest.iter().all(|id| *id == newest[0]));
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.toml");
    for text in ["", "event_ids = 1", "not TOML"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(open(&path), Err(KeyRingFileError::Ring(_))), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert!(matches!(open(folder.path()), Err(KeyRingFileError::File(_))), "a folder");
    assert!(matches!(open(&folder.path().join("gone/keyring.toml")), Err(KeyRingFileError::File(_))));
}
