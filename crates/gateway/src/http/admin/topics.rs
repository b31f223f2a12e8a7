//! `GET /api/v1/admin/topics…`: what is watched, by how many, how fast it moves, and what the log holds of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use towline_log::{Direction, Start};
use towline_protocol::{ErrorCode, Position, TopicName};

use super::require_read;
use crate::doors::{Doors, Heads};
use crate::http::failure::Failure;
use crate::http::feed::{read, within};
use crate::http::params::Params;
use crate::shared::Shared;

/// How long one request counts subscribers.
const COUNT: Duration = Duration::from_secs(3);
/// Topics whose rates are looked up at the same time.
const LOOKUPS: usize = 4;
const MINUTE_MS: u64 = 60_000;

/// A watched topic.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct TopicView {
    /// Its name.
    pub topic: String,
    /// Connections that follow it.
    pub subscribers: u64,
    /// Its last position.
    pub head: Position,
    /// Events of the last minute.
    pub events_last_minute: u64,
    /// The worst lag among its subscribers, in events.
    pub lag_events: u64,
}

/// Watched topics, in the order of their names.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct TopicsPage {
    /// The topics.
    pub topics: Vec<TopicView>,
    /// All subscribers were counted. False only if there are too many for one request.
    pub complete: bool,
    /// Pass it back as `cursor` to go on; missing at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Any topic.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct TopicDetail {
    /// Its name.
    pub topic: String,
    /// Somebody watches it.
    pub watched: bool,
    /// Connections that follow it.
    pub subscribers: u64,
    /// The worst lag among them, in events.
    pub lag_events: u64,
    /// Its last position.
    pub head: Position,
    /// Events up to this offset are gone.
    pub floor: u64,
    /// Events that are retained.
    pub events: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Events of the last minute.
    pub events_last_minute: u64,
    /// When the oldest retained event was taken, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_ts: Option<f64>,
    /// When the newest was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_ts: Option<f64>,
}

pub(super) async fn list(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Json<TopicsPage>, Failure> {
    let shared = doors.shared();
    require_read(shared, &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 50, 1..=200)?;
    let (prefix, after) = (params.text("prefix")?.unwrap_or_default(), params.text("cursor")?.unwrap_or_default());
    let watched = doors.watched(prefix, after, limit).await;
    let names: Vec<TopicName> = watched.iter().map(|topic| topic.name().clone()).collect();
    let (heads, complete) = doors.count_heads(&names, COUNT).await;
    let cursor = names.last().filter(|_| names.len() == limit).map(ToString::to_string);
    let rows = futures_util::stream::iter(names.into_iter().zip(heads));
    let rows = rows.map(|(name, heads)| row(Arc::clone(shared), name, heads));
    let topics: Vec<Result<TopicView, Failure>> = rows.buffered(LOOKUPS).collect().await;
    Ok(Json(TopicsPage { topics: topics.into_iter().collect::<Result<_, _>>()?, complete, cursor }))
}

async fn row(shared: Arc<Shared>, name: TopicName, heads: Heads) -> Result<TopicView, Failure> {
    let (head, events_last_minute) = last_minute(&shared, &name).await?;
    let Heads { subscribers, lag_events } = heads;
    Ok(TopicView { topic: name.to_string(), subscribers, head, events_last_minute, lag_events })
}

pub(super) async fn one(
    State(doors): State<Arc<Doors>>,
    Path(name): Path<String>,
    parts: Parts,
) -> Result<Json<TopicDetail>, Failure> {
    let shared = doors.shared();
    require_read(shared, &parts)?;
    let name = TopicName::new(&name).map_err(|why| Failure::parameter("topic", ErrorCode::InvalidTopic, why))?;
    let bounds = within(shared, shared.log.bounds(&name)).await??;
    let (heads, _) = doors.count_heads(std::slice::from_ref(&name), COUNT).await;
    let Heads { subscribers, lag_events } = heads.first().copied().unwrap_or_default();
    let (_, events_last_minute) = last_minute(shared, &name).await?;
    let oldest = read(shared, &name, Start::Earliest, Direction::Forward, 1).await?;
    let newest = read(shared, &name, Start::Latest, Direction::Backward, 1).await?;
    let taken = |page: &towline_log::Page| page.records.first().map(|record| record.ts_ms() as f64 / 1000.0);
    Ok(Json(TopicDetail {
        watched: doors.watches(&name),
        topic: name.to_string(),
        subscribers,
        lag_events,
        head: Position { epoch: bounds.epoch, offset: bounds.head },
        floor: bounds.floor,
        events: bounds.events,
        bytes: bounds.bytes,
        events_last_minute,
        oldest_ts: taken(&oldest),
        newest_ts: taken(&newest),
    }))
}

/// The head, and how many offsets lie between it and where the topic stood a minute ago.
async fn last_minute(shared: &Shared, name: &TopicName) -> Result<(Position, u64), Failure> {
    let since = Start::Time(shared.clock.unix_ms().saturating_sub(MINUTE_MS));
    let page = read(shared, name, since, Direction::Forward, 1).await?;
    Ok((Position { epoch: page.epoch, offset: page.head }, page.head.saturating_sub(page.from)))
}
