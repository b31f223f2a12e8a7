//! Whose request it is: finds the credential in its places and has it judged.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri};
use towline_auth::extract::{self, Credential, Places};
use towline_auth::{AuthError, AuthMode, Identity, InvalidReason};
use towline_protocol::{ErrorCode, TopicName};

use super::failure::Failure;
use super::identity_headers;
use super::params::Params;
use crate::server::Accepted;
use crate::shared::Shared;

/// The name of somebody in development mode who does not say who they are.
const DEVELOPER: &str = "developer";

/// The identity behind a request of the REST interface: a JWT or a service key in `Authorization: Bearer`, a service key in
/// `X-API-Key`, a token in the query, or one offered as the subprotocol `jwt.<token>`, or a one-time ticket in either of the last two. In development mode anybody is who they say they are, if the request comes from this machine.
///
/// # Errors
/// 401 with a challenge, 503 if the issuer's keys cannot be had, 403 for a foreign page in development mode.
pub async fn identify(shared: &Shared, parts: &Parts, user_id: Option<&str>) -> Result<Arc<Identity>, Failure> {
    let found = identity_headers::reconcile(shared, parts, judge(shared, parts).await);
    let found = if shared.auth.mode() == AuthMode::Enforced {
        found
    } else {
        require_local(&parts.headers, &parts.uri)?;
        developer(shared, found, user_id)
    };
    let admitted = match found {
        Ok(identity) => shared.admit(identity).await,
        Err(error) => Err(error),
    };
    admitted.map_err(|error| refused(shared, error))
}

/// Who somebody is where nobody is asked to prove it.
fn developer(
    shared: &Shared,
    found: Result<Arc<Identity>, AuthError>,
    user_id: Option<&str>,
) -> Result<Arc<Identity>, AuthError> {
    match found {
        Err(AuthError::Invalid(InvalidReason::Ticket | InvalidReason::IdentityHeaders)) => found,
        // Front ends send their token also where nobody can check it.
        Err(AuthError::Missing | AuthError::Invalid(_)) => shared.auth.development_identity(user_id.unwrap_or(DEVELOPER)),
        other => other,
    }
}

/// The identity, and the topic of the user that it asks about: its own, or `user_id`'s if it may watch that.
///
/// # Errors
/// As [`identify`]; 403 if it may not, 400 if nobody says which user is meant.
pub(super) async fn identify_for_user(
    shared: &Shared,
    parts: &Parts,
    params: &Params,
) -> Result<(Arc<Identity>, TopicName), Failure> {
    let user_id = params.text("user_id")?;
    let identity = identify(shared, parts, user_id).await?;
    let topic = match user_id {
        Some(id) => Some(TopicName::of_user(id).map_err(|why| Failure::parameter("user_id", ErrorCode::InvalidTopic, why))?),
        // Who did not say a name in development mode has none.
        None if shared.auth.mode() == AuthMode::Development && &*identity.subject == DEVELOPER => None,
        None => identity.own_topic(),
    };
    let Some(topic) = topic else {
        return Err(Failure::parameter(
            "user_id",
            ErrorCode::InvalidFormat,
            "say which user is meant: a service key and development mode have no user of their own",
        ));
    };
    shared.may_read(&identity, &topic).await?;
    Ok((identity, topic))
}

fn refused(shared: &Shared, error: AuthError) -> Failure {
    shared.metrics.auth_failure(error.code());
    if error == AuthError::Revoked {
        shared.metrics.access.revoked("authentication");
    }
    error.into()
}

/// Whether what a request shows is a ticket, good or not.
pub(super) fn carries_ticket(parts: &Parts) -> bool {
    let protocols = texts(&parts.headers, SEC_WEBSOCKET_PROTOCOL);
    let places = Places { authorization: &[], query: parts.uri.query(), protocols: &protocols };
    matches!(extract::credential(places), Ok(Some(Credential::Ticket(_))))
}

fn texts(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

/// Uses a ticket up. Whatever is wrong with it, its holder hears the same.
fn redeem(shared: &Shared, headers: &HeaderMap, ticket: &str) -> Result<Arc<Identity>, AuthError> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next().map(|origin| origin.to_str().unwrap_or_default());
    let redeemed = match shared.tickets.redeem(ticket, origin) {
        Ok(_) if origins.next().is_some() => Err("origin"),
        Ok(identity) if identity.expired(shared.clock.unix_ms()) => Err("ended"),
        Ok(identity) if shared.auth.revocations().revokes(&identity) => Err("revoked"),
        Ok(identity) => Ok(identity),
        Err(fault) => Err(fault.as_str()),
    };
    shared.metrics.access.ticket(redeemed.as_ref().err().copied().unwrap_or("redeemed"));
    redeemed.map_err(|_| InvalidReason::Ticket.into())
}

async fn judge(shared: &Shared, parts: &Parts) -> Result<Arc<Identity>, AuthError> {
    let mut headers = texts(&parts.headers, AUTHORIZATION);
    let keys: Vec<String> =
        texts(&parts.headers, HeaderName::from_static("x-api-key")).into_iter().map(|key| format!("Bearer {key}")).collect();
    headers.extend(keys.iter().map(String::as_str));
    let protocols = texts(&parts.headers, SEC_WEBSOCKET_PROTOCOL);
    let places = Places { authorization: &headers, query: parts.uri.query(), protocols: &protocols };
    match extract::credential(places)? {
        Some(Credential::Token(token)) => shared.auth.authenticate(&token).await,
        Some(Credential::Ticket(ticket)) => redeem(shared, &parts.headers, &ticket),
        None => certified(shared, parts),
    }
}

/// The service that the connection's client certificate names. A browser shows its certificate to every server that asks, whichever page
/// made it send the request, so for pages it counts for nothing.
fn certified(shared: &Shared, parts: &Parts) -> Result<Arc<Identity>, AuthError> {
    let by_page = parts.headers.contains_key(ORIGIN) || parts.headers.contains_key("sec-fetch-site");
    let service = parts.extensions.get().and_then(|accepted: &Accepted| accepted.service.clone());
    let service = service.filter(|_| !by_page).ok_or(AuthError::Missing)?;
    // The connection may have been opened long ago.
    if service.expired(shared.clock.unix_ms()) { Err(AuthError::Expired) } else { Ok(service) }
}

/// Without authentication nothing but the address protects the server, and a browser on this machine reaches that address for any
/// page it shows. So a request must name this machine as its host (a foreign name that resolves here is DNS rebinding), and if a page
/// sent it, the page must come from this machine too.
///
/// # Errors
/// 403, with what to do.
pub fn require_local(headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let host =
        uri.authority().map(|authority| authority.as_str()).or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    let local = |authority: &str| is_loopback(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
    let host_is_local = host.is_none_or(local);
    let page_is_local = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, authority)| local(authority)));
    if host_is_local && page_is_local {
        return Ok(());
    }
    let what = if host_is_local { "the page that sent this" } else { "the host that this asks for" };
    Err(Failure::new(
        ErrorCode::Forbidden,
        format!(
            "development mode serves this machine only, and {what} is another; open it by localhost, or configure an issuer or a secret"
        ),
    ))
}

/// Whether `host` or `host:port` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        require_local(&headers, &Uri::from_static("/x")).is_ok()
    }

    #[test]
    fn development_mode_is_for_this_machine() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "app.localhost:3000"] {
            assert!(allowed(host, None) && allowed("localhost", Some(&format!("http://{host}"))), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "0.0.0.0:80", ""] {
            assert!(!allowed(host, None), "{host}");
            assert!(!allowed("localhost", Some(&format!("https://{host}"))), "{host}");
        }
        assert!(!allowed("localhost", Some("null")));
        assert!(!allowed("localhost", Some("http://localhost@evil.example")));
    }
}
