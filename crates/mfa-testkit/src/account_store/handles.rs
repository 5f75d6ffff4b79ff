//! Handles: each leads to one account of its tenant, and changes with that account or not at all.

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Handle, Version};

use super::samples::totp;
use super::subject::{Subject, delta, key, now};
use crate::violation::run;
use crate::{Violation, ensure};

const TENANT: &str = "handles";

pub(super) async fn handles(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        a_handle_leads_to_its_account(store),
        a_handle_is_one_accounts(store),
        what_does_not_win_claims_nothing(store),
        every_handle_there_can_be_comes_back(store),
    ]
}

pub(super) fn handle(value: impl AsRef<[u8]>) -> Handle {
    Handle::new("credential", value.as_ref()).unwrap()
}

async fn leads_to(store: &dyn AccountStore, value: &str, user: Option<&str>) -> Result<(), Violation> {
    let tenant = key(TENANT, "alice").tenant;
    let found = store.find(&tenant, &handle(value)).await?;
    let expected = user.map(|user| key(TENANT, user));
    ensure!(found == expected, "the handle {value} leads to {found:?}, not to {expected:?}");
    Ok(())
}

async fn a_handle_leads_to_its_account(store: &dyn AccountStore) -> Result<(), Violation> {
    leads_to(store, "a", None).await?;
    // With the first change of an account, with a factor, and alone.
    let mut alice = Subject::new(store, TENANT, "alice");
    alice.change(|draft| draft.claim(handle("a"))).await?;
    alice
        .change(|draft| {
            draft.put(totp(1, "k1"));
            draft.claim(handle("b"));
            draft.claim(handle("c"));
        })
        .await?;
    for value in ["a", "b", "c"] {
        leads_to(store, value, Some("alice")).await?;
    }
    // An ordinary change keeps them. An account may claim a handle again that it has.
    alice.change(|draft| draft.put(totp(1, "k1"))).await?;
    alice.change(|draft| draft.claim(handle("a"))).await?;
    leads_to(store, "a", Some("alice")).await?;
    // In the order of the delta. Releasing an absent handle changes nothing.
    alice
        .change(|draft| {
            draft.release(handle("a"));
            draft.release(handle("b"));
            draft.claim(handle("b"));
            draft.claim(handle("d"));
            draft.release(handle("d"));
            draft.release(handle("never"));
        })
        .await?;
    for (value, user) in [("a", None), ("b", Some("alice")), ("c", Some("alice")), ("d", None)] {
        leads_to(store, value, user).await?;
    }
    // Handles of different sorts and of different tenants are independent.
    let other = Handle::new("user", b"b").unwrap();
    ensure!(
        store.find(&alice.key.tenant, &other).await?.is_none(),
        "handles of two sorts are not distinguished"
    );
    let elsewhere = key("handles-2", "alice").tenant;
    ensure!(store.find(&elsewhere, &handle("b")).await?.is_none(), "a handle leads into another tenant");
    Subject::new(store, "handles-2", "bob").change(|draft| draft.claim(handle("b"))).await?;
    leads_to(store, "b", Some("alice")).await
}

async fn a_handle_is_one_accounts(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut owner = Subject::new(store, TENANT, "owner");
    owner.change(|draft| draft.claim(handle("mine"))).await?;
    for user in ["thief", "owner-2"] {
        let mut other = Subject::new(store, TENANT, user);
        // As the first change and as a later one, together with free handles.
        for round in 0..2 {
            let taken = delta(&other.model.value, &other.key, now(), |draft| {
                draft.put(totp(1, "k1"));
                draft.claim(handle("free"));
                draft.claim(handle("mine"));
                draft.attempts().fail(now());
            });
            let commit = store.commit(&other.key, other.model.version, &taken).await?;
            ensure!(commit == Commit::HandleTaken, "a handle of another account was claimed: {commit:?}");
            other.check().await?;
            other.check_events().await?;
            leads_to(store, "free", None).await?;
            other.change(|draft| draft.attempts().fail(now())).await?;
            // Releasing a handle of another account changes nothing and is no error.
            if round == 0 {
                other.change(|draft| draft.release(handle("mine"))).await?;
            }
            leads_to(store, "mine", Some("owner")).await?;
        }
    }
    owner.change(|draft| draft.release(handle("mine"))).await?;
    let mut next = Subject::new(store, TENANT, "next");
    next.change(|draft| draft.claim(handle("mine"))).await?;
    leads_to(store, "mine", Some("next")).await
}

async fn what_does_not_win_claims_nothing(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, TENANT, "late");
    let late = delta(&subject.model.value, &subject.key, now(), |draft| {
        draft.claim(handle("late"));
        draft.release(handle("kept"));
    });
    subject.change(|draft| draft.claim(handle("kept"))).await?;
    let commit = store.commit(&subject.key, Version::default(), &late).await?;
    ensure!(commit == Commit::Conflict, "a commit at version 0 won");
    leads_to(store, "late", None).await?;
    leads_to(store, "kept", Some("late")).await
}

async fn every_handle_there_can_be_comes_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let values: [&[u8]; 6] =
        [&[0], &[0, 0], b"'\"\\ {}%s", &[255; Handle::MAX_LENGTH], &[0; Handle::MAX_LENGTH], b"A"];
    let mut subject = Subject::new(store, "handles-3", "alice");
    for value in values {
        subject.change(|draft| draft.claim(handle(value))).await?;
    }
    for value in values {
        let found = store.find(&subject.key.tenant, &handle(value)).await?;
        ensure!(found.as_ref() == Some(&subject.key), "the handle {:?} leads to {found:?}", handle(value));
    }
    ensure!(
        store.find(&subject.key.tenant, &handle("a")).await?.is_none(),
        "handles are compared without case"
    );
    Ok(())
}
