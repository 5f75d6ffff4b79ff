//! Dependencies point inward only. This test fails on any other dependency.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every crate of the workspace, with the workspace crates on which it may depend.
const ARROWS: &[(&str, &[&str])] = &[
    ("otp-core", &[]),
    ("mfa-domain", &["otp-core"]),
    ("mfa-crypto", &["mfa-domain"]),
    ("mfa-assertion", &[]),
    ("mfa-tower", &["mfa-assertion"]),
    ("mfa-audit", &["mfa-domain"]),
    ("mfa-store-memory", &["mfa-domain"]),
    ("mfa-batch", &[]),
    ("mfa-rows", &["mfa-domain"]),
    ("mfa-store-postgres", &["mfa-batch", "mfa-domain", "mfa-rows"]),
    ("mfa-store-redis", &["mfa-domain"]),
    ("mfa-store-sqlite", &["mfa-batch", "mfa-domain", "mfa-rows"]),
    ("mfa-testkit", &["mfa-domain"]),
    ("mfa-actix", &["mfa-assertion", "mfa-domain"]),
    ("mfa-webhook", &["mfa-domain"]),
    ("mfa-email", &["mfa-domain"]),
    ("mfa-webauthn", &["mfa-domain"]),
    (
        "mfa-server",
        &[
            "mfa-actix",
            "mfa-audit",
            "mfa-crypto",
            "mfa-domain",
            "mfa-email",
            "mfa-store-memory",
            "mfa-store-postgres",
            "mfa-store-redis",
            "mfa-store-sqlite",
            "mfa-webauthn",
            "mfa-webhook",
        ],
    ),
];

/// Libraries that only the crates that wrap them may use.
const WRAPPED: &[(&str, &[&str])] = &[
    ("actix-web", &["mfa-actix", "mfa-server"]),
    ("actix-http", &["mfa-server"]),
    ("actix-server", &["mfa-server"]),
    ("sqlx", &["mfa-store-postgres", "mfa-store-sqlite"]),
    ("redis", &["mfa-store-redis"]),
    ("argon2", &["mfa-crypto"]),
    ("aes", &["mfa-crypto"]),
    ("aes-gcm", &["mfa-crypto"]),
    ("ed25519-dalek", &["mfa-crypto"]),
    ("rand", &["mfa-domain"]),
    ("hmac", &["mfa-crypto", "otp-core", "mfa-webhook"]),
    ("icu_normalizer", &["mfa-domain"]),
    ("icu_properties", &["mfa-domain"]),
    ("utoipa", &["mfa-actix"]),
    ("ipnet", &["mfa-actix"]),
    ("clap", &["mfa-server"]),
    ("sntpc", &["mfa-server"]),
    ("anyhow", &["mfa-server", "xtask"]),
    ("hyper", &["mfa-webhook"]),
    ("hyper-rustls", &["mfa-webhook"]),
    ("lettre", &["mfa-email"]),
    ("webauthn-rs-core", &["mfa-webauthn"]),
    ("ciborium", &["mfa-webauthn"]),
    ("minijinja", &["mfa-actix", "mfa-email"]),
    ("tower-layer", &["mfa-tower"]),
    ("jsonwebtoken", &["mfa-tests"]),
    ("reqwest", &["mfa-tests", "xtask"]),
];

/// Libraries that the pure crates must not use, directly or indirectly.
const PURE: &[(&str, &[&str])] = &[
    ("otp-core", &["tokio", "sqlx", "actix-web", "getrandom", "time", "reqwest", "rand"]),
    ("mfa-domain", &["tokio", "sqlx", "actix-web", "axum", "hyper", "reqwest", "redis"]),
    ("mfa-assertion", &["tokio", "actix-web", "axum", "hyper", "tower", "reqwest", "time", "rand"]),
];

struct Package {
    name: String,
    /// Names of the packages that a build of the library needs, without dev-dependencies.
    needs: BTreeSet<String>,
}

fn metadata() -> (BTreeMap<String, Package>, BTreeSet<String>) {
    let metadata = cargo(&["metadata", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let package = |node: &Value| {
        let wanted =
            |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
        let needs = node["deps"].as_array().unwrap().iter().filter(wanted);
        let needs = needs.map(|dep| dep["pkg"].as_str().unwrap().to_owned()).collect();
        let id = node["id"].as_str().unwrap();
        (id.to_owned(), Package { name: names[id].to_owned(), needs })
    };
    let members = metadata["workspace_members"].as_array().unwrap();
    let members = members.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    (nodes.iter().map(package).collect(), members)
}

#[test]
fn every_arrow_points_inward() {
    let (packages, members) = metadata();
    let member_names: BTreeSet<_> = members.iter().map(|id| packages[id].name.as_str()).collect();
    for member in &members {
        let package = &packages[member];
        if ["mfa-tests", "xtask"].contains(&package.name.as_str()) {
            continue;
        }
        let allowed = ARROWS.iter().find(|(name, _)| *name == package.name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{} is missing in ARROWS", package.name));
        for need in package.needs.iter().map(|id| packages[id].name.as_str()) {
            if member_names.contains(need) {
                assert!(allowed.contains(&need), "{} must not depend on {need}", package.name);
            }
        }
    }
}

#[test]
fn wrapped_libraries_stay_in_their_crates() {
    let (packages, members) = metadata();
    for (library, allowed) in WRAPPED {
        for member in members.iter().map(|id| &packages[id]) {
            let needs = member.needs.iter().any(|id| packages[id].name == *library);
            let exempt = ["mfa-tests", "xtask"].contains(&member.name.as_str())
                || allowed.contains(&member.name.as_str());
            assert!(!needs || exempt, "{} must not depend on {library}", member.name);
        }
    }
}

#[test]
fn the_pure_crates_are_pure_all_the_way_down() {
    for (name, banned) in PURE {
        let tree = cargo(&["tree", "--package", name, "--edges", "normal", "--prefix", "none"]);
        let found: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(found.contains(name), "not a dependency tree: {tree}");
        for banned in *banned {
            assert!(!found.contains(banned), "{name} reaches {banned}");
        }
    }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).arg("--locked").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
