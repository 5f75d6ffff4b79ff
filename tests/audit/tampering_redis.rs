//! Tampering with a trail on Redis is found and named as in the SQL databases.

use std::process::Command;

use super::installation::{Installation, Kind, found};

/// The shared start of the scripts below: the position of a user's event, counted from 1, and its removal.
const PRELUDE: &str = "
    local function name(of) return ARGV[1] .. ':{acme}:' .. of end
    local user, number = ARGV[2], tonumber(ARGV[3])
    local function id(place) return redis.call('ZRANGE', name('events:' .. user), place - 1, place - 1)[1] end
    local function remove(place)
        local id = id(place)
        redis.call('XDEL', name('events'), id .. '-0')
        redis.call('ZREM', name('events:' .. user), id)
    end
    local function last() return redis.call('ZCARD', name('events:' .. user)) end
";

/// Removes an event.
const TAKE_OUT: &str = "remove(number)";

/// Hides an event from queries for the user's events.
const HIDE: &str = "redis.call('ZREM', name('events:' .. user), id(number))";

/// Cuts off the end from an event on, with a matching head.
const CUT: &str = "
    for place = last(), number, -1 do remove(place) end
    local fields, hash = redis.call('XRANGE', name('events'), id(last()) .. '-0', '+', 'COUNT', 1)[1][2]
    for at = 1, #fields, 2 do
        if fields[at] == 'hash' then hash = fields[at + 1] end
    end
    redis.call('HSET', name('account:' .. user), 'audit_sequence', last(), 'audit_hash', hash)";

/// Removes the account with its events.
const ERASE: &str = "
    for place = last(), 1, -1 do remove(place) end
    redis.call('DEL', name('account:' .. user))
    redis.call('ZREM', name('users'), user)";

/// Changes a field of an event. A stream cannot be altered, so it is written again.
pub(super) const ALTER: &str = "
    local altered = id(number) .. '-0'
    local all = redis.call('XRANGE', name('events'), '-', '+')
    redis.call('DEL', name('events'))
    for _, entry in ipairs(all) do
        for at = 1, #entry[2], 2 do
            if entry[1] == altered and entry[2][at] == ARGV[4] then entry[2][at + 1] = ARGV[5] end
        end
        redis.call('XADD', name('events'), entry[1], unpack(entry[2]))
    end";

/// Changes a field of an account.
pub(super) fn set_of_account(installation: &Installation, user: &str, field: &str, value: &str) {
    const SET: &str = "redis.call('HSET', name('account:' .. user), ARGV[4], ARGV[5])";
    tamper(installation, SET, &[user, "0", field, value]);
}

/// Runs a script that bypasses the store.
pub(super) fn tamper(installation: &Installation, script: &str, arguments: &[&str]) {
    let (server, parameters) = installation.url.split_once('?').unwrap();
    let (_, namespace) = parameters.split_once("namespace=").unwrap();
    let script = format!("{PRELUDE}{script}\nreturn 'done'");
    let mut command = Command::new("redis-cli");
    command.args(["-u", server, "--raw", "EVAL", &script, "0", namespace]).args(arguments);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done", "{arguments:?}");
}

/// Every user has five events at the checkpoint and six now. Every trail except that of `z` is tampered with.
#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_on_redis() {
    let installation = Installation::new(Kind::Redis).await;
    let users = ["a", "b", "c", "d", "e", "f", "g", "z"];
    installation.begin(&users).await;

    tamper(&installation, TAKE_OUT, &["a", "3"]);
    tamper(&installation, CUT, &["b", "4"]);
    tamper(&installation, ERASE, &["c"]);
    tamper(&installation, ALTER, &["d", "2", "actor", "user mallory"]);
    // It is cut back and extended to its previous length.
    tamper(&installation, CUT, &["e", "4"]);
    installation.happen_otherwise("e", 2).await;
    tamper(&installation, HIDE, &["f", "4"]);
    tamper(&installation, ALTER, &["g", "3", "hash", "short"]);

    let without = [("a", 3, "broken"), ("d", 2, "broken"), ("f", 4, "broken"), ("g", 3, "unreadable")];
    assert_eq!(installation.broken("").await, found(&without), "without a checkpoint");
    let with = [
        ("a", 3, "broken"),
        ("b", 4, "end_gone"),
        ("c", 5, "account_gone"),
        ("d", 2, "broken"),
        ("e", 5, "rewritten"),
        ("f", 4, "broken"),
        ("g", 3, "unreadable"),
    ];
    assert_eq!(installation.broken("--checkpoint cp.jsonl").await, found(&with));
}
