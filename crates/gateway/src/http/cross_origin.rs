//! Requests from web pages: refused if the page may not, and with the headers that let it read the answer if it may (CORS,
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! The origin is echoed and never `*`, and credentials are never allowed: tokens are sent explicitly, cookies mean nothing here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use towline_protocol::ErrorCode;

use super::failure::Failure;
use crate::origins::Page;
use crate::shared::Shared;

/// What the interface takes beyond the simple methods and headers. A service key (`X-API-Key`) has no place in a page.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID, traceparent");
/// What a page may read of an answer's head beyond the simple headers.
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, X-Request-ID");
/// How long a browser may go by the answer to a pre-flight request: a change of the policy is noticed after ten minutes.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let cors = shared.config.origins.cors;
    let page = shared.origins.judge(request.headers());
    let mut response = match &page {
        Page::Refused => refuse(&shared, request.headers()),
        Page::Allowed(_) if cors && is_preflight(&request) => preflight(),
        _ => next.run(request).await,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let headers = response.headers_mut();
    // Also where no origin was named: a cache must not give that answer to a page.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Page::Allowed(origin) = page
        && cors
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn refuse(shared: &Shared, headers: &HeaderMap) -> Response {
    shared.metrics.limits.refused("origin");
    if shared.refusal_lines.take(&shared.clock).is_some() {
        let origin =
            headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).chars().take(200).collect::<String>());
        tracing::info!(origin, "a page was refused that is not in origins.allowed");
    }
    Failure::new(
        ErrorCode::OriginNotAllowed,
        "the page that sent this may not use this server; its operator names those that may in `origins.allowed`",
    )
    .into_response()
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS),
        (VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
