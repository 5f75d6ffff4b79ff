//! The guard of every route: time limit, API key, throttle and scope, from the row of the route.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage};
use mfa_domain::ports::{ApiKey, ThrottleKey};
use mfa_domain::{AccountKey, TenantId};

use crate::api_key::{PlainApiKey, ReservedTenant};
use crate::caller::{User, the_only};
use crate::chain::Chain;
use crate::problem::{Problem, ProblemCode};
use crate::routes::{Access, Charged, Row, Rows};
use crate::state::State;

/// Admits a request if its caller may call the route, and applies the time limit. The body is read afterwards.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let state = request.app_data::<Data<State>>().cloned().ok_or(Problem::new(ProblemCode::Internal))?;
    let rows = request.app_data::<Rows>().cloned().ok_or(Problem::new(ProblemCode::Internal))?;
    let row = rows.of(request.method());
    let limit = row.map_or(state.request_timeout, |row| row.time.limit(state.request_timeout));
    let work = async {
        if !rows.are_open() {
            admit(&state, &request, row).await?;
        }
        next.call(request).await
    };
    answered_within(limit, work).await
}

async fn answered_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        tracing::warn!(?limit, "a request took too long, and was given up");
        Err(Problem::new(ProblemCode::Unavailable).into())
    })
}

/// Checks the API key and its scope, and charges the request. Without a row only the key is checked, so that nobody
/// without a key learns which paths exist.
async fn admit(state: &State, request: &ServiceRequest, row: Option<&Row>) -> Result<(), Problem> {
    let now = state.clock.now();
    let key = match find_key(state, request).await {
        Ok(key) => key,
        Err(problem) if problem.code() == ProblemCode::Unauthorized => {
            state.throttling.charge_stranger(now, request).await?;
            return Err(problem);
        }
        Err(problem) => return Err(problem),
    };
    request.extensions_mut().insert(key.clone());
    let (scopes, charged) = match row.map(|row| row.access) {
        Some(Access::Key(scopes, charged)) => (scopes, charged),
        Some(Access::Open) | None => (&[][..], Charged::Nothing),
    };
    let reserved = key.tenant == TenantId::installation();
    let may = !reserved && (row.is_none() || scopes.iter().any(|scope| key.scopes.contains(scope)));
    // A caller without the scope must not use up a user's quota.
    let charged = if may { charged } else { Charged::Nothing };
    let account = match charged {
        Charged::Nothing | Charged::Challenge => None,
        Charged::User | Charged::Change => User::extract(request.request()).await.ok(),
    };
    let keys = keys(&key, charged, account.as_ref().map(|User(account)| account));
    state.throttling.charge(now, &keys).await?;
    if reserved {
        // No such key is made, but one could be written to the store. The signing keys are in this tenant.
        return Err(Problem::new(ProblemCode::Forbidden).with_detail(ReservedTenant.to_string()));
    }
    if may { Ok(()) } else { Err(Problem::forbidden(scopes)) }
}

async fn find_key(state: &State, request: &ServiceRequest) -> Result<ApiKey, Problem> {
    let unauthorized = || Problem::new(ProblemCode::Unauthorized);
    let header = the_only(request.headers(), &AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (kind, token) = header.and_then(|value| value.split_once(' ')).ok_or_else(unauthorized)?;
    let plain = kind.eq_ignore_ascii_case("bearer").then(|| PlainApiKey::parse(token.trim())).flatten();
    let plain = plain.ok_or_else(unauthorized)?;
    let stored = state.api_keys.find(plain.id()).await.map_err(|error| {
        tracing::error!(error = %Chain(&error), "could not look up an API key");
        Problem::new(ProblemCode::Unavailable)
    })?;
    let good = stored.filter(|key| key.hash == plain.hash() && key.revoked_at.is_none());
    let key = good.ok_or_else(unauthorized)?;
    state.key_uses.note(&state.api_keys, &key, state.clock.now());
    Ok(key)
}

/// The buckets that a request is charged to, the narrowest first.
fn keys(caller: &ApiKey, charged: Charged, account: Option<&AccountKey>) -> Vec<ThrottleKey> {
    let mut keys = Vec::with_capacity(4);
    if let Some(account) = account {
        if charged == Charged::Change {
            keys.push(ThrottleKey::change(account));
        }
        keys.push(ThrottleKey::user(account));
    }
    keys.push(ThrottleKey::api_key(&caller.tenant, &caller.id));
    keys.push(ThrottleKey::tenant(&caller.tenant));
    keys
}

#[cfg(test)]
mod tests {
    use mfa_domain::ports::{ApiKeyHash, ApiKeyId, ThrottleKind};
    use mfa_domain::{Timestamp, UserCase, UserId};

    use super::*;

    #[test]
    fn the_narrowest_bucket_is_charged_first() {
        let tenant = TenantId::new("acme").unwrap();
        let alice = AccountKey::new(tenant.clone(), UserId::new("alice").unwrap());
        let caller = ApiKey {
            id: ApiKeyId::new("web").unwrap(),
            name: None,
            tenant,
            user_case: UserCase::Exact,
            scopes: [].into(),
            hash: ApiKeyHash::of(""),
            created_at: Timestamp::default(),
            revoked_at: None,
            last_used_at: None,
        };
        for (charged, account, expected) in [
            (Charged::Nothing, None, &[][..]),
            (Charged::Challenge, None, &[][..]),
            (Charged::User, Some(&alice), &[ThrottleKind::User][..]),
            (Charged::Change, Some(&alice), &[ThrottleKind::Change, ThrottleKind::User][..]),
            (Charged::Change, None, &[][..]),
        ] {
            let kinds: Vec<_> = keys(&caller, charged, account).iter().map(ThrottleKey::kind).collect();
            assert_eq!(
                kinds,
                [expected, &[ThrottleKind::ApiKey, ThrottleKind::Tenant]].concat(),
                "{charged:?}"
            );
        }
    }
}
