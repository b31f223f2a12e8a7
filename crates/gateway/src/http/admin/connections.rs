//! `GET /api/v1/admin/connections…`: who is connected, how far behind, and who was until a moment ago.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use towline_protocol::{ErrorCode, TopicName};

use super::require_read;
use crate::doors::{ClosedView, ConnectionState, ConnectionView, Doors, Filter, Place, SubscriptionView, Task};
use crate::http::failure::Failure;
use crate::http::params::Params;

/// How long one request looks; then it answers with what it has and a cursor.
const LOOK: Duration = Duration::from_secs(3);

/// Open connections.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ConnectionsPage {
    /// The connections.
    pub connections: Vec<ConnectionView>,
    /// Pass it back as `cursor` to go on; missing at the end. Whoever stays connected is met once, however others come and go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One open connection.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ConnectionDetail {
    /// The connection.
    pub connection: ConnectionView,
    /// Its cursors.
    pub subscriptions: Vec<SubscriptionView>,
}

/// The connections that are furthest behind.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct SlowestPage {
    /// The furthest behind first; those that are not behind are left out.
    pub connections: Vec<ConnectionView>,
    /// All connections were looked at. False only if there are too many for one request.
    pub complete: bool,
}

/// Connections that have ended.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ClosedPage {
    /// The last to end first; a few hundred are remembered.
    pub connections: Vec<ClosedView>,
}

pub(super) async fn list(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Json<ConnectionsPage>, Failure> {
    require_read(doors.shared(), &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 50, 1..=200)?;
    let filter = filter(&params)?;
    let mut at = params.text("cursor")?.map_or(Ok(Place::default()), read_place)?;
    let (mut connections, watch) = (Vec::new(), Watch::start(&doors));
    let cursor = loop {
        let Some((mut found, next)) = doors.survey(at, &filter, &Task::List(limit - connections.len())).await else { break None };
        connections.append(&mut found.rows);
        match next {
            Some(next) if connections.len() < limit && !watch.over(&doors) => at = next,
            next => break next,
        }
    };
    Ok(Json(ConnectionsPage { connections, cursor: cursor.map(write_place) }))
}

pub(super) async fn slowest(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Json<SlowestPage>, Failure> {
    require_read(doors.shared(), &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 20, 1..=100)?;
    let filter = filter(&params)?;
    let (mut connections, mut at, watch) = (Vec::new(), Some(Place::default()), Watch::start(&doors));
    while let Some(place) = at
        && !watch.over(&doors)
    {
        let Some((mut found, next)) = doors.survey(place, &filter, &Task::Slowest(limit)).await else { break };
        connections.append(&mut found.rows);
        connections.sort_by_key(|row| std::cmp::Reverse(row.lag_events));
        connections.truncate(limit);
        at = next;
    }
    Ok(Json(SlowestPage { connections, complete: at.is_none() }))
}

pub(super) async fn one(
    State(doors): State<Arc<Doors>>,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Json<ConnectionDetail>, Failure> {
    require_read(doors.shared(), &parts)?;
    let (worker, serial) = read_id(&id)?;
    let filter = Filter { serial: Some(serial), ..Filter::default() };
    let mut at = Some(Place { worker, slot: 0 });
    while let Some(place) = at.filter(|place| place.worker == worker) {
        let Some((mut found, next)) = doors.survey(place, &filter, &Task::Describe).await else { break };
        if let Some(connection) = found.rows.pop() {
            return Ok(Json(ConnectionDetail { connection, subscriptions: found.subscriptions }));
        }
        at = next;
    }
    Err(unknown())
}

pub(super) async fn closed(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Json<ClosedPage>, Failure> {
    require_read(doors.shared(), &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 50, 1..=1000)?;
    let user = params.text("user")?;
    let code = params.number("code", 0, 0..=4999)?;
    let mut connections = doors.recently_closed().await;
    connections.retain(|closed| user.is_none_or(|user| closed.user.as_deref() == Some(user)));
    connections.retain(|closed| code == 0 || usize::from(closed.code) == code);
    connections.truncate(limit);
    Ok(Json(ClosedPage { connections }))
}

fn filter(params: &Params) -> Result<Filter, Failure> {
    let topic = match params.text("topic")? {
        Some(name) => Some(TopicName::new(name).map_err(|why| Failure::parameter("topic", ErrorCode::InvalidTopic, why))?),
        None => None,
    };
    let state = match params.text("state")? {
        None => None,
        Some("live") => Some(ConnectionState::Live),
        Some("lagging") => Some(ConnectionState::Lagging),
        Some("catching_up") => Some(ConnectionState::CatchingUp),
        Some("blocked") => Some(ConnectionState::Blocked),
        Some("closing") => Some(ConnectionState::Closing),
        Some(_) => {
            let why = "must be live, lagging, catching_up, blocked or closing";
            return Err(Failure::parameter("state", ErrorCode::InvalidFormat, why));
        }
    };
    Ok(Filter {
        user: params.text("user")?.map(Box::from),
        door: params.text("door")?.map(Box::from),
        topic,
        state,
        serial: None,
    })
}

/// The reactor thread and serial number behind a connection's id, `0-17`.
pub(super) fn read_id(id: &str) -> Result<(usize, u32), Failure> {
    let parsed = id.split_once('-').and_then(|(worker, serial)| Some((worker.parse().ok()?, serial.parse().ok()?)));
    parsed.ok_or_else(unknown)
}

pub(super) fn unknown() -> Failure {
    Failure::new(ErrorCode::NotFound, "no open connection has this id; see /api/v1/admin/connections/closed for those that ended")
}

fn write_place(place: Place) -> String {
    format!("{}-{}", place.worker, place.slot)
}

fn read_place(text: &str) -> Result<Place, Failure> {
    let parsed = text.split_once('-').and_then(|(worker, slot)| Some((worker.parse().ok()?, slot.parse().ok()?)));
    let why = "is not a cursor; pass back the `cursor` of an earlier answer unchanged";
    let (worker, slot) = parsed.ok_or_else(|| Failure::parameter("cursor", ErrorCode::InvalidPosition, why))?;
    Ok(Place { worker, slot })
}

/// How long a request has looked.
struct Watch(Duration);

impl Watch {
    fn start(doors: &Doors) -> Self {
        Self(doors.shared().clock.uptime())
    }

    fn over(&self, doors: &Doors) -> bool {
        doors.shared().clock.uptime().saturating_sub(self.0) > LOOK
    }
}
