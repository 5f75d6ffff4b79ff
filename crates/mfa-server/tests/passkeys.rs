//! The relying party of passkeys: its configuration, and what the server tells browsers of it.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::process::Command;

use serde_json::{Value, json};

use crate::program::{self, Program, Said, Server};

const REAL: &str = "--set webauthn.rp_id=example.com --set webauthn.origins=https://login.example.com";

fn get(server: &Server, path: &str) -> (u16, Value) {
    server.call("", "GET", path, &Value::Null)
}

#[test]
fn what_no_browser_could_work_with_is_refused_by_name() {
    let program = Program::new();
    assert_eq!(program.run(&format!("config check {REAL}")).out, "OK\n");
    let of_id = [
        "co.uk",
        "org",
        "Example.com",
        "m\u{fc}nchen.example",
        "127.0.0.1",
        "example.com.",
        "example.com:443",
        "https://example.com",
    ];
    let of_id = of_id.map(|id| ("rp_id", vec![format!("rp_id={id}"), format!("origins=https://{id}")]));
    let of_origins = [
        "http://example.com",
        "http://127.0.0.1:3000",
        "https://example.com/login",
        "https://mfa@example.com",
        "example.com",
        "*",
    ];
    let example = "rp_id=example.com".to_owned();
    let of_origins = of_origins.map(|origin| ("origins", vec![example.clone(), format!("origins={origin}")]));
    let others = [
        ("rp_id", vec!["origins=https://example.com".to_owned()]),
        ("rp_id", vec!["origins=http://localhost:3000".to_owned(), "listen=0.0.0.0:8080".to_owned()]),
        ("origins", vec![example]),
        ("name", vec!["name=a:b".to_owned()]),
        ("attestation", vec!["attestation=trusted".to_owned()]),
        ("enroll_url", vec!["enroll_url=http://example.com/new".to_owned()]),
        ("manage_url", vec!["manage_url=/account".to_owned()]),
    ];
    for (key, settings) in of_id.into_iter().chain(of_origins).chain(others) {
        let mut command = program.command("config check");
        for setting in &settings {
            let option = if setting.starts_with("listen=") { "" } else { "webauthn." };
            command.args(["--set", &format!("{option}{setting}")]);
        }
        let said = Said::of(&command.output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{settings:?}: {said:?}");
        let named = [format!(" webauthn.{key} (flag --set): "), format!(" webauthn.{key}: ")];
        assert!(named.iter().any(|name| said.err.contains(name)), "{key} {settings:?}: {}", said.err);
    }
}

/// An operator who sets one of these expects it to hold.
#[test]
fn what_only_attestation_could_enforce_is_refused_without_it() {
    let program = Program::new();
    let model = "08987058-cadc-4b81-b6e1-30de50dcbe96";
    for setting in [
        &format!("authenticators={model}"),
        "roots_file=roots.pem",
        "metadata_file=blob.jwt",
        "metadata_roots_file=roots.pem",
    ] {
        let said = program.run(&format!("config check --set webauthn.{setting}"));
        let key = setting.split('=').next().unwrap();
        assert_eq!(said.code, 2, "{setting}: {said:?}");
        assert!(said.err.contains(&format!("webauthn.{key} (flag --set): must be ")), "{}", said.err);
    }
    let trusted = "config check --set webauthn.attestation=trusted --set webauthn.roots_file=no.pem";
    let said = program.run(trusted);
    assert_eq!(said.code, 2, "{said:?}");
    let missing = "webauthn.roots_file (flag --set): no.pem cannot be read: No such file";
    assert!(said.err.contains(missing), "{}", said.err);
    for models in ["not-a-model", "00000000-0000-0000-0000-000000000000", &model.to_uppercase()] {
        let said = program.run(&format!("{trusted} --set webauthn.authenticators={models}"));
        assert!(said.err.contains("webauthn.authenticators (flag --set): must be AAGUIDs"), "{}", said.err);
    }
}

/// Sign-ins need no metadata, and the operator may find out about a damaged file only by a restart.
#[test]
fn a_damaged_metadata_blob_stops_no_start() {
    let program = Program::new();
    let write =
        |name: &str, content: &str| std::fs::write(program.folder.path().join(name), content).unwrap();
    let blob = include_str!("data/metadata_7.jwt");
    write("roots.pem", include_str!("data/metadata_root.pem"));
    write("blob.jwt", blob);
    let options = format!(
        "{REAL} --set webauthn.attestation=trusted --set webauthn.metadata_file=blob.jwt \
         --set webauthn.metadata_roots_file=roots.pem"
    );
    assert_eq!(program.run(&format!("config check {options}")).out, "OK\n");
    let log = program.serve(&options).log();
    assert!(log.contains("the metadata of authenticators was read"), "{log}");
    let copy = program.data("webauthn-metadata.jwt");
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), blob);

    write("blob.jwt", &blob[..blob.len() / 2]);
    let said = program.run(&format!("config check {options}"));
    assert_eq!(said.code, 2, "{said:?}");
    let why = "webauthn.metadata_file (flag --set): blob.jwt is not valid: it is not a metadata blob";
    assert!(said.err.contains(why), "{}", said.err);
    let log = program.serve(&options).log();
    assert!(log.contains("The last good blob is used instead") && log.contains("blob.jwt"), "{log}");

    std::fs::remove_file(&copy).unwrap();
    let server = program.serve(&options);
    let log = server.log();
    assert!(log.contains("no new passkey is accepted, since webauthn.metadata_file is not valid"), "{log}");
    assert_eq!(get(&server, "/readyz").0, 200);
    assert!(!copy.exists());
}

#[test]
fn one_origin_in_a_file_must_be_a_list_too() {
    let program = Program::new();
    let file = "[webauthn]\nrp_id = 'example.com'\norigins = 'https://example.com'\n";
    std::fs::write(program.folder.path().join("mfa.toml"), file).unwrap();
    let said = program.run("config check --config mfa.toml");
    assert!(said.err.contains("webauthn.origins (mfa.toml, line 3): must be a list"), "{}", said.err);
}

#[test]
fn the_log_tells_whom_passkeys_are_for_and_which_option_turns_them_on() {
    let program = Program::new();
    let server = program.serve("");
    let (_, port) = server.address.split_once(':').unwrap();
    let log = server.log();
    assert!(log.contains("webauthn.rp_id is not set"), "{log}");
    assert!(log.contains(&format!("http://localhost:{port}")), "{log}");
    drop(server);

    let log = program.serve(REAL).log();
    assert!(log.contains("passkeys are on") && log.contains("https://login.example.com"), "{log}");

    // The arguments that follow are the shell's own.
    let mut everywhere = Command::new("sh");
    everywhere.args(["-c", "exec \"$0\" serve --listen 0.0.0.0:0"]).arg(program::program());
    let server = program.serve_as(everywhere, "");
    let log = server.log();
    assert!(log.contains("passkeys are off, since webauthn.rp_id is not set"), "{log}");
}

#[test]
fn browsers_are_told_the_related_origins_and_the_pages_for_passkeys() {
    let program = Program::new();
    let server = program.serve(REAL);
    for path in ["/.well-known/webauthn", "/.well-known/passkey-endpoints"] {
        let (status, problem) = get(&server, path);
        assert_eq!((status, &problem["type"]), (404, &json!("/problems/not-found")), "{path}");
    }
    drop(server);

    let server = program.serve(
        "--set webauthn.rp_id=example.com \
         --set webauthn.origins=https://login.example.com,https://example.co.uk \
         --set webauthn.manage_url=https://login.example.com/passkeys",
    );
    let (status, related) = get(&server, "/.well-known/webauthn");
    assert_eq!((status, related), (200, json!({ "origins": ["https://example.co.uk"] })));
    let (status, pages) = get(&server, "/.well-known/passkey-endpoints");
    assert_eq!((status, pages), (200, json!({ "manage": "https://login.example.com/passkeys" })));
}

#[test]
fn another_domain_is_refused_until_its_passkeys_are_given_up_by_name() {
    const OTHER: &str = "--set webauthn.rp_id=example.org --set webauthn.origins=https://example.org";
    let program = Program::new();
    let made = program.json("api-key create --init --scope enrol");
    let key = made["key"].as_str().unwrap();
    let offer = |server: &Server, user: &str| {
        let body = json!({ "kind": "passkey", "label": "Laptop" });
        server.call(key, "POST", &format!("/v1/users/{user}/factors"), &body).0
    };
    let details = || -> Vec<Value> {
        let events = program.json("user events relying-party --tenant mfa-server");
        events.as_array().unwrap().iter().map(|event| event["detail"].clone()).collect()
    };
    let refused = |line: &str, why: &str| {
        let before = details();
        let said = program.run(&format!("serve --listen 127.0.0.1:0 {line}"));
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{line}: {said:?}");
        assert!(said.err.contains(why), "{why} in {}", said.err);
        assert_eq!(details(), before);
    };

    let server = program.serve("");
    assert_eq!(offer(&server, "alice"), 201);
    drop(server);
    let server = program.serve(REAL);
    assert!(server.log().contains("passkeys for this domain are given up"), "{}", server.log());
    assert_eq!(offer(&server, "alice"), 201);
    drop(server);
    drop(program.serve(REAL));
    let moved = [
        json!({ "from": "", "to": "localhost", "stranded": "0" }),
        json!({ "from": "localhost", "to": "example.com", "stranded": "unknown" }),
    ];
    assert_eq!(details(), moved);

    let wrong = format!("{OTHER} --set webauthn.abandon_rp_id=example.net");
    refused(&wrong, "webauthn.abandon_rp_id is \"example.net\", but passkeys are for example.com");
    let damage = "UPDATE accounts SET audit_hash = x'00' WHERE user = 'alice'";
    assert!(Command::new("sqlite3").arg(program.data("mfa.db")).arg(damage).status().unwrap().success());
    refused(
        OTHER,
        "0 passkeys of 0 users are for example.com and cannot be used for example.org; 1 account cannot be read",
    );

    let server = program.serve(&format!("{OTHER} --set webauthn.abandon_rp_id=example.com"));
    assert_eq!(offer(&server, "bob"), 201);
    drop(server);
    drop(program.serve(OTHER));
    assert_eq!(details()[2], json!({ "from": "example.com", "to": "example.org", "stranded": "unknown" }));
    assert_eq!(details().len(), 3);
    assert!(!program.run("user list").out.contains("relying-party"));
}
