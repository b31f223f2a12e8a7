//! Ending connections, and the server's life, on an operator's word.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::json;
use towline_protocol::ErrorCode;

use super::connections::{read_id, unknown};
use super::{Admin, require_full};
use crate::doors::{Doors, Filter, Place, Task};
use crate::http::failure::Failure;
use crate::http::publish::body;

/// A body holds a reason and nothing else.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// What fits into a close frame.
const REASON_BYTES_MAX: usize = 120;
const REASON_DEFAULT: &str = "an operator ended this connection";

/// Why.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
pub struct DisconnectRequest {
    /// What the client is told, at most 120 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How many connections were ended.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Disconnected {
    /// Connections that were sent close code 4412.
    pub disconnected: usize,
}

/// The answer to `drain`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Draining {
    /// The server is leaving.
    pub draining: bool,
}

pub(super) async fn user(
    State(doors): State<Arc<Doors>>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Json<Disconnected>, Failure> {
    let (admin, reason) = asked(&doors, request).await?;
    let filter = Filter { user: Some(user.as_str().into()), ..Filter::default() };
    let disconnected = end(&doors, Place::default(), &filter, &reason).await;
    let target = json!({ "user": user, "reason": reason });
    admin.record(doors.shared(), "user.disconnect", target, Ok(json!({ "disconnected": disconnected }))).await;
    Ok(Json(Disconnected { disconnected }))
}

pub(super) async fn connection(
    State(doors): State<Arc<Doors>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Disconnected>, Failure> {
    let (admin, reason) = asked(&doors, request).await?;
    let (worker, serial) = read_id(&id)?;
    let filter = Filter { serial: Some(serial), ..Filter::default() };
    let disconnected = end(&doors, Place { worker, slot: 0 }, &filter, &reason).await;
    let outcome = if disconnected == 0 { Err(ErrorCode::NotFound) } else { Ok(json!({ "disconnected": disconnected })) };
    admin.record(doors.shared(), "connection.disconnect", json!({ "connection": id, "reason": reason }), outcome).await;
    if disconnected == 0 { Err(unknown()) } else { Ok(Json(Disconnected { disconnected })) }
}

pub(super) async fn drain(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Json<Draining>, Failure> {
    let shared = doors.shared();
    let admin = require_full(shared, &parts)?;
    // Written down first: the drain closes the log.
    admin.record(shared, "drain", json!({}), Ok(json!({}))).await;
    shared.ask_to_drain();
    Ok(Json(Draining { draining: true }))
}

async fn asked(doors: &Doors, request: Request) -> Result<(Admin, String), Failure> {
    let (parts, body) = request.into_parts();
    let admin = require_full(doors.shared(), &parts)?;
    let reason = reason(doors, &parts.headers, body).await?;
    Ok((admin, reason))
}

async fn reason(doors: &Doors, headers: &HeaderMap, body: Body) -> Result<String, Failure> {
    let rest = &doors.shared().config.rest;
    let bytes_max = body::declared_bytes(headers, BODY_BYTES_MAX)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let request = if text.trim_ascii().is_empty() {
        DisconnectRequest::default()
    } else {
        serde_json::from_slice(&text).map_err(|error| Failure::new(ErrorCode::JsonParse, format!("the body: {error}")))?
    };
    let reason = request.reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| REASON_DEFAULT.to_owned());
    if reason.len() > REASON_BYTES_MAX {
        let why = format!("has {} bytes; a close frame takes {REASON_BYTES_MAX}", reason.len());
        return Err(Failure::parameter("reason", ErrorCode::InvalidFormat, why));
    }
    Ok(reason)
}

/// Ends all connections that the filter means, from a place on.
async fn end(doors: &Doors, from: Place, filter: &Filter, reason: &str) -> usize {
    let task = Task::Disconnect(reason.into());
    let (mut disconnected, mut at) = (0, Some(from));
    while let Some(place) = at.filter(|place| filter.serial.is_none() || place.worker == from.worker) {
        let Some((found, next)) = doors.survey(place, filter, &task).await else { break };
        disconnected += found.disconnected;
        at = next;
    }
    disconnected
}
