//! `GET /api/v1/admin/tail`: topics live, as newline-delimited JSON or Server-Sent Events, filtered by type.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use towline_protocol::{Asked, Dialect, ErrorCode, ServerMessage, Stamp, StartRequest, TopicName, event};

use super::require_read;
use crate::doors::{Doors, Drawn, Tap, gap_notice, start_of_query};
use crate::http::failure::Failure;
use crate::http::params::Params;

/// Topics of one tail.
const TOPICS_MAX: usize = 32;
/// Pieces that wait for a slow reader; then nothing more is read from the log for it.
const PIECES_MAX: usize = 2;
/// A line without content comes this often, so that a reader that has gone is noticed.
const BEAT: Duration = Duration::from_secs(15);

/// Which events, by their type: one, or all that begin with a prefix.
enum Types {
    All,
    One(Box<str>),
    Prefix(Box<str>),
}

impl Types {
    fn of(text: Option<&str>) -> Self {
        match text.map(|text| (text, text.strip_suffix('*'))) {
            None => Self::All,
            Some((_, Some(prefix))) => Self::Prefix(prefix.into()),
            Some((text, None)) => Self::One(text.into()),
        }
    }

    fn take(&self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => kind == &**one,
            Self::Prefix(prefix) => kind.starts_with(&**prefix),
        }
    }
}

pub(super) async fn tail(State(doors): State<Arc<Doors>>, parts: Parts) -> Result<Response, Failure> {
    require_read(doors.shared(), &parts)?;
    let params = Params::of(&parts.uri)?;
    let topics = topics(&params)?;
    let types = Types::of(params.text("type")?);
    let start = start_of_query(&params)?.unwrap_or(StartRequest::Latest);
    let tap = doors.tap(&topics, &start).await?;
    let Some(tap) = tap else {
        return Err(Failure::new(ErrorCode::RateLimited, "too many operators look at topics; try again when one has ended"));
    };
    let streamed =
        parts.headers.get(ACCEPT).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("event-stream"));
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let leaving = doors.shared().drain_begun();
    let pouring = pour(doors, tap, types, streamed, sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = pouring => {}
            () = leaving => {}
            () = sender.closed() => {}
        }
    });
    let body = stream::poll_fn(move |context| pieces.poll_recv(context)).map(Ok::<_, Infallible>);
    let kind = if streamed { "text/event-stream" } else { "application/x-ndjson" };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache, no-transform")], Body::from_stream(body)).into_response())
}

fn topics(params: &Params) -> Result<Vec<TopicName>, Failure> {
    let bad = |name, why: &dyn std::fmt::Display| Failure::parameter(name, ErrorCode::InvalidTopic, why);
    let mut topics = Vec::new();
    for name in params.text("topic")?.unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
        topics.push(TopicName::new(name).map_err(|why| bad("topic", &why))?);
    }
    if let Some(user) = params.text("user")? {
        topics.push(TopicName::of_user(user).map_err(|why| bad("user", &why))?);
    }
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        let why = format!("name 1 to {TOPICS_MAX} topics, separated by commas, or a `user`");
        return Err(Failure::parameter("topic", ErrorCode::TooManyTopics, why));
    }
    Ok(topics)
}

/// Writes what comes until the reader or the log fails.
async fn pour(doors: Arc<Doors>, mut tap: Tap, types: Types, streamed: bool, sender: mpsc::Sender<Bytes>) {
    loop {
        let piece = match tap.draw().await {
            Ok(Some(drawn)) => write(&doors, &drawn, &types, streamed),
            Ok(None) => {
                if tap.wait(BEAT).await {
                    continue;
                }
                if streamed { b": beat\n\n".to_vec() } else { b"\n".to_vec() }
            }
            Err(error) => return tracing::error!(%error, "a read for an operator's tail failed"),
        };
        if !piece.is_empty() && sender.send(piece.into()).await.is_err() {
            return;
        }
    }
}

/// The lines of a piece that are asked for, as envelopes.
fn write(doors: &Doors, drawn: &Drawn, types: &Types, streamed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |write: &dyn Fn(&mut Vec<u8>)| {
        if streamed {
            out.extend_from_slice(b"data: ");
        }
        write(&mut out);
        out.extend_from_slice(if streamed { b"\n\n" } else { b"\n" });
    };
    if let Some(gap) = drawn.gap {
        let message = ServerMessage::Gap { topic: drawn.topic.to_string(), gap: gap_notice(gap) };
        let id = event::new_event_id();
        let stamp = Stamp { id: &id, ts_ms: doors.shared().clock.unix_ms(), correlation_id: None, asked: Asked::Other };
        line(&|out| Dialect::Native.encode_message(&message, stamp, out));
    }
    for record in drawn.records.iter().filter(|record| types.take(record.kind())) {
        line(&|out| Dialect::Native.encode_event(&record.view(&drawn.topic, drawn.epoch), out));
    }
    out
}
