//! Paging through accounts, and the keys that seal their secrets.

use mfa_domain::ports::{AccountEntry, AccountPlace, AccountQuery, AccountStore};
use mfa_domain::{AccountKey, KeyId, TenantId};

use super::samples::{hotp, id, pending, totp};
use super::subject::{Subject, key};
use crate::violation::run;
use crate::{Violation, ensure};

pub(super) async fn pages(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        accounts_are_paged_in_key_order(store),
        accounts_that_need_another_key_are_found(store),
        keys_in_use_are_told(store),
    ]
}

async fn accounts_are_paged_in_key_order(store: &dyn AccountStore) -> Result<(), Violation> {
    let tenants = ["page", "page-1", "page.1", "page0"].map(|tenant| TenantId::new(tenant).unwrap());
    let users = [
        "b",
        "B",
        "a",
        "a-",
        "a.",
        "a:",
        "a@",
        "aa",
        "_",
        "10",
        "9",
        "Zz",
        "zZ",
        "a+b",
        "a b",
        "a\u{a0}b",
        "A b",
        "é",
        "É",
        "ß",
        "ss",
        "日本",
        "\u{fb00}",
        "\u{1f9ff}",
        "{",
        "}",
        "{page}",
        "a}:user",
        "~",
        "%",
        "_%",
        "*",
        "\\",
        "\"",
        "'",
        "--",
        "/",
        "..",
        "[",
        "(a",
        "-",
        "+",
    ];
    let mut expected = Vec::new();
    for tenant in tenants.iter().rev() {
        // One tenant has them all; in the others only the order of the tenants matters.
        let most = if tenant.as_str() == "page-1" { users.len() } else { 5 };
        for user in &users[..most] {
            let mut subject = Subject::new(store, tenant.as_str(), user);
            subject.change(|draft| draft.attempts().clear_row()).await?;
            expected.push(subject.key);
        }
    }
    expected.sort();
    for limit in [1, 2, 7, 1000] {
        let walked = walk(store, None, limit, &tenants).await?;
        ensure!(
            walked == expected,
            "pages of {limit} do not contain every account once in key order: {walked:?}"
        );
    }
    // The next tenant is found without paging through the users of the previous one.
    let query = AccountQuery {
        after: Some(AccountPlace::after_tenant(&tenants[1])),
        not_sealed_with: None,
        second_event_before: None,
        limit: 1,
    };
    let next = store.page(&query).await?.accounts;
    let next = next.first().map(|account| &account.key.tenant);
    ensure!(next == Some(&tenants[2]), "the account after the users of {} is {next:?}", tenants[1]);
    // A resumed walk may start after an account that does not exist.
    let after = key("page-1", "a0");
    let query = AccountQuery {
        after: Some(AccountPlace::from(&after)),
        not_sealed_with: None,
        second_event_before: None,
        limit: 1,
    };
    let next = store.page(&query).await?.accounts;
    let next = next.first().map(|account| &account.key);
    let expected = expected.into_iter().find(|key| *key > after);
    ensure!(next == expected.as_ref(), "the account after {after:?} is {next:?}, not {expected:?}");
    Ok(())
}

async fn accounts_that_need_another_key_are_found(store: &dyn AccountStore) -> Result<(), Violation> {
    let tenants = [TenantId::new("reseal").unwrap()];
    let (old, new) = ("reseal-old", "reseal-new");
    let sets: [(&str, Vec<_>); 6] = [
        ("a-old", vec![totp(1, old)]),
        ("b-new", vec![totp(1, new)]),
        ("c-both", vec![totp(1, new), hotp(2, old), hotp(3, new)]),
        ("d-none", vec![]),
        ("e-pending", vec![pending(1, old)]),
        ("f-three", vec![hotp(1, old), hotp(2, old), hotp(3, "reseal-older")]),
    ];
    let mut subjects = Vec::new();
    for (user, factors) in sets {
        let mut subject = Subject::new(store, "reseal", user);
        subject.change(|draft| factors.into_iter().for_each(|factor| draft.put(factor))).await?;
        subjects.push(subject);
    }
    let found = async |key: &str, limit| -> Result<Vec<String>, Violation> {
        let walked = walk(store, Some(KeyId::new(key)), limit, &tenants).await?;
        Ok(walked.into_iter().map(|key| key.user.as_str().to_owned()).collect())
    };
    for limit in [1, 2, 1000] {
        let others = found(new, limit).await?;
        ensure!(others == ["a-old", "c-both", "e-pending", "f-three"], "not sealed with {new}: {others:?}");
        let others = found(old, limit).await?;
        ensure!(others == ["b-new", "c-both", "f-three"], "not sealed with {old}: {others:?}");
        let others = found("reseal-unused", limit).await?;
        ensure!(others.len() == 5, "not sealed with an unused key: {others:?}");
    }
    subjects[0].change(|draft| draft.put(totp(1, new))).await?;
    subjects[2].change(|draft| draft.remove(id(2))).await?;
    let others = found(new, 1000).await?;
    ensure!(others == ["e-pending", "f-three"], "not sealed with {new} after two were: {others:?}");
    Ok(())
}

async fn keys_in_use_are_told(store: &dyn AccountStore) -> Result<(), Violation> {
    let in_use = async || -> Result<Vec<String>, Violation> {
        let mut keys = store.keys_in_use().await?;
        let told = keys.len();
        keys.sort();
        keys.dedup();
        ensure!(told == keys.len(), "a key is listed twice");
        let ours = keys.iter().map(KeyId::as_str).filter(|key| key.starts_with("in-use-"));
        Ok(ours.map(str::to_owned).collect())
    };
    ensure!(in_use().await?.is_empty(), "a key is listed before anything was sealed with it");
    let mut alice = Subject::new(store, "keys", "alice");
    let mut bob = Subject::new(store, "keys-2", "bob");
    alice.change(|draft| draft.put(pending(1, "in-use-1"))).await?;
    alice.change(|draft| draft.put(hotp(2, "in-use-2"))).await?;
    bob.change(|draft| draft.put(totp(1, "in-use-2"))).await?;
    bob.change(|draft| draft.put(totp(2, "in-use-10"))).await?;
    let keys = in_use().await?;
    ensure!(keys == ["in-use-1", "in-use-10", "in-use-2"], "three keys are in use, not {keys:?}");
    alice.change(|draft| draft.put(pending(1, "in-use-10"))).await?;
    alice.change(|draft| draft.remove(id(2))).await?;
    let keys = in_use().await?;
    ensure!(keys == ["in-use-10", "in-use-2"], "two keys are in use, not {keys:?}");
    Ok(())
}

/// Reads every page of accounts in turn; returns the accounts of `tenants`.
async fn walk(
    store: &dyn AccountStore,
    not_sealed_with: Option<KeyId>,
    limit: u32,
    tenants: &[TenantId],
) -> Result<Vec<AccountKey>, Violation> {
    let mut walked: Vec<AccountKey> = Vec::new();
    let mut after = None;
    loop {
        let query = AccountQuery {
            after: after.clone(),
            not_sealed_with: not_sealed_with.clone(),
            second_event_before: None,
            limit,
        };
        let page = store.page(&query).await?;
        let last = page.accounts.last().map(|account| AccountPlace::from(&account.key)).or(after);
        ensure!(page.accounts.len() <= limit as usize, "a page has more than {limit} accounts");
        for AccountEntry { key, audit_head, audit_base } in page.accounts {
            ensure!(walked.last() < Some(&key), "{key:?} comes after {:?}", walked.last());
            let stored = store.load(&key).await?.value;
            ensure!(audit_head == stored.audit_head, "a page lists {key:?} with audit head {audit_head:?}");
            ensure!(audit_base == stored.audit_base, "a page lists {key:?} with audit base {audit_base:?}");
            walked.push(key);
        }
        if page.next.is_none() {
            walked.retain(|key| tenants.contains(&key.tenant));
            return Ok(walked);
        }
        ensure!(
            page.next >= last && page.next != query.after,
            "a page that ends at {last:?} continues at {:?}",
            page.next
        );
        ensure!(
            not_sealed_with.is_some() || page.next == last,
            "a page of every account ends at {last:?} and continues at {:?}",
            page.next
        );
        after = page.next;
    }
}
