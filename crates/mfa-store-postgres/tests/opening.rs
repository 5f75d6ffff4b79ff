//! Databases that are there, not there, somebody else's, too new, or only a copy.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;
use std::fs;

use mfa_domain::AuditHead;
use mfa_domain::ports::{AccountStore, ApiKeyStore, Commit, EventQuery};
use mfa_store_postgres::{PostgresError, PostgresStore};
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinSet;

use crate::support::server::{self, Server};
use crate::support::{self, change, factor, inner, key, make, raw, store};

async fn refusal(url: &str) -> PostgresError {
    PostgresStore::open(url).await.expect_err("it was opened")
}

/// Everything that a log could show of an error.
fn told(error: &PostgresError) -> String {
    let mut told = vec![format!("{error} {error:?}")];
    let mut source = error.source();
    while let Some(error) = source {
        told.push(format!("{error} {error:?}"));
        source = error.source();
    }
    told.join(" ")
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_and_never_told() {
    for url in [
        "mysql://mfa:hunter2@localhost/mfa",
        "postgres://mfa:hunter2@local host/mfa",
        "postgres://mfa:hunter2@localhost:99999/mfa",
        "postgres://mfa@localhost/mfa?pasword=hunter2",
        "postgres://mfa:hunter2@localhost/mfa?sslmode=hunter2",
        "postgres://mfa:12/hunter2@localhost/mfa",
        "postgres://mfa:12#hunter2@localhost/mfa",
        "postgres://mfa:12?hunter2@localhost/mfa",
        "postgres://mfa:12?sslmode=hunter2@localhost/mfa",
        "postgres://mfa:se@hunter2#t@localhost/mfa",
        "postgres://mfa:se@hunter2/t@localhost/mfa",
        "postgres://localhost/mfa#hunter2",
        "hunter2",
    ] {
        let error = refusal(url).await;
        assert!(matches!(error, PostgresError::Url(_)), "{url}: {error:?}");
        assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_the_password_is_not() {
    let error = refusal("postgres://mfa:hunter2@127.0.0.1:1/mfa").await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    let error = refusal("postgres://mfa:hunter2@%2Fno%2Fsuch%2Ffolder/mfa").await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let url = server::database().await;
    let (server, _) = url.rsplit_once('/').unwrap();
    let error = refusal(&format!("{server}/nowhere")).await;
    assert!(matches!(&error, PostgresError::NoDatabase { database } if database == "nowhere"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start(&["password_encryption=scram-sha-256"]);
    let mut admin = server.connect().await;
    admin.execute("CREATE USER guest PASSWORD 'right'").await.unwrap();
    let rules = "local all guest scram-sha-256\nlocal all mfa trust\n";
    fs::write(server.folder().join("data/pg_hba.conf"), rules).unwrap();
    admin.execute("SELECT pg_reload_conf()").await.unwrap();
    let url = |password| server.url("postgres").replace("mfa@", &format!("guest:{password}@"));
    let error = loop {
        // The rules take hold some moments later.
        match PostgresStore::open(&url("hunter2")).await {
            Err(error @ PostgresError::Refused { .. }) => break error,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert!(error.to_string().contains("guest"), "{error}");
    assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    // The right one gets further: to what the user may not do.
    let error = refusal(&url("right")).await;
    assert!(matches!(error, PostgresError::Privilege(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    // A socket never has TLS, so this one is a port.
    let (port, server) = Server::on_a_port();
    drop(server.connect().await);
    let error = refusal(&format!("postgres://mfa@127.0.0.1:{port}/postgres?sslmode=require")).await;
    assert!(matches!(error, PostgresError::Tls(_)), "{error:?}");
    PostgresStore::open(&format!("postgres://mfa@127.0.0.1:{port}/postgres")).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_checked_where_that_is_asked_for() {
    let (port, server) = Server::with_tls();
    drop(server.connect().await);
    let url = |host: &str, rest: &str| format!("postgres://mfa@{host}:{port}/postgres?sslmode={rest}");
    let authority = server.folder().join("authority.crt");
    let trusted = format!("verify-full&sslrootcert={}", authority.display());
    let store = PostgresStore::open(&url("localhost", &trusted)).await.unwrap();
    make(&store, &key("alice"), |_| ()).await;
    let encrypted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE ssl AND application_name = 'mfa'",
    )
    .fetch_one(&mut server.connect().await)
    .await
    .unwrap();
    assert!(encrypted > 0);
    // Nobody vouches for it, and it is not that of this name.
    for untrusted in [url("localhost", "verify-full"), url("127.0.0.1", &trusted)] {
        let error = refusal(&untrusted).await;
        assert!(matches!(error, PostgresError::Tls(_)), "{untrusted}: {error:?}");
    }
}

#[tokio::test]
async fn a_standby_is_refused() {
    let server = Server::standby();
    drop(server.connect().await);
    let error = refusal(&server.url("postgres")).await;
    assert!(matches!(error, PostgresError::ReadOnly), "{error:?}");
    assert!(error.to_string().contains("standby"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_set_read_only_is_refused() {
    let url = server::database().await;
    let set = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    raw(&url).await.execute(set).await.unwrap();
    let error = refusal(&url).await;
    assert!(matches!(error, PostgresError::ReadOnly), "{error:?}");
}

#[tokio::test]
async fn another_programs_schema_is_refused_and_left_alone() {
    for theirs in [
        "CREATE SCHEMA mfa CREATE TABLE accounts (balance numeric)",
        "CREATE SCHEMA mfa CREATE TABLE migrations (name text)",
    ] {
        let url = server::database().await;
        let mut shell = raw(&url).await;
        shell.execute(theirs).await.unwrap();
        let error = refusal(&url).await;
        assert!(matches!(error, PostgresError::Foreign), "{error:?}");
        let tables: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'mfa'::regnamespace AND relkind = 'r'",
        )
        .fetch_one(&mut shell)
        .await
        .unwrap();
        assert_eq!(tables, 1, "{theirs}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused_and_left_alone() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let url = server::database().await;
        let latin = format!("mfa_{}", encoding.to_lowercase());
        let make = format!("CREATE DATABASE {latin} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        raw(&url).await.execute(AssertSqlSafe(make)).await.unwrap();
        let (server, parameters) = url.split_once('?').map_or((&*url, ""), |(server, rest)| (server, rest));
        let server = server.rsplit_once('/').unwrap().0;
        let url = format!("{server}/{latin}?{parameters}");
        let error = refusal(&url).await;
        assert!(matches!(&error, PostgresError::Encoding { found } if found == encoding), "{error:?}");
        let changed: bool = sqlx::query_scalar("SELECT to_regnamespace('mfa') IS NOT NULL")
            .fetch_one(&mut raw(&url).await)
            .await
            .unwrap();
        assert!(!changed, "{encoding}");
        raw(&server::database().await)
            .await
            .execute(AssertSqlSafe(format!("DROP DATABASE {latin} WITH (FORCE)")))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_newer_major_version_is_refused_and_a_newer_minor_one_is_not() {
    let (store, url) = store().await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let mut newer = raw(&url).await;
    let before = migrations(&url).await;
    newer.execute("INSERT INTO mfa.migrations VALUES (1, 9999)").await.unwrap();
    let beside = PostgresStore::open(&url).await.unwrap();
    make(&beside, &key("alice"), |draft| draft.put(factor(2, 20))).await;
    newer.execute("INSERT INTO mfa.migrations VALUES (2, 0)").await.unwrap();
    let error = refusal(&url).await;
    assert!(matches!(error, PostgresError::TooNew { found: 2, known: 1 }), "{error:?}");
    assert!(error.to_string().contains("a newer version of this program"), "{error}");
    assert_eq!(migrations(&url).await, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_one_database_at_the_same_time() {
    let alone = migrations(&store().await.1).await;
    for _ in 0..3 {
        let url = server::database().await;
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let url = url.clone();
            tasks.spawn(async move {
                let store = PostgresStore::open(&url).await?;
                change(&store, &key(&format!("user-{n}")), |_| ())
                    .await
                    .map_err(|error| inner(&error).clone())
            });
        }
        for opened in tasks.join_all().await {
            assert_eq!(opened.unwrap(), Commit::Won);
        }
        assert_eq!(migrations(&url).await, alone);
    }
}

async fn migrations(url: &str) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM mfa.migrations");
    count.fetch_one(&mut raw(url).await).await.expect("a count")
}

#[tokio::test]
async fn a_user_that_may_only_work_with_the_tables_is_enough_once_they_are_there() {
    let (_, url) = store().await;
    let role = url.rsplit_once('/').unwrap().1.split('?').next().unwrap().replace("mfa_test", "app");
    let grants = format!(
        "CREATE USER {role} PASSWORD 'app';
         GRANT USAGE ON SCHEMA mfa TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA mfa TO {role};
         GRANT INSERT, UPDATE ON mfa.accounts, mfa.backup_code_sets, mfa.handles, mfa.api_keys TO {role};
         GRANT DELETE ON mfa.backup_code_sets, mfa.handles TO {role};
         GRANT INSERT, UPDATE, DELETE ON mfa.challenges, mfa.messages, mfa.throttles TO {role};
         GRANT INSERT, UPDATE ON mfa.deliveries TO {role};
         GRANT INSERT ON mfa.events TO {role};
         GRANT SELECT ON mfa.events_id_seq TO {role};"
    );
    raw(&url).await.execute(sqlx::raw_sql(AssertSqlSafe(grants))).await.unwrap();
    let (scheme, rest) = url.split_once("//").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    let store = PostgresStore::open(&format!("{scheme}//{role}:app@{host}")).await.unwrap();
    for _ in 0..2 {
        make(&store, &key("alice"), |_| ()).await;
    }
    let base = AuditHead { sequence: 1, ..AuditHead::default() };
    let error = store.trim(&key("alice"), AuditHead::default(), base).await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Privilege(_)), "{error:?}");
    assert_eq!(store.load(&key("alice")).await.unwrap().value.audit_base, AuditHead::default());
    let grant = format!("GRANT DELETE ON mfa.events TO {role}");
    raw(&url).await.execute(AssertSqlSafe(grant)).await.unwrap();
    let store = support::patient(&format!("{scheme}//{role}:app@{host}")).await;
    let store = store.as_ref();
    mfa_testkit::account_store::basic(store).await.unwrap();
    mfa_testkit::outbox::basic(store).await.unwrap();
    mfa_testkit::api_key_store::basic(store).await.unwrap();
    mfa_testkit::challenge_store::basic(store).await.unwrap();
    mfa_testkit::throttle::basic(store).await.unwrap();
    mfa_testkit::delivery_store::basic(store).await.unwrap();
}

/// Who looks at the tables finds everything explained, and nothing answered is lost by how the
/// database was set up.
#[tokio::test]
async fn every_table_view_and_column_has_a_comment() {
    let (_, url) = store().await;
    let bare: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || coalesce(a.attname, '') FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'mfa'::regnamespace AND c.relkind IN ('r', 'v')
           AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)",
    )
    .fetch_all(&mut raw(&url).await)
    .await
    .unwrap();
    assert!(bare.is_empty(), "{bare:?}");
}

#[tokio::test]
async fn closing_ends_all_connections_and_then_answers_that_it_is_closed() {
    let (store, url) = store().await;
    make(&store, &key("alice"), |_| ()).await;
    store.close().await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut shell = raw(&url).await;
    for wait in 0.. {
        let count: i64 = sqlx::query_scalar(others).fetch_one(&mut shell).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(wait < 100, "{count} connections are still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let error = change(&store, &key("late"), |_| ()).await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Closed), "{error:?}");
    let error = store.list(None).await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Closed), "{error:?}");
    let query = EventQuery { tenant: key("late").tenant, user: None, after: None, limit: 1 };
    let error = store.events(&query).await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Closed), "{error:?}");
    store.close().await;
}
