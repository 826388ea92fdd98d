//! Our own API: generations and what was said in them, conversations, shared links, models.
pub(super) mod continued;
pub(crate) mod conversation;
pub(crate) mod conversations;
pub(crate) mod events;
pub(super) mod generation;
pub(crate) mod generations;
pub(super) mod models;
pub(crate) mod object;
pub(crate) mod pictures;
pub(crate) mod prompt;
pub(crate) mod shares;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web;

use super::error_shape::ErrorShape;
use super::openai::conversations as items;
use crate::http::auth::generation_ticket;
use crate::http::routes::endpoint;

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/v1/models").get(models::list))
        .service(endpoint("/v1/generations").get(generations::list).post(generations::start))
        .service(endpoint("/v1/generations/{id}").get(generation::get).delete(generation::delete))
        .service(endpoint("/v1/generations/{id}/events").stream(events::read))
        .service(endpoint("/v1/generations/{id}/cancel").post(generation::cancel))
        .service(endpoint("/v1/generations/{id}/continue").post(continued::start))
        .service(endpoint("/v1/generations/{id}/tickets").post(generation_ticket))
        .service(endpoint("/v1/pictures").post(pictures::keep))
        .service(endpoint("/v1/pictures/{picture}").get(pictures::get))
        .service(endpoint("/v1/shared/{token}").get(shares::get))
        .service(endpoint("/v1/shared/{token}/pictures/{picture}").get(pictures::shared))
        .service(endpoint("/v1/shared/{token}/events").stream(shares::follow));
    // OpenAI's clients know these paths, too.
    let shared = [
        endpoint("/v1/conversations").get(conversations::list).post(conversations::create),
        endpoint("/v1/conversations/{id}")
            .get(conversation::get)
            .on(Method::PATCH, conversation::change)
            .post(conversation::change)
            .delete(conversation::delete),
        endpoint("/v1/conversations/{id}/items").get(items::items).post(items::add),
        endpoint("/v1/conversations/{id}/items/{item}").get(items::item).delete(items::take),
        endpoint("/v1/conversations/{id}/messages").get(conversation::messages),
        endpoint("/v1/conversations/{id}/shares").post(shares::create).delete(shares::revoke),
    ];
    for route in shared {
        config.service(
            route
                .into_resource()
                .wrap(from_fn(|request, next| ErrorShape::OpenAiBeside.wrap(request, next))),
        );
    }
}
