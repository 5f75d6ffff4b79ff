//! The table of routes. Each submodule has one endpoint, or a few related ones.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::guard::{Any, Get, Head, fn_guard};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig, delete, get, patch, post, resource, scope};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Route};
use mfa_domain::ports::Scope;

use crate::body::MAX_BODY;
use crate::envelope::envelope;
use crate::guard::guard;
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

pub(crate) mod admin;
pub(crate) mod assets;
pub(crate) mod backup_codes;
pub(crate) mod challenges;
pub(crate) mod confirm;
pub(crate) mod enrol;
pub(crate) mod events;
pub(crate) mod factor;
pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod pages;
pub(crate) mod resynchronise;
pub(crate) mod set_back;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod well_known;

/// One route, for its guard, the OpenAPI document and the tests.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) method: Method,
    /// The path, from the root of the API.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) time: TimeClass,
    pub(crate) unthrottled: Unthrottled,
    handler: fn() -> Route,
}

/// Who may call a route, and which quotas a call uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// Needs no API key and uses no quota, since the call is cheap.
    Open,
    /// Needs an API key with one of these scopes. Every call is charged to the user as named here, then to the key
    /// and its tenant.
    Key(&'static [Scope], Charged),
}

/// The quota of the user that a call is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// None: the call changes nothing, or is an operator's.
    Nothing,
    /// The quota for code checks and changes.
    User,
    /// The quota for changes that the audit trail keeps forever, then that of `User`.
    Change,
    /// That of `User`, after the challenge is read: the path does not name the user.
    Challenge,
}

/// The time limit of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeClass {
    /// The call reads, or makes one change.
    Usual,
    /// The call may wait for a change.
    Waiting,
    /// The call issues backup codes. Each needs a slow hash, and many users may enrol at the same time.
    Hashing,
}

/// What happens to a call while the throttle fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unthrottled {
    /// The call goes on: the account's own limit of wrong codes still protects it.
    GoesOn,
    /// The call goes on if it sends no message. Otherwise it answers 503 and sends none, since unlimited messages
    /// cost money and annoy recipients.
    SendsNothing,
}

/// A part that an application can mount separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The calls, the OpenAPI document and the problem codes.
    Api,
    /// Liveness and readiness.
    Health,
    /// Metrics.
    Metrics,
    /// Documents at well-known addresses.
    WellKnown,
    /// Pages for browsers.
    Pages,
}

impl Row {
    /// The part of the route.
    fn part(&self) -> Part {
        match self.path {
            "/healthz" | "/readyz" => Part::Health,
            "/metrics" => Part::Metrics,
            "/" | "/docs" => Part::Pages,
            path if path.starts_with("/.well-known/") => Part::WellKnown,
            _ => Part::Api,
        }
    }
}

impl TimeClass {
    /// The limit, if a usual call may take `usual`.
    pub(crate) fn limit(self, usual: Duration) -> Duration {
        match self {
            Self::Usual => usual,
            Self::Waiting => usual + challenges::MAX_WAIT,
            Self::Hashing => usual * 5,
        }
    }
}

const VERIFY: &[Scope] = &[Scope::Verify];
/// Both logins and enrolments begin challenges.
const EITHER: &[Scope] = &[Scope::Verify, Scope::Enrol];
const ENROL: &[Scope] = &[Scope::Enrol];
const ADMIN: &[Scope] = &[Scope::Admin];
const AUDIT: &[Scope] = &[Scope::Audit];

/// All routes.
pub(crate) static TABLE: &[Row] = {
    use Access::{Key, Open};
    use Charged::{Challenge, Change, Nothing, User};
    use TimeClass::{Hashing, Usual, Waiting};
    use Unthrottled::{GoesOn, SendsNothing};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    &[
        // Paths are tried in this order; nearly every request is for the first.
        row(POST, "/v1/users/{user}/verify", Key(VERIFY, User), Usual, GoesOn, || post().to(verify::verify)),
        row(GET, "/v1/users/{user}", Key(&Scope::ALL, Nothing), Usual, GoesOn, || get().to(status::status)),
        row(DELETE, "/v1/users/{user}", Key(ADMIN, Nothing), Usual, GoesOn, || delete().to(admin::erase)),
        row(POST, "/v1/users/{user}/factors", Key(ENROL, Change), Usual, SendsNothing, || {
            post().to(enrol::enrol)
        }),
        row(PATCH, "/v1/users/{user}/factors/{id}", Key(ENROL, Change), Usual, GoesOn, || {
            patch().to(factor::rename)
        }),
        row(DELETE, "/v1/users/{user}/factors/{id}", Key(ENROL, Change), Usual, GoesOn, || {
            delete().to(factor::revoke)
        }),
        row(POST, "/v1/users/{user}/factors/{id}/confirm", Key(ENROL, User), Hashing, GoesOn, || {
            post().to(confirm::confirm)
        }),
        row(POST, "/v1/users/{user}/factors/{id}/resynchronise", Key(ENROL, Change), Usual, GoesOn, || {
            post().to(resynchronise::resynchronise)
        }),
        row(POST, "/v1/users/{user}/factors/{id}/set-back", Key(ADMIN, Nothing), Usual, GoesOn, || {
            post().to(set_back::set_back)
        }),
        row(POST, "/v1/users/{user}/challenges", Key(VERIFY, User), Usual, SendsNothing, || {
            post().to(challenges::begin)
        }),
        row(POST, "/v1/challenges", Key(VERIFY, Nothing), Usual, GoesOn, || {
            post().to(challenges::passwordless::begin)
        }),
        row(GET, "/v1/challenges/{id}", Key(EITHER, Nothing), Waiting, GoesOn, || {
            get().to(challenges::status)
        }),
        row(DELETE, "/v1/challenges/{id}", Key(EITHER, Challenge), Usual, GoesOn, || {
            delete().to(challenges::cancel)
        }),
        row(POST, "/v1/challenges/{id}/verify", Key(VERIFY, Challenge), Usual, GoesOn, || {
            post().to(challenges::answer::verify)
        }),
        row(POST, "/v1/challenges/{id}/resend", Key(EITHER, Challenge), Usual, SendsNothing, || {
            post().to(challenges::resend)
        }),
        row(POST, "/v1/users/{user}/backup-codes", Key(ENROL, Change), Hashing, GoesOn, || {
            post().to(backup_codes::issue)
        }),
        row(POST, "/v1/users/{user}/unlock", Key(ADMIN, Nothing), Usual, GoesOn, || post().to(admin::unlock)),
        row(POST, "/v1/users/{user}/reset", Key(ADMIN, Nothing), Usual, GoesOn, || post().to(admin::reset)),
        row(GET, "/v1/users/{user}/events", Key(AUDIT, Nothing), Usual, GoesOn, || get().to(events::of_user)),
        row(GET, "/v1/events", Key(AUDIT, Nothing), Usual, GoesOn, || get().to(events::of_tenant)),
        row(GET, "/healthz", Open, Usual, GoesOn, || get_or_head().to(health::healthz)),
        row(GET, "/readyz", Open, Usual, GoesOn, || get_or_head().to(health::readyz)),
        row(GET, "/metrics", Open, Usual, GoesOn, || get_or_head().to(health::metrics)),
        row(GET, "/openapi.json", Open, Usual, GoesOn, || get_or_head().to(health::openapi)),
        row(GET, "/problems/{code}", Open, Usual, GoesOn, || get_or_head().to(health::problem)),
        row(GET, "/assets/passkey.js", Open, Usual, GoesOn, || get_or_head().to(assets::passkey_script)),
        row(GET, "/.well-known/jwks.json", Open, Usual, GoesOn, || get_or_head().to(jwks::key_set)),
        row(GET, "/.well-known/webauthn", Open, Usual, GoesOn, || {
            get_or_head().to(well_known::related_origins)
        }),
        row(GET, "/.well-known/passkey-endpoints", Open, Usual, GoesOn, || {
            get_or_head().to(well_known::passkey_endpoints)
        }),
        row(GET, "/", Open, Usual, GoesOn, || get_or_head().to(pages::welcome)),
        row(GET, "/docs", Open, Usual, GoesOn, || get_or_head().to(pages::reference)),
    ]
};

/// Routes without an API key also accept `HEAD` (RFC 9110, 9.3.2).
fn get_or_head() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

const fn row(
    method: Method,
    path: &'static str,
    access: Access,
    time: TimeClass,
    unthrottled: Unthrottled,
    handler: fn() -> Route,
) -> Row {
    Row { method, path, access, time, unthrottled, handler }
}

/// From the row of the request.
impl FromRequest for Unthrottled {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let row = request.app_data::<Rows>().and_then(|rows| rows.of(request.method()));
        ready(row.map(|row| row.unthrottled).ok_or_else(|| ProblemCode::Internal.into()))
    }
}

/// The rows of one path, as its guard finds them.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Vec<&'static Row>);

impl Rows {
    /// The row for this method; `None` if the path does not accept it.
    pub(crate) fn of(&self, method: &Method) -> Option<&'static Row> {
        self.0.iter().find(|row| row.method == *method).copied()
    }

    /// Whether the path may be known without an API key.
    pub(crate) fn are_open(&self) -> bool {
        self.0.iter().any(|row| matches!(row.access, Access::Open))
    }
}

/// Mounts the routes of one part, each behind its guard.
pub(crate) fn mount(config: &mut ServiceConfig, state: &Data<State>, part: Part) {
    let mut rest = TABLE;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|row| row.path == first.path).count();
        let (rows, others) = rest.split_at(count);
        rest = others;
        if first.part() != part {
            continue;
        }
        let mut resource = resource(first.path).app_data(Rows(rows.iter().collect()));
        if first.path == "/" {
            resource = resource.guard(fn_guard(pages::is_browser));
        }
        for row in rows {
            resource = resource.route((row.handler)());
        }
        let resource = resource.app_data(state.clone()).app_data(PayloadConfig::new(MAX_BODY));
        config.service(resource.wrap(from_fn(guard)).wrap(from_fn(envelope)));
    }
}

/// Answers all other paths. Below `/v1` only callers with a key learn that a path does not exist.
pub(crate) fn mount_nowhere(config: &mut ServiceConfig, state: &Data<State>) {
    let keyed =
        scope("/v1").app_data(Rows(Vec::new())).default_service(web::to(nowhere)).wrap(from_fn(guard));
    let all = scope("").app_data(state.clone()).service(keyed).default_service(web::to(nowhere));
    config.service(all.wrap(from_fn(envelope)));
    // A request for the whole server (`OPTIONS *`) has no path, so no scope matches it.
    config.default_service(web::route().to(nowhere).wrap(from_fn(envelope)));
}

/// The answer for unknown paths.
async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(ProblemCode::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::openapi::openapi_json;

    /// The document comes from the handlers, the routes from the table. Pages are not in the document.
    #[test]
    fn the_description_has_the_routes_of_the_table_with_their_scopes_and_no_others() {
        let api: Value = serde_json::from_str(openapi_json()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in api["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let scopes = operation["security"].get(0).map(|key| key["api_key"].clone());
                described.insert((
                    method.to_uppercase(),
                    path.clone(),
                    scopes.map(|scopes| scopes.to_string()),
                ));
            }
        }
        let calls = || TABLE.iter().filter(|row| row.part() != Part::Pages);
        let listed: BTreeSet<_> = calls()
            .map(|row| {
                let scopes = match row.access {
                    Access::Open => None,
                    // A call that accepts any key names no scope.
                    Access::Key(scopes, _) if scopes.len() == Scope::ALL.len() => Some("[]".to_owned()),
                    Access::Key(scopes, _) => {
                        Some(scopes.iter().map(|scope| scope.as_str()).collect::<Value>().to_string())
                    }
                };
                (row.method.to_string(), row.path.to_owned(), scopes)
            })
            .collect();
        assert_eq!(described, listed);
        assert_eq!(listed.len(), calls().count(), "a route is in the table twice");
    }

    /// Each path must have one resource, which knows all of its methods.
    #[test]
    fn the_rows_of_a_path_stand_together() {
        let mut paths: Vec<_> = TABLE.iter().map(|row| row.path).collect();
        paths.dedup();
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
    }

    /// A new call that sends messages must be added here.
    #[test]
    fn what_sends_messages_sends_none_while_the_throttle_fails() {
        let sending = TABLE.iter().filter(|row| row.unthrottled == Unthrottled::SendsNothing);
        let sending: Vec<_> = sending.map(|row| (row.method.as_str(), row.path)).collect();
        let expected = [
            ("POST", "/v1/users/{user}/factors"),
            ("POST", "/v1/users/{user}/challenges"),
            ("POST", "/v1/challenges/{id}/resend"),
        ];
        assert_eq!(sending, expected);
    }

    /// A new call that changes a user, and is not an operator's, must name the user's quota.
    #[test]
    fn every_call_that_changes_something_of_a_user_is_charged_to_the_user() {
        for row in TABLE {
            let changes = row.method != Method::GET && row.path.contains("{user}");
            let expected = match row.access {
                Access::Key(scopes, charged) if changes && scopes != ADMIN => {
                    matches!(charged, Charged::User | Charged::Change)
                }
                Access::Key(_, charged) if row.path.contains("/challenges/") => {
                    (charged == Charged::Challenge) == (row.method != Method::GET)
                }
                Access::Key(_, charged) => charged == Charged::Nothing,
                Access::Open => true,
            };
            assert!(expected, "{row:?}");
        }
    }
}
