//! When the program refuses, and what it says: nothing is lost, and nothing is made anew.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::{self, Program, Said};

const REFUSED: i32 = 3;

/// A data directory in which a secret is sealed.
fn with_a_secret() -> Program {
    let program = Program::new();
    let key = program.json("api-key create --init --scope enrol");
    program.serve("").enrol(key["key"].as_str().unwrap(), "alice");
    program
}

fn refused(program: &Program, line: &str, why: &str) {
    let said = program.run(line);
    assert_eq!(said.code, REFUSED, "{line}: {said:?}");
    assert!(said.err.contains(why), "{why} in {}", said.err);
    assert!(said.out.is_empty(), "{}", said.out);
}

#[test]
fn a_second_server_on_one_database_is_refused_and_commands_are_not() {
    let program = Program::new();
    let server = program.serve("");
    refused(&program, "serve --listen 127.0.0.1:0", "another server is running on the database ");
    // By whatever other name.
    let link = program.folder.path().join("link.db");
    std::fs::hard_link(program.data("mfa.db"), &link).unwrap();
    let elsewhere = format!("serve --listen 127.0.0.1:0 --store sqlite:{}", link.display());
    refused(&program, &elsewhere, "another server is running on the database ");
    std::fs::remove_file(link).unwrap();
    assert_eq!(program.json("api-key list").as_array().unwrap().len(), 1);
    drop(server);
    program.serve("");
}

#[test]
fn a_wrong_key_ring_is_refused_with_the_missing_key_and_nothing_is_changed() {
    let program = with_a_secret();
    let ring = program.data("keyring.toml");
    let right = std::fs::read(&ring).unwrap();
    let missing = program.json("keys list")[0]["id"].as_str().unwrap().to_owned();

    let other = with_a_secret();
    std::fs::copy(other.data("keyring.toml"), &ring).unwrap();
    let wrong = std::fs::read(&ring).unwrap();
    for line in ["serve --listen 127.0.0.1:0", "keys add", "keys re-encrypt", "user show alice"] {
        refused(&program, line, &format!("it lacks key {missing}"));
    }
    assert_eq!(std::fs::read(&ring).unwrap(), wrong);

    let said = program.run("keys list --json");
    assert_eq!(said.code, REFUSED);
    let keys: Value = serde_json::from_str(&said.out).unwrap();
    let key = keys.as_array().unwrap().iter().find(|key| key["id"] == *missing).unwrap();
    assert_eq!((&key["in_use"], &key["missing"]), (&json!(true), &json!(true)), "{keys}");

    std::fs::write(&ring, right).unwrap();
    program.serve("");
}

#[test]
fn a_lost_key_ring_is_not_made_anew_for_a_database_that_needs_it() {
    let program = with_a_secret();
    std::fs::remove_file(program.data("keyring.toml")).unwrap();
    for line in ["serve --listen 127.0.0.1:0", "api-key create --scope verify", "keys add"] {
        refused(&program, line, "the key ring is missing, and the database needs key ");
    }
    assert!(!program.data("keyring.toml").exists());
}

#[test]
fn a_damaged_key_ring_is_named_by_line_and_not_quoted() {
    let program = with_a_secret();
    let ring = program.data("keyring.toml");
    let text = std::fs::read_to_string(&ring).unwrap();
    std::fs::write(&ring, text.replace("key = \"", "key = \"A")).unwrap();
    refused(
        &program,
        "serve --listen 127.0.0.1:0",
        "the key ring mfa-data/keyring.toml is damaged: key number 1",
    );
    let event_ids = text.lines().find(|line| line.starts_with("event_ids")).unwrap();
    for changed in ["", "event_ids = 'hunter2'"] {
        std::fs::write(&ring, text.replace(event_ids, changed)).unwrap();
        let why = "is damaged: event_ids is missing, or is not 32 bytes in base64";
        refused(&program, "serve --listen 127.0.0.1:0", why);
        assert!(!program.run("user show alice").err.contains("hunter2"));
    }
}

#[test]
fn keys_that_everybody_can_write_are_refused() {
    let program = with_a_secret();
    assert_eq!(program.run("audit checkpoint --out checkpoint.jsonl").code, 0);
    let chmod = |file: &str, mode| {
        std::fs::set_permissions(program.data(file), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod("keyring.toml", 0o602);
    let why = "every user of this machine can write the key ring mfa-data/keyring.toml";
    for line in ["serve --listen 127.0.0.1:0", "keys add", "user show alice"] {
        refused(&program, line, why);
    }
    assert!(program.run("config check").err.contains(why));
    chmod("keyring.toml", 0o644);
    chmod("audit-signing.pem", 0o666);
    let why = "every user of this machine can write the signing key mfa-data/audit-signing.pem";
    refused(&program, "audit checkpoint --out checkpoint.jsonl", why);
    refused(&program, "serve --listen 127.0.0.1:0 --set audit.checkpoint_dir=c", why);
    chmod("audit-signing.pem", 0o644);
    program.serve("--set audit.checkpoint_dir=c");
}

#[test]
fn a_clock_before_1970_is_refused_before_anything_is_made() {
    let program = Program::new();
    let mut clock = Command::new("faketime");
    clock.arg("1969-12-31 12:00:00").arg(program::program()).current_dir(program.folder.path());
    let output = program::unconfigured(clock).args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = Said::of(&output);
    assert_eq!(said.code, REFUSED, "{said:?}");
    assert!(said.err.contains("the clock of this machine shows a time before 1970"), "{}", said.err);
    assert!(!program.data("").exists());
}

#[test]
fn the_key_ring_may_come_from_the_environment_and_is_held_to_the_same() {
    let program = with_a_secret();
    let ring = program.data("keyring.toml");
    let text = std::fs::read_to_string(&ring).unwrap();
    std::fs::remove_file(&ring).unwrap();
    let show = |text: &str| {
        Said::of(&program.command("user show alice").env("MFA_KEY_RING", text).output().unwrap())
    };
    assert_eq!(show(&text).code, 0, "{:?}", show(&text));
    let moved = program.folder.path().join("secret");
    std::fs::write(&moved, &text).unwrap();
    let output = program.command("user show alice").env("MFA_KEY_RING_FILE", &moved).output().unwrap();
    assert_eq!(Said::of(&output).code, 0);

    let other = with_a_secret();
    assert_eq!(show(&std::fs::read_to_string(other.data("keyring.toml")).unwrap()).code, REFUSED);
    let output = program.command("keys add").env("MFA_KEY_RING", &text).output().unwrap();
    assert!(Said::of(&output).err.contains("which this command cannot change"));
}

#[test]
fn a_database_that_is_damaged_or_of_another_program_is_refused() {
    let program = Program::new();
    std::fs::create_dir(program.data("")).unwrap();
    std::fs::write(program.data("mfa.db"), "this is no database, and long enough to be sure".repeat(100))
        .unwrap();
    refused(
        &program,
        "serve --listen 127.0.0.1:0",
        "mfa-server: the database mfa-data/mfa.db cannot be opened: the file is not an SQLite database",
    );
    assert!(!program.data("keyring.toml").exists());

    std::fs::remove_file(program.data("mfa.db")).unwrap();
    let made =
        Command::new("sqlite3").arg(program.data("mfa.db")).arg("CREATE TABLE t (x)").status().unwrap();
    assert!(made.success());
    refused(&program, "serve --listen 127.0.0.1:0", "another program's database");

    let program = with_a_secret();
    let path = program.data("mfa.db");
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    let said = program.run("serve --listen 127.0.0.1:0");
    assert_eq!(said.code, REFUSED, "{said:?}");
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let program = with_a_secret();
    let newer = "INSERT INTO _sqlx_migrations SELECT 99999999999999, description, installed_on, success, \
                 checksum, execution_time FROM _sqlx_migrations LIMIT 1";
    assert!(Command::new("sqlite3").arg(program.data("mfa.db")).arg(newer).status().unwrap().success());
    refused(&program, "serve --listen 127.0.0.1:0", "a newer version of this program wrote the database");
}

#[test]
fn on_a_full_disk_nothing_is_accepted_and_nothing_lost_and_the_server_stays_up() {
    let program = Program::new();
    let key = program.json("api-key create --init --scope enrol");
    let key = key["key"].as_str().unwrap();
    // A limit on the size of files stands for the disk.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\""]).arg(program::program());
    let server = program.serve_as(limited, "");
    let body = json!({ "kind": "totp", "label": "Phone" });
    let enrol = |user: u32| server.call(key, "POST", &format!("/v1/users/user-{user}/factors"), &body);
    let accepted = (0..1000).take_while(|user| enrol(*user).0 == 201).count();
    assert!((1..1000).contains(&accepted), "{accepted}");
    let (status, problem) = enrol(1000);
    assert_eq!((status, &problem["type"]), (503, &json!("/problems/unavailable")));
    assert_eq!(server.call("", "GET", "/healthz", &Value::Null).0, 200);
    assert!(server.stop("-TERM").0.success());

    let found = program.json("audit verify");
    // One more has the signing keys.
    assert_eq!((&found["accounts"], &found["broken"]), (&json!(accepted + 1), &json!([])));
    assert_eq!(program.serve("").call(key, "POST", "/v1/users/late/factors", &body).0, 201);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let program = Program::new();
    std::fs::write(program.folder.path().join("file"), "").unwrap();
    let said = program.run("serve --data-dir file");
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("mfa-server: the data directory file cannot be created: "), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);

    // Whoever is root may write anywhere, so this is tried as somebody else.
    let dir = program.folder.path().join("read-only");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o555)).unwrap();
    let somebody = program.as_nobody();
    let mut command = somebody.unwrap_or_else(|| program::unconfigured(Command::new(program::program())));
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&dir).output().unwrap();
    let said = Said::of(&output);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("mfa.db cannot be written: Permission denied"), "{}", said.err);
}

#[test]
fn a_wrong_data_directory_is_not_made_by_commands_that_only_look() {
    let program = Program::new();
    let create = "api-key create --scope verify";
    for line in ["user show alice", create, "api-key list", "keys list", "audit verify", "keys add"] {
        let said = program.run(line);
        assert_eq!(said.code, 2, "{line}: {said:?}");
        assert!(
            said.err.contains("there is no database mfa-data/mfa.db; is --data-dir right?"),
            "{}",
            said.err
        );
    }
    assert!(!program.data("").exists());
    for line in [create, "api-key create --init --scope verify"] {
        let said = program.run(&format!("{line} --store memory:"));
        assert!(said.code == 2 && said.err.contains("the store is memory:"), "{said:?}");
    }

    // What a first start leaves that was broken off is no installation either.
    program.run("api-key create --init --scope verify");
    let made = program.run(create);
    assert_eq!(made.code, 0, "{made:?}");
    let emptied =
        Command::new("sqlite3").arg(program.data("mfa.db")).arg("DELETE FROM api_keys").status().unwrap();
    assert!(emptied.success());
    let said = program.run(create);
    assert!(said.code == 2 && said.err.contains("there is no installation in"), "{said:?}");
}

#[test]
fn a_database_server_that_is_not_there_is_named_without_its_password() {
    let said = Program::new().run("serve --store postgres://mfa:hunter2@127.0.0.1:1/mfa");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no PostgreSQL server can be reached at 127.0.0.1:1"), "{}", said.err);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    let said = Program::new().run("serve --store postgres://mfa:hunter2@127.0.0.1:port/mfa");
    assert_eq!(said.code, 2);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}
