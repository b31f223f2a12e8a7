//! Around every request: its trace id, its line in the log, its metrics, and the headers that all answers carry.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use towline_protocol::ErrorCode;

use crate::shared::Shared;

/// Leads from an answer to its line in the log: the trace id of the request's `traceparent` if it has one, else a fresh one.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Asked for every few seconds by machines: their lines would bury the others.
const QUIET: [&str; 3] = ["/livez", "/readyz", "/metrics"];

pub(super) async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let began = shared.clock.uptime();
    let method = request.method().clone();
    // The pattern and never the path: paths hold user ids, queries hold tokens.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let trace_id = trace_id(request.headers()).unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string());
    let mut response = next.run(request).await;
    let seconds = shared.clock.uptime().saturating_sub(began).as_secs_f64();
    let status = response.status().as_u16();
    shared.metrics.request(&method, route, status, seconds);
    let code = response.extensions().get::<ErrorCode>().copied();
    if let Some(code) = code {
        shared.metrics.error(code);
    }
    let code = code.map(ErrorCode::as_str);
    let duration_ms = (seconds * 1e6).round() / 1e3;
    if QUIET.contains(&route) {
        tracing::debug!(%method, route, status, duration_ms, trace_id, code, "request");
    } else if shared.request_lines.take(&shared.clock, status) {
        tracing::info!(%method, route, status, duration_ms, trace_id, code, "request");
    }
    set_headers(response.headers_mut(), trace_id);
    response
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (_version, id) = (parts.next()?, parts.next()?);
    let well_formed = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    well_formed.then(|| id.to_ascii_lowercase())
}

/// Answers are nobody's page, nobody's frame and nobody's cache entry, unless a handler said otherwise.
fn set_headers(headers: &mut HeaderMap, trace_id: String) {
    headers.reserve(8);
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::try_from(trace_id) {
        headers.entry(REQUEST_ID).or_insert(value);
    }
}
