//! Exports verify without the database.

use serde_json::{Value, json};

use super::installation::{Installation, Kind, command};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_by_itself_on_sqlite() {
    an_export_holds_by_itself(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_by_itself_on_postgresql() {
    an_export_holds_by_itself(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_by_itself_on_redis() {
    an_export_holds_by_itself(Kind::Redis).await;
}

async fn an_export_holds_by_itself(kind: Kind) {
    let installation = Installation::new(kind).await;
    for user in ["alice", "bob"] {
        installation.happen(user, 3).await;
    }
    let first = installation.json("audit export --tenant acme --out 1.jsonl").await;
    assert_eq!(first["events"], 6);
    installation.happen("alice", 2).await;
    let after = first["last"].as_str().unwrap();
    let second =
        installation.json(&format!("audit export --tenant acme --after {after} --out 2.jsonl")).await;
    assert_eq!(second["events"], 2);
    // A later export continues there. An export of all tenants has no such place.
    let last = second["last"].as_str().unwrap();
    let third = installation.json(&format!("audit export --tenant acme --after {last} --out 3.jsonl")).await;
    assert_eq!((&third["events"], &third["last"]), (&json!(0), &second["last"]));
    let every = installation.json("audit export --out every.jsonl").await;
    assert_eq!((&every["events"], &every["last"]), (&json!(8), &Value::Null));
    let all = installation.run("audit export").await.stdout;
    let [one, two] = ["1.jsonl", "2.jsonl"].map(|name| std::fs::read(installation.path(name)).unwrap());
    assert_eq!(all, [one.as_slice(), two.as_slice()].concat());
    let line: Value = serde_json::from_slice(all.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected =
        ["actor", "at", "detail", "factor", "hash", "id", "kind", "previous", "sequence", "tenant", "user"];
    assert_eq!(names, expected);

    // Event ids depend on the key ring: without it there are none.
    std::fs::rename(installation.path("keyring.toml"), installation.path("ring")).unwrap();
    let without = installation.run("audit export").await;
    assert_eq!(without.status.code(), Some(3), "{without:?}");
    assert!(String::from_utf8_lossy(&without.stderr).contains("this machine has no key ring"), "{without:?}");
    assert!(without.stdout.is_empty() && !installation.path("keyring.toml").exists());
    std::fs::rename(installation.path("ring"), installation.path("keyring.toml")).unwrap();

    // Elsewhere: without database and key.
    let verify = |files: &str| {
        let folder = tempfile::tempdir().unwrap();
        let files = files.split(' ').map(|name| format!("--export {}", installation.path(name).display()));
        let line = format!("audit verify --json {}", files.collect::<Vec<_>>().join(" "));
        let output = command(folder.path(), "sqlite:nothing.db", &line).output().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        output
    };
    let good = verify("1.jsonl 2.jsonl");
    assert!(good.status.success(), "{good:?}");
    let answer: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(answer["events"], 8);
    assert_eq!((&answer["begin_later"], &answer["broken"]), (&json!(0), &json!([])));
    let answer: Value = serde_json::from_slice(&verify("2.jsonl").stdout).unwrap();
    assert_eq!((&answer["begin_later"], &answer["events"]), (&json!(1), &json!(2)));

    // Retention removed events between two pages of an export.
    let first = one.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    std::fs::write(installation.path("gap.jsonl"), [first, two.as_slice()].concat()).unwrap();
    let verify_gap = "audit verify --json --export gap.jsonl";
    assert_eq!(installation.run(verify_gap).await.status.code(), Some(1));
    let answer = installation.run(&format!("{verify_gap} --pruned-before 2027-02-01T00:00:00Z")).await;
    assert!(answer.status.success(), "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&answer["begin_later"], &answer["events"]), (&json!(1), &json!(3)));

    let text = String::from_utf8(one).unwrap();
    std::fs::write(installation.path("1.jsonl"), text.replacen("user test", "user best", 1)).unwrap();
    let altered = verify("1.jsonl 2.jsonl");
    assert_eq!(altered.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&altered.stdout).unwrap();
    let broken = json!([{ "tenant": "acme", "user": "alice", "sequence": 1, "what": "broken" }]);
    assert_eq!(answer["broken"], broken);

    let refused = installation.run("audit export --tenant acme --out nowhere/x.jsonl").await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for wrong in [
        "audit export --after 5",
        "audit export --tenant acme --after 5",
        "audit export --tenant acme --after evt_6aa7ss2xkxx434m5qycywjdudy",
        &format!("audit export --tenant umbrella --after {last}"),
        &format!("audit export --after {last}"),
        "audit export --user alice",
        "audit export --since yesterday",
        "audit verify --pruned-before 2027-02-01T00:00:00Z",
        "audit verify --export 2.jsonl --checkpoint cp.jsonl",
    ] {
        assert_eq!(installation.run(wrong).await.status.code(), Some(2), "{wrong}");
    }
}
