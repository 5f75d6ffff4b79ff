//! Whose the files are that commands leave behind, where a server runs as another user.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use crate::program::{Program, Said, oathtool};

const NOBODY: u32 = 65534;

/// Owner, group and mode of everything in a folder.
fn owners(folder: &Path) -> BTreeMap<String, (u32, u32, u32)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (metadata.uid(), metadata.gid(), metadata.mode() & 0o777))
    });
    entries.collect()
}

#[test]
fn whatever_root_runs_beside_a_server_of_another_user_takes_no_login_down() {
    let program = Program::new();
    let Some(server) = program.as_nobody() else { return };
    let data = program.data("");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o750)).unwrap();

    // Root comes first, and makes everything there is.
    let api_key = program.json("api-key create --init --scope verify enrol");
    let api_key = api_key["key"].as_str().unwrap();
    let server = program.serve_as(server, "--set re_encryption=false");
    let secret = server.enrol(api_key, "alice");
    chown(program.data("keyring.toml"), Some(NOBODY), Some(4711)).unwrap();
    fs::set_permissions(program.data("keyring.toml"), Permissions::from_mode(0o640)).unwrap();

    let old = program.json("keys list")[0]["id"].as_str().unwrap().to_owned();
    let new = program.json("keys add --standby")["id"].as_str().unwrap().to_owned();
    program.json(&format!("keys promote {new}"));
    program.json("keys re-encrypt");
    program.json("audit checkpoint --out mfa-data/checkpoint.jsonl");
    program.json("audit export --out mfa-data/export.jsonl");
    program.json(&format!("keys remove {old}"));
    for (name, owner) in owners(&data) {
        let expected = if name == "keyring.toml" { (NOBODY, 4711, 0o640) } else { (NOBODY, NOBODY, 0o600) };
        assert_eq!(owner, expected, "{name}");
    }
    // Once the server has taken the new ring up.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.verify(api_key, "alice", &oathtool(&secret, "now + 30 seconds")), 200);
    server.stop("-TERM");
    assert_eq!(program.run("user show alice").code, 0);
    let server = program.serve_as(program.as_nobody().unwrap(), "");
    server.enrol(api_key, "bob");
}

#[test]
fn who_cannot_keep_the_owner_of_a_file_is_refused_and_changes_nothing() {
    let program = Program::new();
    let Some(mut nobody) = program.as_nobody() else { return };
    program.json("api-key create --init --scope verify");
    let old = program.json("keys list")[0]["id"].as_str().unwrap().to_owned();
    program.json("keys add");
    // Root's folder, in which the group of the server may write.
    let data = program.data("");
    chown(&data, None, Some(NOBODY)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o770)).unwrap();
    for name in owners(&data).into_keys() {
        chown(data.join(&name), None, Some(NOBODY)).unwrap();
        fs::set_permissions(data.join(&name), Permissions::from_mode(0o660)).unwrap();
    }
    let (before, ring) = (owners(&data), fs::read(program.data("keyring.toml")).unwrap());
    let mut run = |line: &str| {
        let said = Said::of(&nobody.args(line.split(' ')).output().unwrap());
        nobody = program.as_nobody().unwrap();
        said
    };
    for line in ["keys add", &format!("keys remove {old}")] {
        let said = run(line);
        assert_eq!(said.code, 3, "{line}: {said:?}");
        assert!(said.err.contains("keyring.toml would not keep its owner and mode"), "{}", said.err);
        assert!(said.err.contains("nothing was changed"), "{}", said.err);
    }
    let out = program.data("out.jsonl");
    fs::write(&out, "kept").unwrap();
    for line in ["audit checkpoint --out mfa-data/out.jsonl", "audit export --out mfa-data/out.jsonl"] {
        assert_eq!(run(line).code, 3, "{line}");
    }
    assert_eq!(fs::read(&out).unwrap(), b"kept");
    fs::remove_file(out).unwrap();
    assert_eq!(fs::read(program.data("keyring.toml")).unwrap(), ring);
    let after: BTreeMap<_, _> =
        owners(&data).into_iter().filter(|(name, _)| !name.contains(".db-")).collect();
    assert_eq!(after, before);
}
