//! An unreadable row is named and does not hide others.

use std::fs;

use serde_json::{Value, json};

use super::installation::{Installation, Kind, account, found};
use super::tampering_redis::{ALTER, set_of_account, tamper};

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_stops_no_audit_on_sqlite() {
    an_unreadable_row_stops_no_audit(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_stops_no_audit_on_postgresql() {
    an_unreadable_row_stops_no_audit(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_stops_no_audit_on_redis() {
    an_unreadable_row_stops_no_audit(Kind::Redis).await;
}

/// Every user has five events at the checkpoint and six now. Corrupted are the row of `a`, an event of `b`,
/// and for `c` a column that only a load reads. `z` is untouched.
async fn an_unreadable_row_stops_no_audit(kind: Kind) {
    let installation = Installation::new(kind).await;
    installation.begin(&["a", "b", "c", "z"]).await;
    spoil_row(&installation, kind, "a").await;
    if kind == Kind::Redis {
        tamper(&installation, ALTER, &["b", "3", "hash", "short"]);
        set_of_account(&installation, "c", "failures", "-1");
    } else {
        let short = if kind == Kind::Sqlite { "x'00'" } else { r"'\x00'" };
        let third = format!("account_id = {} AND sequence = 3", account("b"));
        installation.sql(&format!("UPDATE mfa.events SET hash = {short} WHERE {third}")).await;
        installation.sql("UPDATE mfa.accounts SET failures = -1 WHERE user_id = 'c'").await;
    }
    let spoilt = [("a", 0, "account_unreadable"), ("b", 3, "unreadable"), ("c", 0, "account_unreadable")];
    for against in ["", "--checkpoint cp.jsonl"] {
        assert_eq!(installation.broken(against).await, found(&spoilt), "{against}");
    }
    let said = installation.run("audit verify").await.stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("BROKEN  user a of tenant acme: the account itself cannot be read"), "{said}");
    let position =
        said.split("user b of tenant acme, at event 3: it cannot be read; its position in the trail is ");
    let position = position.last().unwrap().split_whitespace().next().unwrap().to_owned();

    // A checkpoint of the others is written, reports the missing one, and is usable.
    let (written, complaints) = failed(&installation, "audit checkpoint --json --out next.jsonl").await;
    assert_eq!((&written["accounts"], &written["unreadable"]), (&json!(3), &json!(1)));
    assert!(complaints.contains("user a of tenant acme cannot be read and is left out"), "{complaints}");
    let (checked, _) = failed(&installation, "audit verify --json --checkpoint next.jsonl").await;
    assert_eq!(checked["checkpoint"]["unreadable"], 1);
    assert_eq!((&checked["accounts"], &checked["found"]), (&json!(4), &json!(3)));

    // The same for an export, which does not contain the corrupted part of the account's row.
    for selection in ["", "--tenant acme"] {
        let export = format!("audit export --json --out export.jsonl {selection}");
        let (exported, complaints) = failed(&installation, &export).await;
        assert_eq!((&exported["events"], &exported["unreadable"]), (&json!(23), &json!(1)));
        let left_out = format!("the event at position {position} of user b of tenant acme is left out");
        assert!(complaints.contains(&left_out), "{complaints}");
        let text = fs::read_to_string(installation.path("export.jsonl")).unwrap();
        assert_eq!(text.matches(r#""user":"z""#).count(), 6, "{text}");
    }

    // Retention leaves the trail as it is and continues with others.
    installation.happen_at("d", [0, 1, 2, 3]).await;
    installation.happen_at("e", [0, 1, 2, 3]).await;
    spoil_row(&installation, kind, "d").await;
    let prune = "audit prune --json --before 2021-01-01T00:00:00Z";
    let (pruned, complaints) = failed(&installation, prune).await;
    assert_eq!((&pruned["accounts"], &pruned["broken"]), (&json!(1), &json!(1)), "{complaints}");
    assert!(complaints.contains("the trail of user d of tenant acme is broken"), "{complaints}");
}

/// Gives a user's row a value that no account has.
async fn spoil_row(installation: &Installation, kind: Kind, user: &str) {
    let short = match kind {
        Kind::Redis => return set_of_account(installation, user, "audit_hash", "short"),
        Kind::Sqlite => "x'00'",
        Kind::Postgres => r"'\x00'",
    };
    let spoil = format!("UPDATE mfa.accounts SET audit_hash = {short} WHERE user_id = '{user}'");
    installation.sql(&spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_id_that_is_none_stops_no_audit_on_sqlite() {
    a_user_id_that_is_none_stops_no_audit(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_id_that_is_none_stops_no_audit_on_postgresql() {
    a_user_id_that_is_none_stops_no_audit(Kind::Postgres).await;
}

async fn a_user_id_that_is_none_stops_no_audit(kind: Kind) {
    let installation = Installation::new(kind).await;
    installation.begin(&["a", "z"]).await;
    installation.sql("UPDATE mfa.accounts SET user_id = '' WHERE user_id = 'a'").await;
    let nobody = ("", 0, "account_unreadable");
    assert_eq!(installation.broken("").await, found(&[nobody]));
    let gone = ("a", 5, "account_gone");
    assert_eq!(installation.broken("--checkpoint cp.jsonl").await, found(&[nobody, gone]));
    let (exported, _) = failed(&installation, "audit export --json --out export.jsonl").await;
    assert_eq!((&exported["events"], &exported["unreadable"]), (&json!(6), &json!(6)));
    let (written, _) = failed(&installation, "audit checkpoint --json --out next.jsonl").await;
    assert_eq!((&written["accounts"], &written["unreadable"]), (&json!(1), &json!(1)));
}

/// Runs a command that completes its work and still fails; returns its output and its complaints.
async fn failed(installation: &Installation, line: &str) -> (Value, String) {
    let output = installation.run(line).await;
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}: {complaints}");
    (serde_json::from_slice(&output.stdout).unwrap(), complaints)
}
