//! Who is an operator: whoever has an admin key, given in a header and never in a query.

use std::net::IpAddr;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use towline_auth::extract::{self, Credential, Places};
use towline_auth::{AdminKey, AdminRole};
use towline_protocol::ErrorCode;

use crate::http::failure::{Failure, no_such_route};
use crate::server::Accepted;
use crate::shared::Shared;

/// An operator, for the length of a request.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Which key was shown.
    pub(super) key: AdminKey,
    /// From where, if known.
    pub(super) address: Option<IpAddr>,
}

/// The operator behind a request that only looks.
///
/// # Errors
/// 404 if there are no admin keys at all, 403 if the request shows none of them.
pub(crate) fn require_read(shared: &Shared, parts: &Parts) -> Result<Admin, Failure> {
    require(shared, parts, AdminRole::Read)
}

/// The operator behind a request that changes something.
///
/// # Errors
/// As [`require_read`], and 403 for a key that may only look.
pub(crate) fn require_full(shared: &Shared, parts: &Parts) -> Result<Admin, Failure> {
    require(shared, parts, AdminRole::Full)
}

/// Whether a request shows an admin key, for routes that others may use too. Counts and refuses nothing.
pub(crate) fn shows_key(shared: &Shared, parts: &Parts) -> bool {
    credential(parts).is_some_and(|credential| shared.admin_keys.find(&credential).is_some())
}

fn require(shared: &Shared, parts: &Parts, role: AdminRole) -> Result<Admin, Failure> {
    if shared.admin_keys.is_empty() {
        return Err(no_such_route(&parts.uri));
    }
    let Some(key) = credential(parts).and_then(|credential| shared.admin_keys.find(&credential)) else {
        shared.metrics.auth_failure(ErrorCode::Forbidden);
        let message = "this takes an admin key, in `Authorization: Bearer` or `X-API-Key`; no other credential is one";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    };
    if key.role < role {
        tracing::warn!(key = key.name, fingerprint = key.fingerprint, "an admin key that may only read was used for a change");
        return Err(Failure::new(ErrorCode::Forbidden, "this admin key may only read; a change takes one of `admin.keys_full`"));
    }
    let address = parts.extensions.get().map(|accepted: &Accepted| accepted.client);
    Ok(Admin { key: key.clone(), address })
}

fn credential(parts: &Parts) -> Option<String> {
    let texts = |name| parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let keys: Vec<String> = texts("x-api-key".parse().ok()?).map(|key| format!("Bearer {key}")).collect();
    let headers: Vec<&str> = texts(AUTHORIZATION).chain(keys.iter().map(String::as_str)).collect();
    let places = Places { authorization: &headers, query: None, protocols: &[] };
    match extract::credential(places).ok()?? {
        Credential::Token(key) => Some(key.into_owned()),
        Credential::Ticket(_) => None,
    }
}
