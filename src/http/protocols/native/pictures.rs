//! Pictures: kept as they come, and served to their tenant and to bearers of a link.
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde_json::json;

use super::shares::{UNLISTED, nowhere};
use crate::domain::picture::{PICTURE_BYTES, Picture, PictureError, PictureId};
use crate::domain::share::ShareToken;
use crate::http::problem::Problem;
use crate::http::{EngineData, body, tenant};

/// A picture that is opened by itself runs nothing and loads nothing, whatever is in it.
const POLICY: &str = "default-src 'none'; sandbox";

/// Keeps a picture, known by its bytes. The same one again is the same picture.
pub(super) async fn keep(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let parse = |bytes: Bytes| Picture::read(&bytes).map_err(Problem::from);
    let picture = body::bytes(&request, payload, PICTURE_BYTES, parse).await?;
    let id = picture.id();
    let new = engine.keep_picture(&tenant(&request), &picture).await?;
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header((header::LOCATION, id.url())).json(json!({
        "id": id,
        "media_type": picture.kind.media_type(),
        "bytes": picture.bytes.len(),
    })))
}

impl From<PictureError> for Problem {
    fn from(error: PictureError) -> Self {
        let detail = error.to_string();
        match error {
            PictureError::Unknown => Self::unprocessable("unsupported_picture", detail),
            PictureError::Broken(_) => Self::unprocessable("broken_picture", detail),
        }
    }
}

/// A picture, for its tenant.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = asked(&request).ok_or_else(no_picture)?;
    let picture = engine.find_picture(&tenant(&request), id).await?.ok_or_else(no_picture)?;
    Ok(shown(&request, id, picture))
}

/// A picture of the branch behind a link, for its bearer.
pub(super) async fn shared(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let token = ShareToken::shown(request.match_info().get("token").unwrap_or_default());
    let id = asked(&request).ok_or_else(nowhere)?;
    let picture = engine.shared_picture(&token, id).await?.ok_or_else(nowhere)?;
    let mut response = shown(&request, id, picture);
    let (name, value) = UNLISTED;
    response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    Ok(response)
}

fn asked(request: &HttpRequest) -> Option<PictureId> {
    request.match_info().get("picture")?.parse().ok()
}

fn no_picture() -> Problem {
    Problem::not_found("there is no picture of that id")
}

/// The picture, or that it has not changed. Caches ask each time, so that an erased picture, a
/// revoked link and a sign-out hold at once.
fn shown(request: &HttpRequest, id: PictureId, picture: Picture) -> HttpResponse {
    let tag = format!("\"{id}\"");
    let mut known = request.headers().get_all(header::IF_NONE_MATCH);
    let is_known = known.any(|value| value.to_str().is_ok_and(|value| value.contains(&tag)));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::ETAG, tag))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"));
    if is_known {
        return response.finish();
    }
    response.content_type(picture.kind.media_type()).body(picture.bytes)
}
