//! The commands that look after API keys, encryption keys, users and the audit trail.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::process::Command;
use std::time::Duration;

use crate::program::{Program, oathtool};
use serde_json::{Value, json};

fn key(program: &Program, scopes: &str) -> String {
    program.json(&format!("api-key create --init --scope {scopes}"))["key"].as_str().unwrap().to_owned()
}

fn sqlite(program: &Program, statement: &str) -> String {
    let output = Command::new("sqlite3").arg(program.data("mfa.db")).arg(statement).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn api_keys_are_made_listed_and_revoked_while_the_server_runs() {
    let program = Program::new();
    let server = program.serve("");
    let made = program.json("api-key create --init --tenant acme --scope verify --scope enrol --name shop");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(made.as_object().unwrap().len(), 2);
    let listed = || program.json("api-key list --tenant acme")[0].clone();
    assert_eq!((&listed()["name"], &listed()["last_used_at"]), (&json!("shop"), &Value::Null));
    server.enrol(key, "alice");
    for _ in 0..100 {
        if listed()["last_used_at"].is_string() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(listed()["last_used_at"].as_str().unwrap().ends_with(":00Z"), "{}", listed());
    let first = program.json("api-key list --tenant default");
    assert_eq!((&first[0]["name"], &first[0]["last_used_at"]), (&json!("first-start"), &Value::Null));
    let events = program.json("user events alice --tenant acme");
    assert_eq!(events[0]["actor"], format!("user api-key:{id} (shop)"));
    assert_eq!(program.run("api-key create --scope verify --name a(b").code, 2);
    let said = program.run("api-key create --scope verify --tenant mfa-server");
    assert_eq!((said.code, said.err.as_str()), (2, "mfa-server: tenant mfa-server is reserved\n"));
    assert_eq!(program.json("api-key list").as_array().unwrap().len(), 2, "a refused name makes no key");

    let list = program.json("api-key list --tenant acme");
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["id"], &list[0]["scopes"]), (&json!(id), &json!(["verify", "enrol"])));
    assert_eq!(list[0]["revoked_at"], Value::Null);
    assert!(program.run("api-key list").out.starts_with("ID "));

    assert_eq!(program.json(&format!("api-key revoke {id}"))["revoked"], true);
    assert_eq!(server.verify(key, "alice", "123456"), 401);
    let said = program.run("api-key revoke nosuchkey");
    assert_eq!((said.code, said.err.as_str()), (1, "mfa-server: there is no API key nosuchkey\n"));

    sqlite(&program, "UPDATE api_keys SET scopes = 'sudo' WHERE tenant = 'default'");
    let said = program.run("api-key list --json");
    let kept: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, kept.as_array().unwrap().len(), &kept[0]["id"]), (1, 1, &json!(id)));
    let named = format!("API key {} cannot be read: column scopes", first[0]["id"].as_str().unwrap());
    assert!(said.err.contains(&named), "{said:?}");
    assert_eq!(program.run("user show alice --tenant acme").code, 0);

    for line in
        ["api-key create --tenant Acme --scope verify", "api-key create --scope all", "api-key create"]
    {
        assert_eq!(program.run(line).code, 2, "{line}");
    }
}

#[test]
fn a_new_api_key_is_shown_with_the_meaning_of_its_scopes() {
    let program = Program::new();
    let said = program.run("api-key create --init --scope verify,admin --name ops");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(" (ops) of tenant default, shown only once:\n\n  mfa_"), "{}", said.out);
    let scopes = said.out.lines().last().unwrap();
    let meaning = "Scopes: verify sends and checks codes; admin unlocks, resets and erases users";
    assert!(scopes.starts_with(meaning) && !scopes.contains("audit"), "{scopes}");
}

#[test]
fn a_key_is_added_and_everything_sealed_with_it_while_the_server_runs() {
    let program = Program::new();
    let api_key = key(&program, "verify,enrol");
    let server = program.serve("--set re_encryption=false");
    let secrets: Vec<_> = (0..3).map(|user| server.enrol(&api_key, &format!("user-{user}"))).collect();

    let old = program.json("keys list")[0]["id"].clone();
    let new = program.json("keys add")["id"].clone();
    assert_ne!(old, new);
    let list = program.json("keys list");
    assert_eq!((&list[0]["newest"], &list[0]["in_use"]), (&json!(false), &json!(true)));
    assert_eq!((&list[1]["newest"], &list[1]["in_use"]), (&json!(true), &json!(false)));
    assert!(program.run("keys list").out.starts_with("ID "));

    let done = program.json("keys re-encrypt");
    // Those of the users, and that of the signing keys.
    assert_eq!(done, json!({ "newest": new, "accounts": 4, "failed": 0 }));
    assert_eq!(program.json("keys re-encrypt")["accounts"], 0);
    let list = program.json("keys list");
    assert_eq!((&list[0]["in_use"], &list[1]["in_use"]), (&json!(false), &json!(true)));

    // The server has not been told of the new key.
    for (user, secret) in secrets.iter().enumerate() {
        let code = oathtool(secret, "now + 30 seconds");
        assert_eq!(server.verify(&api_key, &format!("user-{user}"), &code), 200);
    }
    server.enrol(&api_key, "user-3");
    assert_eq!(program.json("keys re-encrypt")["accounts"], 0, "new secrets are sealed with the new key");
    assert_eq!(program.run("audit verify").code, 0);
}

#[test]
fn a_secret_that_does_not_open_is_named_and_keeps_no_other_from_being_sealed() {
    let program = Program::new();
    let api_key = key(&program, "enrol");
    let server = program.serve("");
    for user in ["alice", "bob", "carol"] {
        server.enrol(&api_key, user);
    }
    server.stop("-TERM");
    sqlite(
        &program,
        "UPDATE accounts SET factors = json_set(factors, '$[0].secret', \
           (SELECT 'AAAAAAAA' || substr(secret, 9) FROM factors WHERE account = accounts.id)) \
         WHERE user = 'carol'",
    );
    program.run("keys add");
    for sealed in [3, 0] {
        let said = program.run("keys re-encrypt --json");
        assert_eq!(said.code, 1, "{said:?}");
        let answer: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&answer["accounts"], &answer["failed"]), (&json!(sealed), &json!(1)));
        assert!(said.err.contains("(user carol of tenant default)"), "{}", said.err);
    }
}

#[test]
fn a_running_server_seals_with_a_key_that_is_added() {
    let program = Program::new();
    let api_key = key(&program, "enrol");
    let server = program.serve("--set re_encryption=false");
    program.run("keys add");
    // It looks every two seconds.
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(100));
        if server.log().contains("the key ring was reloaded") {
            break;
        }
    }
    assert_eq!(program.json("keys list")[1]["in_use"], false);
    server.enrol(&api_key, "alice");
    assert_eq!(program.json("keys list")[1]["in_use"], true);
}

#[test]
fn a_running_server_seals_anew_and_the_old_key_can_go_once_nothing_needs_it() {
    let program = Program::new();
    let api_key = key(&program, "verify,enrol");
    let server = program.serve("--set re_encryption=false");
    let secret = server.enrol(&api_key, "alice");
    let old = program.json("keys list")[0]["id"].as_str().unwrap().to_owned();

    let said = program.run(&format!("keys remove {old}"));
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("the newest key cannot be removed"), "{}", said.err);
    assert_eq!(program.run("keys remove nosuchkey").code, 2);

    // On standby it opens, seals nothing, and keeps the old one in use.
    let new = program.json("keys add --standby")["id"].as_str().unwrap().to_owned();
    assert_eq!(program.run("keys add --standby").code, 2);
    let states = || {
        let list = program.json("keys list");
        let row = |n: usize| (list[n]["state"].as_str().unwrap().to_owned(), list[n]["in_use"] == true);
        (row(0), row(1))
    };
    let state = |state: &str, in_use| (state.to_owned(), in_use);
    assert_eq!(states(), (state("seals", true), state("standby", false)));
    server.enrol(&api_key, "bob");
    assert_eq!(program.json("keys re-encrypt")["accounts"], 0);
    assert_eq!(states(), (state("seals", true), state("standby", false)));

    assert_eq!(program.json(&format!("keys promote {new}"))["promoted"], true);
    assert_eq!(program.run(&format!("keys promote {new}")).code, 2);
    let said = program.run(&format!("keys remove {old}"));
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("is still in use; nothing was removed"), "{}", said.err);

    server.stop("-TERM");
    let server = program.serve("");
    let done = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        states() == (state("opens", false), state("seals", true))
    });
    assert!(done, "{:?}\n{}", states(), server.log());
    assert_eq!(program.json(&format!("keys remove {old}"))["removed"], true);
    assert_eq!(program.json("keys list").as_array().unwrap().len(), 1);
    assert!(!server.log().contains("the key ring lacks"), "{}", server.log());
    assert_eq!(server.verify(&api_key, "alice", &oathtool(&secret, "now + 30 seconds")), 200);
    assert_eq!(program.run("audit verify").code, 0);
    server.stop("-TERM");
    let server = program.serve("");
    server.enrol(&api_key, "carol");
}

#[test]
fn a_user_is_shown_unlocked_and_reset() {
    let program = Program::new();
    let api_key = key(&program, "verify,enrol");
    let server = program.serve("");
    for line in [
        "user show alice",
        "user show alice --json",
        "user events alice",
        "user unlock alice",
        "user reset alice",
    ] {
        let said = program.run(line);
        let told = "mfa-server: there is no user alice in tenant default\n";
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", told), "{line}");
    }
    let secret = server.enrol(&api_key, "alice");
    let status = program.json("user show alice");
    assert_eq!((&status["enrolled"], &status["factors"][0]["state"]), (&json!(true), &json!("active")));
    assert_eq!(status["backup_codes"], json!({ "remaining": 10, "total": 10 }));
    let shown = program.run("user show alice").out;
    assert!(shown.contains("10 of 10 left") && !shown.contains(&secret), "{shown}");

    let wrong = if oathtool(&secret, "now") == "000000" { "000001" } else { "000000" };
    (0..5).for_each(|_| assert_eq!(server.verify(&api_key, "alice", wrong), 401));
    assert_eq!(server.verify(&api_key, "alice", wrong), 429);
    assert!(program.json("user show alice")["locked_until"].is_string());
    assert_eq!(program.run("user unlock alice --reason called").code, 0);
    assert_eq!(server.verify(&api_key, "alice", &oathtool(&secret, "now + 30 seconds")), 200);

    assert_eq!(program.json("user reset alice --reason lost-phone")["reset"], true);
    assert_eq!(program.json("user show alice")["factors"], json!([]));
    let events = program.json("user events alice");
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &last["actor"]), (&json!("reset"), &json!("admin cli:anna")));
    assert_eq!(last["detail"]["reason"], "lost-phone");
    assert!(program.run("user events alice").out.contains("unlocked"));

    // Not an id: nobody sees what is in it.
    assert_eq!(program.run("user show a\u{200b}b").code, 2);
    assert_eq!(program.run("user show a/b").code, 1);
    assert_eq!(program.run("user show alice --tenant other").code, 1);
}

#[test]
fn the_users_of_a_tenant_are_listed_page_by_page() {
    let program = Program::new();
    let theirs = |tenant: &str| {
        let made = program.json(&format!("api-key create --init --tenant {tenant} --scope verify enrol"));
        made["key"].as_str().unwrap().to_owned()
    };
    let keys = ["beta", "acme", "gamma"].map(theirs);
    let server = program.serve("");
    for user in ["dora", "alice", "carol", "bob"] {
        server.enrol(&keys[0], user);
    }
    server.enrol(&keys[1], "zoe");
    server.enrol(&keys[2], "aaron");
    (0..5).for_each(|_| assert_eq!(server.verify(&keys[0], "bob", "000000"), 401));
    let list = |line: &str| {
        let list = program.json(&format!("user list {line}"));
        let users =
            list["users"].as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap().to_owned());
        (users.collect::<Vec<_>>().join(" "), list["next"].clone())
    };
    let all = "alice bob carol dora".to_owned();
    assert_eq!(list("--tenant beta"), (all.clone(), Value::Null));
    assert_eq!(list("--tenant beta --limit 4"), (all, Value::Null));
    assert_eq!(list("--tenant beta --limit 3"), ("alice bob carol".to_owned(), json!("carol")));
    assert_eq!(list("--tenant beta --after carol"), ("dora".to_owned(), Value::Null));
    assert_eq!(list("--tenant beta --after b --limit 1"), ("bob".to_owned(), json!("bob")));
    assert_eq!(list("--tenant beta --after dora"), (String::new(), Value::Null));
    assert_eq!(list("--tenant acme"), ("zoe".to_owned(), Value::Null));
    assert_eq!(list(""), (String::new(), Value::Null));
    let shown = program.run("user list --tenant beta --limit 2").out;
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[1].starts_with("alice") && lines[1].contains("  open, 5 attempts left"), "{shown}");
    assert!(lines[2].contains("locked until"), "{shown}");
    assert!(shown.contains("\nThere are more"), "{shown}");
    assert_eq!(program.run("user list --limit 0").code, 2);

    sqlite(&program, "UPDATE accounts SET audit_hash = x'00' WHERE user = 'alice'");
    let said = program.run("user list --tenant beta --limit 2 --json");
    assert!(said.code == 1 && said.out.contains("bob") && said.out.contains("carol"), "{said:?}");
    assert!(said.err.contains("user alice of tenant beta cannot be read"), "{said:?}");
}

#[test]
fn a_changed_audit_trail_is_found() {
    let program = Program::new();
    let api_key = key(&program, "verify,enrol");
    let server = program.serve("");
    for user in ["alice", "bob", "carol"] {
        server.enrol(&api_key, user);
    }
    server.stop("-TERM");
    let whole = program.json("audit verify");
    // Those of the users, and that of the signing keys.
    assert_eq!((&whole["accounts"], &whole["broken"]), (&json!(4), &json!([])));
    assert!(whole["events"].as_u64().unwrap() >= 10);
    assert!(program.run("audit verify").out.contains("every chain is intact"));

    // Whoever can write to the database can get around its triggers, if it has any.
    let triggers = sqlite(&program, "SELECT name FROM sqlite_schema WHERE type = 'trigger'");
    triggers.lines().for_each(|name| drop(sqlite(&program, &format!("DROP TRIGGER \"{name}\""))));
    sqlite(
        &program,
        "UPDATE events SET at = at + 1 WHERE id = (SELECT min(id) FROM events WHERE tenant = 'default')",
    );
    let said = program.run("audit verify --json");
    assert_eq!(said.code, 1, "{said:?}");
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        found["broken"],
        json!([{ "tenant": "default", "user": "alice", "sequence": 1, "what": "broken" }])
    );

    sqlite(&program, "DELETE FROM events WHERE id = (SELECT max(id) FROM events)");
    let said = program.run("audit verify");
    assert!(said.out.contains("BROKEN  user carol of tenant default, at event "), "{}", said.out);
    assert!(said.out.contains("2 chains are broken"), "{}", said.out);
}
