//! The routes: one endpoint a file, or a few that belong together.

use actix_web::web::{ServiceConfig, delete, get, head, patch, post, resource};

pub(crate) mod admin;
pub(crate) mod backup_codes;
pub(crate) mod confirm;
pub(crate) mod enrol;
pub(crate) mod events;
pub(crate) mod factor;
pub(crate) mod health;
pub(crate) mod resynchronise;
pub(crate) mod status;
pub(crate) mod verify;

/// What needs an API key.
pub(crate) fn keyed(config: &mut ServiceConfig) {
    config
        .service(resource("/users/{user}").route(get().to(status::status)).route(delete().to(admin::erase)))
        .service(resource("/users/{user}/factors").route(post().to(enrol::enrol)))
        .service(
            resource("/users/{user}/factors/{id}")
                .route(patch().to(factor::rename))
                .route(delete().to(factor::revoke)),
        )
        .service(resource("/users/{user}/factors/{id}/confirm").route(post().to(confirm::confirm)))
        .service(
            resource("/users/{user}/factors/{id}/resynchronise")
                .route(post().to(resynchronise::resynchronise)),
        )
        .service(resource("/users/{user}/verify").route(post().to(verify::verify)))
        .service(resource("/users/{user}/backup-codes").route(post().to(backup_codes::issue)))
        .service(resource("/users/{user}/unlock").route(post().to(admin::unlock)))
        .service(resource("/users/{user}/reset").route(post().to(admin::reset)))
        .service(resource("/users/{user}/events").route(get().to(events::of_user)))
        .service(resource("/events").route(get().to(events::of_tenant)));
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
