//! Contract suites for [`ApiKeyStore`].
//!
//! Run each suite once, on a store that is empty or was only used by other suites of this crate.

use std::sync::Arc;

use mfa_domain::ports::{ApiKey, ApiKeyHash, ApiKeyId, ApiKeyName, ApiKeyStore, Scope, Scopes};
use mfa_domain::{TenantId, Timestamp, UserCase};

use crate::race::{rounds, together};
use crate::violation::run;
use crate::{Violation, ensure};

/// Checks the contract for one caller at a time.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    run![
        every_field_comes_back(store),
        an_id_is_taken_once(store),
        keys_are_listed_oldest_first(store),
        the_first_key_of_a_tenant_fixes_the_case_of_its_users(store),
        a_key_is_revoked_once_and_for_all(store),
        the_latest_use_of_a_key_is_kept(store),
    ]
}

/// Checks the contract for concurrent callers. `one` and `other` are two handles on the same store. Requires
/// a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race(one: Arc<dyn ApiKeyStore>, other: Arc<dyn ApiKeyStore>) -> Result<(), Violation> {
    let stores = &[one, other];
    run![
        an_id_is_taken_by_one_of_many(stores),
        the_first_revocation_stays(stores),
        the_latest_use_stays(stores),
        keys_made_at_once_agree_on_the_case_of_users(stores),
    ]
}

fn id(text: &str) -> ApiKeyId {
    ApiKeyId::new(text).unwrap()
}

fn api_key(name: &str, tenant: &str, second: u64) -> ApiKey {
    ApiKey {
        id: id(name),
        name: None,
        tenant: TenantId::new(tenant).unwrap(),
        user_case: UserCase::Exact,
        scopes: Scopes::from([Scope::Verify]),
        hash: ApiKeyHash::of(name),
        created_at: Timestamp::from_unix_seconds(second),
        revoked_at: None,
        last_used_at: None,
    }
}

async fn every_field_comes_back(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    ensure!(store.find(&id("fields0")).await?.is_none(), "a key never inserted is found");
    let one = api_key("fields0", "key-fields", 0);
    let longest = ApiKeyName::new(&"\u{1F511}".repeat(64)).ok();
    let keys = [
        ApiKey { id: id("fields4"), name: longest, last_used_at: Some(Timestamp::MAX), ..one.clone() },
        ApiKey { id: id("fields5"), name: ApiKeyName::new("a b: 'c'").ok(), ..one.clone() },
        ApiKey { id: id("fields1"), scopes: Scopes::new(), created_at: Timestamp::MAX, ..one.clone() },
        ApiKey { id: id("fields2"), scopes: Scope::ALL.into(), hash: ApiKeyHash([255; 32]), ..one.clone() },
        ApiKey {
            id: id("fields3"),
            revoked_at: Some(Timestamp::MAX),
            hash: ApiKeyHash([0; 32]),
            ..one.clone()
        },
        ApiKey { id: id(&"z9".repeat(16)), scopes: [Scope::Admin, Scope::Audit].into(), ..one.clone() },
        one,
    ];
    for key in &keys {
        store.insert(key).await?;
        let found = store.find(&key.id).await?;
        ensure!(found.as_ref() == Some(key), "the stored key is not the inserted one: {found:?}");
    }
    Ok(())
}

async fn an_id_is_taken_once(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    let key = api_key("taken", "key-taken", 1);
    store.insert(&key).await?;
    let other = ApiKey { tenant: TenantId::new("key-thief").unwrap(), ..api_key("taken", "key-taken", 2) };
    ensure!(store.insert(&other).await.is_err(), "an existing id was inserted again");
    let found = store.find(&key.id).await?;
    ensure!(found.as_ref() == Some(&key), "a refused insertion changed the key to {found:?}");
    Ok(())
}

async fn keys_are_listed_oldest_first(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    let keys = [
        ("list3", 3, "key-list"),
        ("list1", 1, "key-list"),
        ("list2", 2, "key-list-2"),
        ("list4", 4, "key-list"),
    ]
    .map(|(name, second, tenant)| api_key(name, tenant, second));
    for key in &keys {
        store.insert(key).await?;
    }
    store.revoke(&keys[0].id, Timestamp::MAX).await?;
    let names = async |tenant: Option<&str>| -> Result<Vec<String>, Violation> {
        let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
        let keys = store.list(tenant.as_ref()).await?.keys;
        let ours = keys.iter().map(|key| key.id.as_str()).filter(|name| name.starts_with("list"));
        Ok(ours.map(str::to_owned).collect())
    };
    let all = names(None).await?;
    ensure!(all == ["list1", "list2", "list3", "list4"], "the list of all keys, oldest first, is {all:?}");
    let of_tenant = names(Some("key-list")).await?;
    ensure!(
        of_tenant == ["list1", "list3", "list4"],
        "the list of a tenant's keys, oldest first, is {of_tenant:?}"
    );
    let none = names(Some("key-list-3")).await?;
    ensure!(none.is_empty(), "a tenant without keys has {none:?}");
    Ok(())
}

async fn the_first_key_of_a_tenant_fixes_the_case_of_its_users(
    store: &dyn ApiKeyStore,
) -> Result<(), Violation> {
    use UserCase::{Exact, Fold};
    for (tenant, first, others) in [("key-case-1", Fold, Exact), ("key-case-2", Exact, Fold)] {
        for (n, user_case) in [first, others, first, others].into_iter().enumerate() {
            // The first key is neither the oldest nor the first by id, and still counts after its revocation.
            let second = [2, 1, 3, 4][n];
            let key = api_key(&format!("case{second}{}", first.as_str()), tenant, second);
            store.insert(&ApiKey { user_case, ..key.clone() }).await?;
            let found = store.find(&key.id).await?.map(|key| key.user_case);
            ensure!(
                found == Some(first),
                "the first key of {tenant} has {first:?}, but key {n} has {found:?}"
            );
            store.revoke(&key.id, Timestamp::MAX).await?;
        }
        let listed = store.list(Some(&TenantId::new(tenant).unwrap())).await?.keys;
        ensure!(listed.iter().all(|key| key.user_case == first), "keys of {tenant} differ: {listed:?}");
    }
    Ok(())
}

async fn a_key_is_revoked_once_and_for_all(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    let at = Timestamp::from_unix_millis(1_800_000_000_123);
    ensure!(!store.revoke(&id("revoke0"), at).await?, "a key that does not exist was revoked");
    let (key, bystander) = (api_key("revoke1", "key-revoke", 1), api_key("revoke2", "key-revoke", 1));
    store.insert(&key).await?;
    store.insert(&bystander).await?;
    for again in [at, Timestamp::default(), Timestamp::MAX] {
        ensure!(store.revoke(&key.id, again).await?, "an existing key was not found");
        let found = store.find(&key.id).await?.and_then(|key| key.revoked_at);
        ensure!(found == Some(at), "a key revoked first at {at} was revoked at {found:?}");
    }
    ensure!(store.find(&bystander.id).await? == Some(bystander), "another key was revoked too");
    ensure!(store.insert(&key).await.is_err(), "a new key was inserted with the id of a revoked one");
    Ok(())
}

async fn the_latest_use_of_a_key_is_kept(store: &dyn ApiKeyStore) -> Result<(), Violation> {
    let second = Timestamp::from_unix_seconds;
    store.note_use(&id("used0"), second(1)).await?;
    ensure!(
        store.find(&id("used0")).await?.is_none(),
        "recording the use of a key that does not exist created one"
    );
    let (key, bystander) = (api_key("used1", "key-use", 1), api_key("used2", "key-use", 1));
    store.insert(&key).await?;
    store.insert(&bystander).await?;
    for (used, latest) in [(second(5), second(5)), (second(4), second(5)), (Timestamp::MAX, Timestamp::MAX)] {
        store.note_use(&key.id, used).await?;
        let expected = ApiKey { last_used_at: Some(latest), ..key.clone() };
        let found = store.find(&key.id).await?;
        ensure!(found.as_ref() == Some(&expected), "after a use at {used} the key is {found:?}");
    }
    store.revoke(&key.id, second(6)).await?;
    store.note_use(&key.id, second(7)).await?;
    let revoked_at = store.find(&key.id).await?.and_then(|key| key.revoked_at);
    ensure!(revoked_at == Some(second(6)), "a use changed the time of revocation to {revoked_at:?}");
    ensure!(store.find(&bystander.id).await? == Some(bystander), "the use of another key was recorded");
    Ok(())
}

async fn the_latest_use_stays(stores: &[Arc<dyn ApiKeyStore>; 2]) -> Result<(), Violation> {
    for round in 0..rounds(5, 10) {
        let key = api_key(&format!("usage{round}"), "key-race", 1);
        stores[0].insert(&key).await?;
        let noted = together(16, |n| {
            let (store, id) = (Arc::clone(&stores[n % 2]), key.id.clone());
            async move { store.note_use(&id, Timestamp::from_unix_seconds(16 - n as u64)).await }
        })
        .await?;
        noted.into_iter().collect::<Result<Vec<()>, _>>()?;
        let found = stores[1].find(&key.id).await?.and_then(|key| key.last_used_at);
        ensure!(
            found == Some(Timestamp::from_unix_seconds(16)),
            "of uses up to second 16, {found:?} was kept as the last"
        );
    }
    Ok(())
}

async fn an_id_is_taken_by_one_of_many(stores: &[Arc<dyn ApiKeyStore>; 2]) -> Result<(), Violation> {
    for round in 0..rounds(5, 10) {
        let key = |n: usize| api_key(&format!("race{round}"), "key-race", n as u64);
        let inserted = together(16, |n| {
            let (store, key) = (Arc::clone(&stores[n % 2]), key(n));
            async move { store.insert(&key).await.is_ok() }
        })
        .await?;
        let winners: Vec<_> = (0..16).filter(|n| inserted[*n]).collect();
        ensure!(winners.len() == 1, "{} insertions of one id were reported as successful", winners.len());
        let found = stores[0].find(&key(0).id).await?;
        ensure!(
            found == Some(key(winners[0])),
            "the stored key is not the one whose insertion was reported as successful"
        );
    }
    Ok(())
}

async fn the_first_revocation_stays(stores: &[Arc<dyn ApiKeyStore>; 2]) -> Result<(), Violation> {
    for round in 0..rounds(5, 10) {
        let key = api_key(&format!("revokerace{round}"), "key-race", 1);
        stores[0].insert(&key).await?;
        let seen = together(16, |n| {
            let (store, id) = (Arc::clone(&stores[n % 2]), key.id.clone());
            async move {
                let found = store.revoke(&id, Timestamp::from_unix_seconds(n as u64)).await?;
                ensure!(found, "an existing key was not found");
                Ok(store.find(&id).await?.and_then(|key| key.revoked_at))
            }
        })
        .await?;
        let seen = seen.into_iter().collect::<Result<Vec<_>, Violation>>()?;
        ensure!(
            seen.iter().all(|at| at.is_some() && *at == seen[0]),
            "the time of revocation changed: {seen:?}"
        );
    }
    Ok(())
}

async fn keys_made_at_once_agree_on_the_case_of_users(
    stores: &[Arc<dyn ApiKeyStore>; 2],
) -> Result<(), Violation> {
    for round in 0..rounds(5, 10) {
        let tenant = format!("key-case-race-{round}");
        together(16, |n| {
            let user_case = [UserCase::Exact, UserCase::Fold][n / 2 % 2];
            let key = ApiKey { user_case, ..api_key(&format!("caserace{round}x{n}"), &tenant, n as u64) };
            let store = Arc::clone(&stores[n % 2]);
            async move { store.insert(&key).await }
        })
        .await?
        .into_iter()
        .collect::<Result<(), _>>()?;
        let keys = stores[0].list(Some(&TenantId::new(&tenant).unwrap())).await?.keys;
        let agree = keys.iter().all(|key| key.user_case == keys[0].user_case);
        ensure!(keys.len() == 16 && agree, "keys of one tenant differ: {keys:?}");
    }
    Ok(())
}
