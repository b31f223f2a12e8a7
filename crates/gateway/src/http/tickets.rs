//! `POST /api/v1/tickets`: a one-time ticket for a socket or stream, for whoever may not put a token into an address.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use towline_auth::{AuthError, IdentityKind, InvalidReason, IssueError};
use towline_protocol::ErrorCode;

use super::credential::{carries_ticket, identify};
use super::failure::Failure;
use super::params::Params;
use super::publish::body;
use crate::shared::Shared;

/// A request's body holds an origin at most.
const BODY_BYTES_MAX: usize = 1 << 10;
/// The longest origin: a scheme, a host name of 253 bytes (RFC 1035) and a port.
const ORIGIN_BYTES_MAX: usize = 280;

/// What may be said about the ticket that is wanted.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// Where it will be used, if a back end asks for its page: `https://app.example.com`. Else the request's own `Origin`.
    #[serde(default)]
    pub origin: Option<String>,
}

/// A ticket.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct TicketAnswer {
    /// For `?ticket=` or the subprotocol `ticket.<ticket>`. Good once.
    pub ticket: String,
    /// Until when, Unix seconds.
    pub expires_at: f64,
    /// How long that is.
    pub expires_in_s: f64,
    /// From where. Missing: from clients that send no `Origin`, so not from a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

pub(super) async fn issue(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<TicketAnswer>, Failure> {
    let (parts, body) = request.into_parts();
    let params = Params::of(&parts.uri)?;
    // Or a ticket could be renewed for ever.
    if carries_ticket(&parts) {
        return Err(AuthError::from(InvalidReason::Ticket).into());
    }
    let identity = identify(&shared, &parts, params.text("user_id")?).await?;
    if identity.kind == IdentityKind::Service {
        let message = "a service needs no ticket: it sends its key in a header; tickets stand for users";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    let rest = &shared.config.rest;
    let bytes_max = body::declared_bytes(&parts.headers, BODY_BYTES_MAX)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let origin = origin_of(&parts.headers, &text)?;
    let issued = shared.tickets.issue(&identity, origin.as_deref()).map_err(|error| {
        shared.metrics.access.ticket(if error == IssueError::Full { "full" } else { "failed" });
        Failure::new(ErrorCode::Unavailable, format!("{error}; try again in a moment"))
    })?;
    shared.metrics.access.ticket("issued");
    Ok(Json(TicketAnswer {
        ticket: issued.text,
        expires_at: issued.expires_at_ms as f64 / 1000.0,
        expires_in_s: shared.config.tickets.lifetime.as_secs_f64(),
        origin,
    }))
}

/// Where the ticket may be used: a page's own origin, whatever it says; for others, what the body says.
fn origin_of(headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, Failure> {
    let wrong = |why: &str| Failure::parameter("origin", ErrorCode::InvalidFormat, why);
    let asked: TicketRequest = if body.trim_ascii().is_empty() {
        TicketRequest::default()
    } else {
        serde_json::from_slice(body).map_err(|error| Failure::new(ErrorCode::JsonParse, format!("the body: {error}")))?
    };
    let mut sent = headers.get_all(ORIGIN).iter();
    let header = sent.next().map(|value| value.to_str().unwrap_or_default().to_owned());
    if sent.next().is_some() {
        return Err(wrong("the request has several Origin headers"));
    }
    if let (Some(header), Some(asked)) = (&header, &asked.origin)
        && header != asked
    {
        return Err(wrong("is not where this request comes from, and a page gets tickets for itself only"));
    }
    let origin = header.or(asked.origin);
    if origin.as_deref().is_some_and(|origin| !is_origin(origin)) {
        return Err(wrong("must be a scheme, a host and perhaps a port, as browsers send it: https://app.example.com"));
    }
    Ok(origin)
}

/// RFC 6454 section 6.2. `null` is what all pages without an origin share, so nothing can be bound to it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    text.len() <= ORIGIN_BYTES_MAX
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'))
        && !authority.is_empty()
        && authority.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(sent: &[&str], body: &str) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for origin in sent {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        origin_of(&headers, body.as_bytes()).map_err(|failure| failure.error().code)
    }

    #[test]
    fn a_page_gets_tickets_for_itself_and_a_back_end_says_for_which_page() {
        let app = || Ok(Some("https://app.example.com".to_owned()));
        assert_eq!(origin(&["https://app.example.com"], ""), app());
        assert_eq!(origin(&["https://app.example.com"], r#"{"origin":"https://app.example.com"}"#), app());
        assert_eq!(origin(&[], r#"{"origin":"https://app.example.com"}"#), app());
        assert_eq!(origin(&[], " {} "), Ok(None));
        let wrong = Err(ErrorCode::InvalidFormat);
        assert_eq!(origin(&["https://evil.example.com"], r#"{"origin":"https://app.example.com"}"#), wrong);
        assert_eq!(origin(&["https://a.example", "https://b.example"], ""), wrong);
        for bad in ["null", "", "https://", "app.example.com", "https://a.example/", "https://a b", "HTTPS://a", "https://u@a"] {
            assert_eq!(origin(&[bad], ""), wrong, "{bad}");
        }
        for bad in ["[", "{\"orign\":\"x\"}", "{\"origin\":7}", "[1]"] {
            assert_eq!(origin(&[], bad), Err(ErrorCode::JsonParse), "{bad}");
        }
    }
}
