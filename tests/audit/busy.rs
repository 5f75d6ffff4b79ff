//! Normal operation during a check of the trail is not reported as tampering.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mfa_domain::ports::{Clock, SystemClock};
use mfa_domain::{Actor, Timestamp};
use mfa_testkit::changes::key;
use mfa_testkit::{TotpUser, ports};
use mfa_tests::rounds;
use serde_json::{Value, json};

use super::installation::{Installation, Kind, happen_at};

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_trail_raises_no_alarm_on_sqlite() {
    a_busy_trail_raises_no_alarm(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_trail_raises_no_alarm_on_postgresql() {
    a_busy_trail_raises_no_alarm(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_trail_raises_no_alarm_on_redis() {
    a_busy_trail_raises_no_alarm(Kind::Redis).await;
}

async fn a_busy_trail_raises_no_alarm(kind: Kind) {
    const WRITERS: usize = 4;
    let checkpoints = rounds(2, 4);
    let installation = Installation::new(kind).await;
    // Erasing a user keeps the trail.
    let mfa = ports(Arc::clone(&installation.store)).mfa();
    let erased = TotpUser::enrol(&mfa, &key("erased")).await.unwrap();
    installation.json("audit checkpoint --out before.jsonl").await;
    mfa.erase(&erased.key, &Actor::admin("test")).await.unwrap();
    let writing = Arc::new(AtomicBool::new(true));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, writing) = (Arc::clone(&installation.store), Arc::clone(&writing));
            tokio::spawn(async move {
                let mut changes = 0_u64;
                while writing.load(Ordering::SeqCst) {
                    // New accounts before and behind the position of the walk, and existing ones repeatedly.
                    let user = if changes.is_multiple_of(2) { changes / 20 } else { 0 };
                    let key = key(&format!("user-{}-{user}", (b'z' - u8::try_from(writer).unwrap()) as char));
                    happen_at(store.as_ref(), &key, SystemClock.now()).await;
                    changes += 1;
                    // Slow enough for the walks to end.
                    tokio::time::sleep(Duration::from_millis(8)).await;
                }
                changes
            })
        })
        .collect();
    // So that some events are old enough to be removed.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut removed = 0;
    for round in 0..checkpoints {
        let previous = if round == 0 { String::new() } else { format!("--previous {}.jsonl", round - 1) };
        installation.json(&format!("audit checkpoint --out {round}.jsonl {previous}")).await;
        // Events older than a second are removed during the check.
        let before = Timestamp::from_unix_millis(SystemClock.now().unix_millis() - 1000);
        let prune = format!("audit prune --before {before}");
        for checkpoint in ["before".to_owned(), "0".to_owned(), round.to_string()] {
            let verify = format!("--checkpoint {checkpoint}.jsonl --pruned-before {before}");
            let (pruned, broken) = tokio::join!(installation.json(&prune), installation.broken(&verify));
            assert_eq!((&pruned["broken"], broken), (&json!(0), vec![]));
            removed += pruned["events"].as_u64().unwrap();
        }
    }
    writing.store(false, Ordering::SeqCst);
    let mut changes = 0;
    for writer in writers {
        changes += writer.await.unwrap();
    }
    assert!(changes > 100, "only {changes} changes under load");
    let checked = installation.json("audit verify").await;
    assert!(removed > 0, "nothing was removed");
    let erased = installation.chain(&key("erased")).await.last().unwrap().sequence;
    assert_eq!(checked["events"], changes + erased - removed);

    // Each checkpoint names the hash of the previous one, here computed by another program.
    for round in 1..checkpoints {
        let sum = Command::new("sha256sum").arg(installation.path(&format!("{}.jsonl", round - 1))).output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        let text = std::fs::read_to_string(installation.path(&format!("{round}.jsonl"))).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(header["previous"].as_str(), sum.get(..64));
    }
}
