//! Events removed by retention, and events removed by an attacker.

use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_testkit::changes::key;
use serde_json::{Value, json};

use super::installation::{IN_2020, Installation, Kind, account, found};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_by_age_is_told_from_what_was_not_on_sqlite() {
    what_was_removed_by_age_is_told_from_what_was_not(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_by_age_is_told_from_what_was_not_on_postgresql() {
    what_was_removed_by_age_is_told_from_what_was_not(Kind::Postgres).await;
}

async fn what_was_removed_by_age_is_told_from_what_was_not(kind: Kind) {
    const DAY: u64 = 86_400;
    let installation = Installation::new(kind).await;
    let old = [1, 2, 3, 4, 5].map(|day| day * DAY);
    let young = [101, 102, 103].map(|day| day * DAY);
    installation.happen_at("all-old", old).await;
    installation.happen_at("half", old.into_iter().chain(young)).await;
    for user in ["forged", "moved", "no-base", "nothing", "young"] {
        installation.happen_at(user, young).await;
    }
    installation.json("audit checkpoint --out whole.jsonl").await;

    let before = "--before 2020-03-01T00:00:00Z";
    for _ in 0..2 {
        let counted = installation.json(&format!("audit prune {before} --dry-run")).await;
        assert_eq!((&counted["accounts"], &counted["events"]), (&json!(2), &json!(8)));
    }
    assert_eq!(installation.json(&format!("audit prune {before}")).await["events"], 8);
    assert_eq!(installation.json(&format!("audit prune {before}")).await["events"], 0);
    let left = installation.chain(&key("half")).await;
    assert_eq!(left.iter().map(|event| event.sequence).collect::<Vec<_>>(), [5, 6, 7, 8]);
    assert_eq!(installation.broken("").await, []);
    // A check against the checkpoint must be told until when events may have been removed.
    let gone = found(&[("all-old", 1, "beginning_gone"), ("half", 1, "beginning_gone")]);
    assert_eq!(installation.broken("--checkpoint whole.jsonl").await, gone);
    // Ten minutes are allowed for differences between clocks.
    for (before, expected) in [
        ("2020-03-01T00:00:00Z", vec![]),
        ("2020-01-05T23:50:00Z", gone.clone()),
        ("2020-01-05T23:50:01Z", vec![]),
    ] {
        let arguments = format!("--checkpoint whole.jsonl --pruned-before {before}");
        assert_eq!(installation.broken(&arguments).await, expected, "{before}");
    }
    // A later checkpoint confirms the removal.
    installation.json("audit checkpoint --out pruned.jsonl").await;
    assert_eq!(installation.broken("--checkpoint pruned.jsonl").await, []);
    installation.happen_at("all-old", [200 * DAY]).await;

    // An attacker removes recent events: without and with a matching base.
    installation
        .sql(&format!("DELETE FROM mfa.events WHERE account_id = {} AND sequence = 1", account("no-base")))
        .await;
    let chain = installation.chain(&key("moved")).await;
    installation.cut("moved", chain[0].head()).await;
    // All events are removed, and a forged one is old enough to be the witness.
    let chain = installation.chain(&key("forged")).await;
    installation.happen_at("forged", [9 * DAY]).await;
    installation.cut("forged", chain[2].head()).await;
    // All events are removed, including the last.
    let chain = installation.chain(&key("nothing")).await;
    installation.cut("nothing", chain[2].head()).await;

    assert_eq!(installation.broken("").await, found(&[("no-base", 1, "broken"), ("nothing", 3, "broken")]));
    let with = found(&[
        ("forged", 1, "beginning_gone"),
        ("moved", 1, "beginning_gone"),
        ("no-base", 1, "broken"),
        ("nothing", 3, "broken"),
    ]);
    for before in ["", "--pruned-before 2020-03-01T00:00:00Z"] {
        assert_eq!(
            installation.broken(&format!("--checkpoint pruned.jsonl {before}")).await,
            with,
            "{before}"
        );
    }
    let pruned = installation.run(&format!("audit prune {before} --json")).await;
    assert!(pruned.status.success(), "{pruned:?}");
    // An unreadable trail is left alone and does not stop the others.
    for user in ["spoilt", "x", "y"] {
        installation.happen_at(user, old).await;
    }
    let spoilt = format!("account_id = {} AND sequence = 2", account("spoilt"));
    installation.sql(&format!("UPDATE mfa.events SET detail = '[]' WHERE {spoilt}")).await;
    let pruned = installation.run(&format!("audit prune {before} --json")).await;
    let answer: Value = serde_json::from_slice(&pruned.stdout).unwrap_or_else(|_| panic!("{pruned:?}"));
    assert_eq!((&answer["events"], &answer["broken"]), (&json!(8), &json!(1)));
    let refused = installation.run("audit prune --before 2999-01-01T00:00:00Z").await;
    assert_eq!(refused.status.code(), Some(2));
}

/// A server whose clock is ahead, or that removed events since the check began, is not reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_may_be_a_little_younger_than_the_retention() {
    let installation = Installation::new(Kind::Sqlite).await;
    let hour_ago = SystemClock.now().unix_seconds() - 3600 - IN_2020;
    installation.happen_at("ahead", [0, hour_ago + 5 * 60, hour_ago + 3600]).await;
    installation.happen_at("thief", [0, hour_ago + 40 * 60, hour_ago + 3600]).await;
    installation.json("audit checkpoint --out before.jsonl").await;
    let base = installation.chain(&key("thief")).await[0].head();
    installation.cut("thief", base).await;
    let before = Timestamp::from_unix_seconds(IN_2020 + hour_ago + 6 * 60);
    assert_eq!(installation.json(&format!("audit prune --before {before}")).await["events"], 1);
    let broken = installation.broken("--set audit.retention=1h --checkpoint before.jsonl").await;
    assert_eq!(broken, found(&[("thief", 1, "beginning_gone")]));
}
