//! Signed assertions: what a start makes, what hosts can verify, and the commands for the keys that sign them.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::process::Command;

use mfa_assertion::{Assertion, Expected, KeySet, Verifier};
use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, SystemClock};
use mfa_domain::signing::PUBLISHED_BEFORE;
use serde_json::{Value, json};

use crate::program::{Program, Server, oathtool};

const OFF: &str = "--set assertions.enabled=false --set enrolment.proof=account";

fn api_key(program: &Program) -> String {
    program.json("api-key create --init --scope verify enrol")["key"].as_str().unwrap().to_owned()
}

/// The ids of the keys and what they do.
fn states(program: &Program) -> Vec<(String, String)> {
    let list = program.json("signing-keys list");
    let keys = list.as_array().unwrap().iter();
    keys.map(|key| (text(&key["id"]), text(&key["state"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn published(server: &Server) -> KeySet {
    let (status, keys) = server.call("", "GET", "/.well-known/jwks.json", &Value::Null);
    assert_eq!(status, 200, "{keys}");
    KeySet::from_json(&keys.to_string()).unwrap()
}

/// Enrols and verifies a user, and gives the answer.
fn verified(server: &Server, api_key: &str, user: &str) -> Value {
    let secret = server.enrol(api_key, user);
    let body = json!({ "code": oathtool(&secret, "now + 30 seconds") });
    let (status, answer) = server.call(api_key, "POST", &format!("/v1/users/{user}/verify"), &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Verifies an assertion as a host does.
fn accepted(server: &Server, answer: &Value, issuer: &str, audience: &str) -> Assertion {
    let jws = answer["assertion"].as_str().unwrap();
    let expected = Expected { subject: answer["user"].as_str().unwrap(), nonce: None };
    let now = SystemClock.now().unix_seconds();
    Verifier::new(issuer, audience).verify(&published(server), jws, expected, now).unwrap()
}

#[test]
fn a_first_start_makes_a_key_and_signs_for_its_address_and_the_tenant() {
    let program = Program::new();
    let api_key = api_key(&program);
    assert_eq!(program.json("signing-keys list"), json!([]));
    let server = program.serve("");
    let keys = program.json("signing-keys list");
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!((&keys[0]["state"], &keys[0]["algorithm"]), (&json!("signing"), &json!("ES256")));
    assert_eq!(keys[0]["signs_from"], keys[0]["created_at"]);
    let address = format!("http://{}", server.address);
    let assertion = accepted(&server, &verified(&server, &api_key, "alice"), &address, "default");
    assert_eq!(assertion.tenant, "default");
    assert_eq!(assertion.methods, ["otp"]);
    server.stop("-TERM");

    let named = "--set assertions.issuer=https://mfa.example.com/ --set assertions.audience=shop";
    let server = program.serve(named);
    assert_eq!(program.json("signing-keys list"), keys, "another start makes no other key");
    accepted(&server, &verified(&server, &api_key, "bob"), "https://mfa.example.com/", "shop");
}

#[test]
fn a_server_in_memory_has_a_key_too() {
    let program = Program::new();
    let server = program.serve("--store memory:");
    assert_eq!(published(&server).key_ids().count(), 1);
}

#[test]
fn a_server_without_assertions_makes_no_key_and_signs_nothing() {
    let program = Program::new();
    let api_key = api_key(&program);
    let server = program.serve(OFF);
    assert_eq!(verified(&server, &api_key, "alice").get("assertion"), None);
    assert_eq!(server.call("", "GET", "/.well-known/jwks.json", &Value::Null).0, 404);
    for line in ["signing-keys rotate", "signing-keys revoke abc --reason leaked"] {
        let said = program.run(&format!("{line} {OFF}"));
        let why = "mfa-server: assertions.enabled (flag --set): nothing is signed while it is false\n";
        assert_eq!((said.code, said.err.as_str()), (2, why), "{line}");
    }
    assert_eq!(program.json(&format!("signing-keys list {OFF}")), json!([]));
}

#[test]
fn a_server_that_could_never_prove_a_session_does_not_start() {
    let program = Program::new();
    for command in ["serve --listen 127.0.0.1:0", "config check"] {
        let said = program.run(&format!("{command} --set assertions.enabled=false"));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{command}: {said:?}");
        assert!(
            said.err.contains("enrolment.proof: must be account while assertions.enabled is false"),
            "{}",
            said.err
        );
    }
    assert!(!program.data("").exists());
    assert_eq!(program.run(&format!("config check {OFF}")).out, "OK\n");
}

#[test]
fn a_new_key_is_published_before_it_signs_and_a_revoked_one_is_replaced_at_once() {
    let program = Program::new();
    let api_key = api_key(&program);
    let server = program.serve("");
    let first = states(&program)[0].0.clone();

    let made = program.json("signing-keys rotate");
    let second = text(&made["id"]);
    let time = |member: &str| text(&made[member]).parse::<Timestamp>().unwrap();
    assert_eq!(time("signs_from").since(time("created_at")), PUBLISHED_BEFORE);
    let state = |id: &str, state: &str| (id.to_owned(), state.to_owned());
    assert_eq!(states(&program), [state(&first, "signing"), state(&second, "next")]);

    let revoked = program.json(&format!("signing-keys revoke {first} --reason leaked"));
    let third = text(&revoked["signing"]);
    assert_eq!(revoked, json!({ "id": first, "revoked": true, "signing": third }));
    assert_eq!(states(&program), [state(&third, "signing"), state(&second, "next")]);

    let events = program.json("user events signing-keys --tenant mfa-server");
    let event = |number: usize| {
        let event = &events[number];
        (text(&event["kind"]), text(&event["actor"]), text(&event["detail"]["key"]))
    };
    let of = |kind: &str, actor: &str, key: &str| (kind.to_owned(), format!("admin {actor}"), key.to_owned());
    assert_eq!(event(0), of("signing_key_made", "server:signing-keys", &first));
    assert_eq!(event(1), of("signing_key_made", "cli:anna", &second));
    assert_eq!(event(2), of("signing_key_revoked", "cli:anna", &first));
    assert_eq!(event(3), of("signing_key_made", "cli:anna", &third));
    assert_eq!(events[2]["detail"]["reason"], "leaked");

    server.stop("-TERM");
    let server = program.serve("");
    let keys = published(&server);
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), [third.as_str(), second.as_str()]);
    let address = format!("http://{}", server.address);
    accepted(&server, &verified(&server, &api_key, "alice"), &address, "default");
    assert_eq!(program.run("audit verify").code, 0);
}

#[test]
fn the_commands_say_when_the_new_key_signs_and_when_servers_follow() {
    let program = Program::new();
    let _server = program.serve("");
    let said = program.run("signing-keys rotate");
    assert!(
        said.out.starts_with("Created key ") && said.out.contains("(ES256). It signs from 2"),
        "{said:?}"
    );
    assert!(said.out.contains("Running servers publish the new key within a minute"), "{said:?}");
    let [first, second] = [0, 1].map(|number| states(&program)[number].0.clone());
    let said = program.run(&format!("signing-keys revoke {second} --reason leaked"));
    assert!(
        said.out.starts_with(&format!("Revoked key {second}. Running servers follow within a minute.")),
        "{said:?}"
    );
    assert!(said.out.ends_with(&format!("Key {first} signs.\n")), "{said:?}");
    let said = program.run(&format!("signing-keys revoke {first} --reason leaked"));
    let third = states(&program)[0].0.clone();
    assert!(said.out.contains(&format!("The new key {third} signs at once; hosts refuse")), "{said:?}");
    let list = program.run("signing-keys list").out;
    assert!(list.starts_with("ID ") && list.contains("signing") && list.lines().count() == 2, "{list}");

    let said = program.run("signing-keys revoke nosuchkey --reason leaked");
    assert_eq!((said.code, said.err.as_str()), (1, "mfa-server: there is no signing key nosuchkey\n"));
    assert_eq!(program.run(&format!("signing-keys revoke {third}")).code, 2, "no reason");
    assert_eq!(program.run("signing-keys list").out, list);
}

#[test]
fn a_start_with_another_algorithm_makes_a_key_for_it() {
    let program = Program::new();
    program.serve("").stop("-TERM");
    let server = program.serve("--set assertions.algorithm=EdDSA");
    let keys = program.json("signing-keys list");
    let key = |number: usize| (text(&keys[number]["algorithm"]), text(&keys[number]["state"]));
    assert_eq!(key(0), ("ES256".to_owned(), "signing".to_owned()));
    assert_eq!(key(1), ("EdDSA".to_owned(), "next".to_owned()));
    assert_eq!(published(&server).key_ids().count(), 2);
}

#[test]
fn a_damaged_key_stops_a_start_until_it_is_revoked() {
    let program = Program::new();
    program.serve("").stop("-TERM");
    let damage = "UPDATE accounts SET factors = json_set(factors, '$[0].secret', \
                    'AAAAAAAA' || substr(json_extract(factors, '$[0].secret'), 9)) WHERE user = 'signing-keys'";
    assert!(Command::new("sqlite3").arg(program.data("mfa.db")).arg(damage).status().unwrap().success());
    let said = program.run("serve --listen 127.0.0.1:0");
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("mfa-server: no key can sign assertions; `signing-keys list`"), "{}", said.err);
    let damaged = states(&program)[0].0.clone();
    assert_eq!(program.run(&format!("signing-keys revoke {damaged} --reason damaged")).code, 0);
    let server = program.serve("");
    assert_eq!(published(&server).key_ids().count(), 1);
}

#[test]
fn the_account_of_the_keys_can_be_read_but_not_changed_as_a_user() {
    let program = Program::new();
    let _server = program.serve("");
    let before = states(&program);
    assert_eq!(program.run("user show signing-keys --tenant mfa-server").code, 0);
    for command in ["reset signing-keys", "unlock signing-keys"] {
        let said = program.run(&format!("user {command} --tenant mfa-server"));
        assert_eq!(
            (said.code, said.err.as_str()),
            (2, "mfa-server: tenant mfa-server is reserved\n"),
            "{command}"
        );
    }
    assert_eq!(states(&program), before);
    assert_eq!(program.json("user list")["users"], json!([]));
}
