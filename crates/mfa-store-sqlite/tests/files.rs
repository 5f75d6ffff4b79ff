//! Files that are there, not there, damaged, or somebody else's.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mfa_domain::AuditHead;
use mfa_domain::ports::{AccountStore, Commit, EventQuery};
use mfa_store_sqlite::{SqliteError, SqliteStore};
use sqlx::Executor;
use tempfile::TempDir;

use crate::support::{change, factor, inner, key, make, raw};

const USERS: usize = 40;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    (folder, path)
}

/// A database with some accounts, closed.
async fn filled(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    for n in 0..USERS {
        make(&store, &key(&format!("user-{n}")), |draft| draft.put(factor(n as u64, 500))).await;
    }
    store.close().await;
}

/// Every account must be there, with its events.
async fn check_filled(store: &SqliteStore) {
    for n in 0..USERS {
        let key = key(&format!("user-{n}"));
        let account = store.load(&key).await.unwrap().value;
        assert_eq!(account.factors, [factor(n as u64, 500)]);
        let query =
            EventQuery { tenant: key.tenant.clone(), user: Some(key.user.clone()), after: None, limit: 9 };
        let events = store.events(&query).await.unwrap().events;
        let head =
            events.iter().try_fold(AuditHead::default(), |head, event| head.extend(&key, &event.event));
        assert_eq!(head.unwrap(), account.audit_head);
    }
}

async fn refusal(path: &Path) -> SqliteError {
    SqliteStore::open(path).await.expect_err("it was opened")
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let (_folder, path) = folder();
    filled(&path).await;
    check_filled(&SqliteStore::open(&path).await.unwrap()).await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    for n in 0..USERS {
        make(&store, &key(&format!("user-{n}")), |draft| draft.put(factor(n as u64, 500))).await;
    }
    // What is on the disk while the store is still open is what a crash leaves behind.
    let crashed = folder.path().join("crashed.db");
    fs::copy(&path, &crashed).unwrap();
    fs::copy(path.with_extension("db-wal"), crashed.with_extension("db-wal")).unwrap();
    check_filled(&SqliteStore::open(&crashed).await.unwrap()).await;
}

#[tokio::test]
async fn a_log_that_was_cut_off_leaves_whole_commits_only() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    let alice = key("alice");
    for n in 0..20 {
        make(&store, &alice, |draft| {
            draft.put(factor(n, 500));
            draft.attempts().failures = u32::try_from(n).unwrap();
        })
        .await;
    }
    let log = fs::read(path.with_extension("db-wal")).unwrap();
    let mut versions = Vec::new();
    for cut in (0..log.len()).step_by(log.len() / 40).chain([log.len()]) {
        let torn = folder.path().join(format!("torn-{cut}.db"));
        fs::copy(&path, &torn).unwrap();
        fs::write(torn.with_extension("db-wal"), &log[..cut]).unwrap();
        let store = SqliteStore::open(&torn).await.unwrap();
        let read = store.load(&alice).await.unwrap();
        versions.push(read.version.0);
        assert_eq!(read.value.audit_head.sequence, read.version.0);
        assert_eq!(u64::from(read.value.attempts.failures), read.version.0.saturating_sub(1));
    }
    assert!(versions.is_sorted(), "{versions:?}");
    assert_eq!(versions.last(), Some(&20));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_but_the_owner_may_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    make(&store, &key("alice"), |_| ()).await;
    let modes: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 3], "the database, its log, the log's index");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let (folder, _) = folder();
    let missing = folder.path().join("data");
    let error = refusal(&missing.join("mfa.db")).await;
    assert!(matches!(&error, SqliteError::FolderMissing(folder) if *folder == missing), "{error:?}");
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    assert!(!missing.exists());
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let (folder, _) = folder();
    let error = refusal(folder.path()).await;
    assert!(matches!(error, SqliteError::Unopened(_)), "{error:?}");
}

/// Whoever is root may write to anything, so this is tried as somebody else: by this very test, run
/// once more.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    const READ_ONLY: &str = "MFA_TEST_READ_ONLY_FILE";
    if let Some(path) = std::env::var_os(READ_ONLY) {
        let error = refusal(path.as_ref()).await;
        assert!(matches!(error, SqliteError::ReadOnly), "{error:?}");
        return;
    }
    let (folder, path) = folder();
    filled(&path).await;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let mut again = if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        let copy = folder.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut again = Command::new("setpriv");
        again.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        again
    } else {
        Command::new(std::env::current_exe().unwrap())
    };
    again.args(["--exact", "files::a_file_that_may_not_be_written_is_refused"]).env(READ_ONLY, &path);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    let text = "Dear diary, this is not a database.\n".repeat(200);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, SqliteError::NotADatabase), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    let mut theirs = raw(&path).await;
    theirs.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance REAL)").await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, SqliteError::Foreign), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_versions_database_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    filled(&path).await;
    let mut newer = raw(&path).await;
    let migration = "INSERT INTO _sqlx_migrations VALUES (9999, 'of the future', 0, TRUE, x'00', 0)";
    newer.execute(migration).await.unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, SqliteError::TooNew { found: 9999, known: 1.. }), "{error:?}");
    assert!(error.to_string().contains("a newer version of this program"), "{error}");
    newer.execute("DELETE FROM _sqlx_migrations WHERE version = 9999").await.unwrap();
    check_filled(&SqliteStore::open(&path).await.unwrap()).await;
}

#[tokio::test]
async fn a_migration_that_is_not_ours_is_refused() {
    let (_folder, path) = folder();
    filled(&path).await;
    raw(&path).await.execute("UPDATE _sqlx_migrations SET checksum = x'00'").await.unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, SqliteError::Unmigrated(_)), "{error:?}");
}

#[tokio::test]
async fn a_damaged_file_gives_errors_and_never_a_wrong_account() {
    let (folder, path) = folder();
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut found = 0;
    for page in 0..pages {
        let mut damaged = whole.clone();
        // Past the first page's header, by which the file is known as a database.
        damaged[page * 4096 + 100..(page + 1) * 4096].fill(0xA5);
        let path = folder.path().join(format!("damaged-{page}.db"));
        fs::write(&path, damaged).unwrap();
        let store = match SqliteStore::open(&path).await {
            Ok(store) => store,
            Err(error) => {
                assert!(matches!(error, SqliteError::Corrupt(_)), "page {page}: {error:?}");
                found += 1;
                continue;
            }
        };
        for n in 0..USERS {
            match store.load(&key(&format!("user-{n}"))).await {
                Ok(read) if read.version.0 == 1 => {
                    assert_eq!(read.value.factors, [factor(n as u64, 500)], "page {page}");
                }
                Ok(read) => panic!("page {page}: user-{n} has version {:?}", read.version),
                Err(_) => found += 1,
            }
        }
    }
    assert!(found >= pages, "{found} errors in {pages} damaged files");
}

#[tokio::test]
async fn a_file_that_was_cut_off_gives_errors() {
    let (_folder, path) = folder();
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let errors = match SqliteStore::open(&path).await {
        Err(error) => vec![error],
        Ok(store) => {
            let mut errors = Vec::new();
            for n in 0..USERS {
                if let Err(error) = store.load(&key(&format!("user-{n}"))).await {
                    errors.push(inner(&error).clone());
                }
            }
            errors
        }
    };
    assert!(!errors.is_empty());
    assert!(errors.iter().all(|error| matches!(error, SqliteError::Corrupt(_))), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_one_database_at_the_same_time() {
    for _ in 0..5 {
        let (_folder, path) = folder();
        let path = Arc::new(path);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let path = Arc::clone(&path);
            tasks.spawn(async move {
                let store = SqliteStore::open(&path).await?;
                change(&store, &key(&format!("user-{n}")), |_| ())
                    .await
                    .map_err(|error| inner(&error).clone())
            });
        }
        for opened in tasks.join_all().await {
            assert_eq!(opened.unwrap(), Commit::Won);
        }
    }
}
