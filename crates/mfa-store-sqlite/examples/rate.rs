use std::sync::Arc; use std::time::Instant;
use mfa_domain::ports::AccountStore; use mfa_domain::*; use mfa_domain::account::*; use mfa_domain::otp_core::Totp;
use mfa_store_sqlite::SqliteStore;
fn factor(n: u64) -> Factor { Factor { id: FactorId::fresh(Timestamp::default(), &[1;10]), label: Label::new("x").unwrap(), state: FactorState::Active, created_at: Timestamp::default(), last_used_at: None,
 authenticator: Authenticator::Totp(TotpDevice { totp: Totp::default(), secret: Sealed { key: KeyId::new("k"), bytes: vec![1;48] }, last_step: Some(n), drift: Drift::default() }) } }
#[tokio::main]
async fn main() {
    let tasks: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let per: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let path = std::env::args().nth(3).unwrap();
    let users: u64 = std::env::args().nth(4).map_or(1, |u| u.parse().unwrap());
    let store = Arc::new(SqliteStore::open(std::path::Path::new(&path)).await.unwrap());
    for mode in ["commit", "load+commit", "load"] {
    let start = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for t in 0..tasks { let store = store.clone(); set.spawn(async move {
        let mut lat = vec![];
        let policies = Policies::default(); let actor = Actor::user("t");
        let mut accounts = vec![];
        for u in 0..users {
        let key = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(&format!("user-{t}-{u}")).unwrap());
        let account = store.load(&key).await.unwrap(); accounts.push((key, account)); }
        for n in 0..per {
            let (key, account) = &mut accounts[(n % users) as usize];
            let s = Instant::now();
            if mode != "commit" { *account = store.load(key).await.unwrap(); }
            if mode != "load" {
            let mut draft = account.value.draft(Context { key, actor: &actor, now: Timestamp::from_unix_seconds(n), policies: &policies });
            draft.put(factor(n)); draft.record(EventKind::Verified, None, [("factor_kind", "totp".into())]);
            let delta = draft.finish().unwrap();
            assert_eq!(store.commit(key, account.version, &delta).await.unwrap(), mfa_domain::ports::Commit::Won);
            account.value.apply(&delta); account.version = account.version.next(); }
            lat.push(s.elapsed());
        } lat }); }
    let mut lat: Vec<_> = set.join_all().await.into_iter().flatten().collect(); lat.sort();
    let n = tasks as u64 * per;
    println!("{mode}: {n} with {tasks} tasks: {:.0}/s p50 {:?} p99 {:?}", n as f64 / start.elapsed().as_secs_f64(), lat[lat.len()/2], lat[lat.len()*99/100]);
    }
    store.close().await;
}
