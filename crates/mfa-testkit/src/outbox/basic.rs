//! Messages: the store reads them back as they were put, or puts none of them.

use std::collections::BTreeSet;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Handle, KeyId, Message, MessageState, Sealed, Sending, TenantId, Version};

use super::samples::{
    claim_all, claims_exactly, keep, key, message, now, outbox, put, there, unchanged, until, with_content,
};
use crate::changes::{change, delta};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        every_field_comes_back(store),
        a_commit_puts_all_of_its_messages(store),
        a_commit_that_does_not_win_puts_nothing(store),
        another_takes_the_place_of_one(store),
        tenants_do_not_meet(store),
        a_swap_replaces_how_far_it_is_and_nothing_else(store),
        a_lost_swap_changes_nothing(store),
        what_is_not_there_is_not_swapped(store),
    ]
}

/// States of sending: every state, and every field at its limits.
fn sendings(one: &Sending) -> Vec<Sending> {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
    let sealed = |key: &str, bytes: &[u8]| Some(Sealed { key: KeyId::new(key), bytes: bytes.to_vec() });
    let failed = |how: &str| Some(how.to_owned());
    vec![
        one.clone(),
        Sending { content: sealed("clé 'ancienne' \"2026\" \\", &bytes), ..one.clone() },
        Sending { content: sealed("k2", &[]), ..one.clone() },
        Sending { content: sealed("k2", &[0]), tries: 1, ..one.clone() },
        Sending { tries: u32::MAX, last_failure: failed("not_sent"), ..one.clone() },
        Sending { last_failure: failed("it's \"so\", \\ and \u{1F510}"), ..one.clone() },
        one.claimed(until()),
        one.claimed(until()).sent(),
        one.failed("refused"),
        one.claimed(until()).failed("expired"),
        Sending { tries: u32::MAX, ..one.sent() },
    ]
}

async fn every_field_comes_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let longest_tenant = "outbox-f".repeat(TenantId::MAX_LENGTH / 8);
    let longest_user = "'\u{1F510}".repeat(51);
    let mut number = 0_u32;
    for (tenant, user) in [
        ("outbox-fields", "alice"),
        ("outbox-fields", "ALICE"),
        ("outbox-fields", "o'brien \"x\" \\ {} %s $1; --"),
        (longest_tenant.as_str(), longest_user.as_str()),
    ] {
        for sending in sendings(&message(tenant, 0).sending) {
            let expires_at = now().plus(Duration::from_millis(number.into()));
            let one = Message { account: key(tenant, user), expires_at, sending, ..message(tenant, number) };
            put(store, std::slice::from_ref(&one)).await?;
            for _ in 0..2 {
                let version = unchanged(store, &one).await?;
                ensure!(version == Version(1), "a new message is at {version:?}");
            }
            number += 1;
        }
    }
    Ok(())
}

async fn a_commit_puts_all_of_its_messages(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-several";
    let mut all: Vec<_> = (0..3).map(|number| message(CHECK, number)).collect();
    // With the first change of an account, with a later one, and with a commit that has no messages.
    put(store, &all).await?;
    all.push(message(CHECK, 3));
    put(store, &all[3..]).await?;
    let commit = change(store, &all[0].account, |_| ()).await?;
    ensure!(commit == Commit::Won, "a commit without messages did not win");
    for message in &all {
        let version = unchanged(store, message).await?;
        ensure!(version == Version(1), "a message that was put once is at {version:?}");
    }
    Ok(())
}

async fn a_commit_that_does_not_win_puts_nothing(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-lost";
    let (kept, new) = (message(CHECK, 0), message(CHECK, 1));
    let alice = &kept.account;
    put(store, std::slice::from_ref(&kept)).await?;
    let version = unchanged(store, &kept).await?;
    let both = [with_content(&kept, "another"), new.clone()];
    let others = async || {
        let read = unchanged(store, &kept).await?;
        ensure!(read == version, "a commit that did not win changed {version:?} to {read:?}");
        let found = outbox(store)?.message(&new.account.tenant, new.id).await?;
        ensure!(found.is_none(), "a commit that did not win put a message");
        Ok::<_, Violation>(())
    };

    let read = store.load(alice).await?;
    let late = delta(&read.value, alice, |draft| both.iter().for_each(|one| draft.message(one.clone())));
    let commit = change(store, alice, |_| ()).await?;
    ensure!(commit == Commit::Won, "a commit without competition was answered with {commit:?}");
    for expected in [read.version, Version(0), Version(1000)] {
        let commit = store.commit(alice, expected, &late).await?;
        ensure!(
            commit == Commit::Conflict,
            "a commit at {expected:?}, which is not stored, was answered with {commit:?}"
        );
        others().await?;
    }

    let handle = Handle::new("credential", b"outbox").unwrap();
    let commit = change(store, &key(CHECK, "owner"), |draft| draft.claim(handle.clone())).await?;
    ensure!(commit == Commit::Won, "a claim of a free handle was answered with {commit:?}");
    let commit = change(store, alice, |draft| {
        for one in &both {
            draft.message(one.clone());
        }
        draft.claim(handle.clone());
    });
    let commit = commit.await?;
    ensure!(commit == Commit::HandleTaken, "a handle of another account was claimed: {commit:?}");
    others().await
}

/// The new message replaces the old one completely, and a caller that read the old one cannot change the new
/// one.
async fn another_takes_the_place_of_one(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-place";
    let first = message(CHECK, 0);
    let tenant = &first.account.tenant;
    put(store, std::slice::from_ref(&first)).await?;
    let mut version = unchanged(store, &first).await?;
    let mut seen = BTreeSet::from([version]);
    let later = first.expires_at.plus(Duration::from_mins(1));
    let second = Message { expires_at: later, ..with_content(&first, "second") };
    let bobs = Message { account: key(CHECK, "bob"), ..with_content(&first, "third") };
    let given_up = Message { sending: first.sending.claimed(until()).failed("refused"), ..first.clone() };
    let sent = first.sending.claimed(until()).sent();
    for (before, next) in [
        (None, second.clone()),
        (Some(second.sending.claimed(until())), bobs.clone()),
        (Some(sent), second.clone()),
        (Some(second.sending.claimed(until())), given_up),
        (None, first.clone()),
    ] {
        if let Some(before) = before {
            version = keep(store, &mut there(store, &first).await?.value, version, before).await?;
            seen.insert(version);
        }
        put(store, std::slice::from_ref(&next)).await?;
        version = unchanged(store, &next).await?;
        ensure!(
            seen.insert(version),
            "a message that replaced another is at {version:?}, which was used before"
        );
        for old in seen.iter().filter(|old| **old != version) {
            let commit = outbox(store)?.swap(tenant, first.id, *old, &first.sending.sent()).await?;
            ensure!(commit == Commit::Conflict, "a swap at {old:?} won, but {version:?} is stored");
        }
        let read = unchanged(store, &next).await?;
        ensure!(read == version, "swaps that did not win changed {version:?} to {read:?}");
    }
    // It is claimed like any other message.
    claims_exactly(store, tenant, (now(), until()), &[(first.clone(), version)]).await?;
    Ok(())
}

async fn tenants_do_not_meet(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut ours = message("outbox-meet", 0);
    let theirs = Message { account: key("outbox-meet-2", "alice"), ..with_content(&ours, "theirs") };
    let nobodys = Message { account: key("outbox-meet-3", "alice"), ..ours.clone() };
    for one in [&ours, &theirs] {
        put(store, std::slice::from_ref(one)).await?;
    }
    for one in [&ours, &theirs] {
        let version = unchanged(store, one).await?;
        ensure!(version == Version(1), "with the same id in two tenants, a message is at {version:?}");
    }
    let sent = ours.sending.sent();
    keep(store, &mut ours, Version(1), sent).await?;
    let version = unchanged(store, &theirs).await?;
    ensure!(version == Version(1), "a swap in one tenant changed another to {version:?}");
    let found = outbox(store)?.message(&nobodys.account.tenant, nobodys.id).await?;
    ensure!(found.is_none(), "a tenant without messages has one");
    let commit = outbox(store)?.swap(&nobodys.account.tenant, nobodys.id, version, &nobodys.sending).await?;
    ensure!(commit == Commit::Conflict, "a message of another tenant was swapped");
    let tenant = &theirs.account.tenant;
    claims_exactly(store, tenant, (now(), until()), &[(theirs.clone(), version)]).await?;
    unchanged(store, &ours).await?;
    Ok(())
}

async fn a_swap_replaces_how_far_it_is_and_nothing_else(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut model = message("outbox-swap", 0);
    let (first, later) = (model.sending.clone(), now().plus(Duration::from_secs(5)));
    put(store, std::slice::from_ref(&model)).await?;
    let mut version = unchanged(store, &model).await?;
    for next in sendings(&first) {
        version = keep(store, &mut model, version, next).await?;
    }
    // Each field alone: into a message of another state, and back to a queued one.
    let failure = Some("unknown".to_owned());
    for next in [
        first.clone(),
        Sending { due_at: later, ..first.clone() },
        Sending { tries: 7, ..first.clone() },
        Sending { last_failure: failure, ..first.clone() },
        Sending { content: with_content(&model, "another").sending.content, ..first.clone() },
        Sending { state: MessageState::Failed, content: None, ..first.clone() },
        Sending { state: MessageState::Sent, content: None, ..first.clone() },
        first,
    ] {
        version = keep(store, &mut model, version, next).await?;
    }
    Ok(())
}

async fn a_lost_swap_changes_nothing(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut model = message("outbox-versions", 0);
    put(store, std::slice::from_ref(&model)).await?;
    let mut version = unchanged(store, &model).await?;
    for tries in 1..=3 {
        let next = Sending { tries, ..model.sending.clone() };
        version = keep(store, &mut model, version, next).await?;
    }
    let (tenant, sent) = (&model.account.tenant, model.sending.sent());
    for wrong in [0, 1, 2, 3, 5, 1000, i64::MAX.unsigned_abs()] {
        let commit = outbox(store)?.swap(tenant, model.id, Version(wrong), &sent).await?;
        ensure!(commit == Commit::Conflict, "a swap at version {wrong} won, but {version:?} is stored");
        let read = unchanged(store, &model).await?;
        ensure!(read == version, "a lost swap changed {version:?} to {read:?}");
    }
    Ok(())
}

async fn what_is_not_there_is_not_swapped(store: &dyn AccountStore) -> Result<(), Violation> {
    let model = message("outbox-never", 0);
    let tenant = &model.account.tenant;
    for version in [Version(0), Version(1)] {
        let commit = outbox(store)?.swap(tenant, model.id, version, &model.sending).await?;
        ensure!(commit == Commit::Conflict, "a message that was never put was changed");
    }
    let found = outbox(store)?.message(tenant, model.id).await?;
    ensure!(found.is_none(), "a message that was never put was found");
    let claimed = claim_all(store, tenant, (now(), until()), 100).await?;
    ensure!(claimed.is_empty(), "a message that was never put was claimed");
    Ok(())
}
