//! The routes: one endpoint a file, or a few that belong together.

use actix_web::HttpResponse;
use actix_web::middleware::from_fn;
use actix_web::web::{ServiceConfig, delete, get, head, patch, post, resource};

use crate::problem::{Problem, ProblemCode};
use crate::throttling::throttle;

pub(crate) mod admin;
pub(crate) mod backup_codes;
pub(crate) mod confirm;
pub(crate) mod enrol;
pub(crate) mod events;
pub(crate) mod factor;
pub(crate) mod health;
pub(crate) mod resynchronise;
pub(crate) mod set_back;
pub(crate) mod status;
pub(crate) mod verify;

/// What needs an API key. Each is throttled, before its body is read.
pub(crate) fn keyed(config: &mut ServiceConfig) {
    let throttled = |path: &str| resource(path).wrap(from_fn(throttle));
    config
        .service(throttled("/users/{user}").route(get().to(status::status)).route(delete().to(admin::erase)))
        .service(throttled("/users/{user}/factors").route(post().to(enrol::enrol)))
        .service(
            throttled("/users/{user}/factors/{id}")
                .route(patch().to(factor::rename))
                .route(delete().to(factor::revoke)),
        )
        .service(throttled("/users/{user}/factors/{id}/confirm").route(post().to(confirm::confirm)))
        .service(
            throttled("/users/{user}/factors/{id}/resynchronise")
                .route(post().to(resynchronise::resynchronise)),
        )
        .service(throttled("/users/{user}/factors/{id}/set-back").route(post().to(set_back::set_back)))
        .service(throttled("/users/{user}/verify").route(post().to(verify::verify)))
        .service(throttled("/users/{user}/backup-codes").route(post().to(backup_codes::issue)))
        .service(throttled("/users/{user}/unlock").route(post().to(admin::unlock)))
        .service(throttled("/users/{user}/reset").route(post().to(admin::reset)))
        .service(throttled("/users/{user}/events").route(get().to(events::of_user)))
        .service(throttled("/events").route(get().to(events::of_tenant)));
}

/// What no route is for.
pub(crate) async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(ProblemCode::NotFound.into())
}

/// What needs none.
pub(crate) fn open(config: &mut ServiceConfig) {
    config
        .service(resource("/healthz").route(get().to(health::healthz)).route(head().to(health::healthz)))
        .service(resource("/readyz").route(get().to(health::readyz)).route(head().to(health::readyz)))
        .service(resource("/metrics").route(get().to(health::metrics)))
        .service(resource("/openapi.json").route(get().to(health::openapi)))
        .service(resource("/problems/{code}").route(get().to(health::problem)));
}
