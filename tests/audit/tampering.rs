//! Tampering with a trail is found and named.

use mfa_domain::AuditHead;
use mfa_testkit::changes::key;

use super::installation::{Installation, Kind, account, found};

#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_on_sqlite() {
    tampering_is_found(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_on_postgresql() {
    tampering_is_found(Kind::Postgres).await;
}

/// Every user has five events at the checkpoint and six now. Every trail except that of `z` is tampered with.
async fn tampering_is_found(kind: Kind) {
    let installation = Installation::new(kind).await;
    let users = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "z"];
    installation.begin(&users).await;

    let events =
        |user: &str, which: &str| format!("mfa.events WHERE account_id = {} AND {which}", account(user));
    let update = |user: &str, set: &str, which: &str| {
        format!("UPDATE mfa.events SET {set} WHERE account_id = {} AND {which}", account(user))
    };
    let delete = |user: &str, which: &str| format!("DELETE FROM {}", events(user, which));
    let sql = async |statement: String| installation.sql(&statement).await;

    // An event is altered, removed, or moved.
    sql(update("a", "kind = 'verification_failed'", "sequence = 2")).await;
    sql(delete("b", "sequence = 3")).await;
    sql(update("c", "sequence = 0", "sequence = 4")).await;
    // The end is cut off, without and with a matching head.
    sql(delete("d", "sequence >= 5")).await;
    let before = installation.chain(&key("e")).await;
    sql(delete("e", "sequence >= 4")).await;
    installation.set_head("e", before[2].head()).await;
    // All events are removed, with a matching head.
    sql(delete("f", "sequence > 0")).await;
    installation.set_head("f", AuditHead::default()).await;
    // The trail is rewritten with a matching head: all of it, its end, and its events after the checkpoint.
    installation.rewrite("g", 1).await;
    installation.rewrite("h", 5).await;
    installation.rewrite("i", 6).await;
    // It is cut back and extended to its previous length.
    let before = installation.chain(&key("j")).await;
    sql(delete("j", "sequence >= 4")).await;
    installation.set_head("j", before[2].head()).await;
    installation.happen_otherwise("j", 2).await;
    // An account is removed, with and without its events, or renamed.
    sql(delete("k", "sequence > 0")).await;
    sql("DELETE FROM mfa.accounts WHERE user_id IN ('k', 'l')".to_owned()).await;
    sql("UPDATE mfa.accounts SET user_id = 'mm' WHERE user_id = 'm'".to_owned()).await;
    // The trail has an event that the account does not know.
    installation.set_head("n", installation.chain(&key("n")).await[4].head()).await;

    // An event is hidden from its tenant, and some events are unreadable.
    sql(update("o", "tenant_id = 'elsewhere'", "sequence = 4")).await;
    let short = if kind == Kind::Sqlite { "x'00'" } else { r"'\x00'" };
    sql(update("p", &format!("hash = {short}"), "sequence = 3")).await;
    sql(update("q", "detail = '[]'", "sequence = 1")).await;

    let without = [
        ("a", 2, "broken"),
        ("b", 3, "broken"),
        ("c", 1, "broken"),
        ("d", 5, "broken"),
        ("mm", 1, "broken"),
        ("n", 6, "broken"),
        ("o", 4, "broken"),
        ("p", 3, "unreadable"),
        ("q", 1, "unreadable"),
    ];
    assert_eq!(installation.broken("").await, found(&without), "without a checkpoint");
    let with = [
        ("a", 2, "broken"),
        ("b", 3, "broken"),
        ("c", 1, "broken"),
        ("d", 5, "broken"),
        ("e", 4, "end_gone"),
        ("f", 1, "end_gone"),
        ("g", 5, "rewritten"),
        ("h", 5, "rewritten"),
        // Rewriting events after the checkpoint is not detected: "i".
        ("j", 5, "rewritten"),
        ("k", 5, "account_gone"),
        ("l", 5, "account_gone"),
        ("m", 5, "account_gone"),
        ("mm", 1, "broken"),
        ("n", 6, "broken"),
        ("o", 4, "broken"),
        ("p", 3, "unreadable"),
        ("q", 1, "unreadable"),
    ];
    assert_eq!(installation.broken("--checkpoint cp.jsonl").await, found(&with));
    let said = installation.run("audit verify --checkpoint cp.jsonl").await;
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains(
            "BROKEN  user g of tenant acme, at event 5: it differs from the event at the checkpoint"
        ),
        "{said}"
    );
    assert!(said.contains("with 18 accounts: 17 chains are broken"), "{said}");

    // A database that replaced another one.
    let other = Installation::new(kind).await;
    other.happen("z", 5).await;
    std::fs::copy(installation.path("cp.jsonl"), other.path("cp.jsonl")).unwrap();
    std::fs::copy(installation.path("audit-signing.pem"), other.path("audit-signing.pem")).unwrap();
    let gone = users.map(|user| (user, 5, "account_gone"));
    let broken = other.broken("--checkpoint cp.jsonl").await;
    assert_eq!(broken[..17], found(&gone[..17]));
    // The events of "z" are the same in both: same key, same times, same actor.
    assert_eq!(broken.len(), 17);
}
