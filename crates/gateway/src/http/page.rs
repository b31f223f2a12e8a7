//! Files that are part of the program: the page, and the interface's documents.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use towline_protocol::ErrorCode;

use super::failure::Failure;
use crate::api;

/// The page loads its own script and style and talks to its own server; nothing else, and nobody may frame it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static OPENAPI: LazyLock<String> = LazyLock::new(|| api::to_text(&api::openapi()));
static ASYNCAPI: LazyLock<String> = LazyLock::new(|| api::to_text(&api::asyncapi()));

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI.as_str()).into_response()
}

pub(super) async fn asyncapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], ASYNCAPI.as_str()).into_response()
}

pub(super) async fn index() -> Response {
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY), (CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../../assets/index.html")).into_response()
}

/// The page's own files: name, media type, text.
const ASSETS: [(&str, &str, &str); 4] = [
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../assets/app.js")),
    ("brake.js", "text/javascript; charset=utf-8", include_str!("../../assets/brake.js")),
    ("connection.js", "text/javascript; charset=utf-8", include_str!("../../assets/connection.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
];

pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Failure> {
    let found = ASSETS.iter().find(|(known, _, _)| *known == name);
    let Some((_, kind, text)) = found else {
        return Err(Failure::new(ErrorCode::NotFound, "the page has no such file"));
    };
    Ok(([(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")], *text).into_response())
}
