//! Server-Sent Events: the fallback for clients without WebSocket, over the same cursors. Its "socket" is the body of an HTTP answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http_body::Frame;
use towline_protocol::{ErrorCode, StartRequest, TopicName, cursor};
use towline_sockets::{Arrival, PipeBody, Source};

use super::Doors;
use super::door::SSE;
use super::gate::read_failed;
use super::joining::Joining;
use super::requests::not_refused;
use super::start;
use super::ticket::{Admission, Ticket};
use crate::http::Failure;
use crate::http::credential::identify;
use crate::http::params::Params;
use crate::server::Accepted;

/// Topics of one stream: every event's `id:` line names a position in each.
const TOPICS_MAX: usize = 32;

pub(super) async fn open(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let answer = doors.open_stream(&parts).await;
    doors.handshake_answered(parts.extensions.get().map(|accepted: &Accepted| accepted.since));
    match answer {
        Ok(response) => response,
        Err(failure) => {
            doors.shared.metrics.handshake(SSE.name, "refused");
            failure.into_response()
        }
    }
}

impl Doors {
    async fn open_stream(&self, parts: &Parts) -> Result<Response, Failure> {
        let params = Params::of(&parts.uri)?;
        let identity = identify(&self.shared, parts, params.text("user_id")?).await?;
        self.shared.limits.stream(&identity).inspect_err(|_| self.shared.metrics.limits.refused("user_connections"))?;
        let mut topics = Vec::new();
        for topic in start::topic_list(params.text("topics")?) {
            let wrong = |code, topic: &str, why: &str| Failure::new(code, format!("`topics`: {topic:?}: {why}"));
            let name = not_refused(&self.shared, &identity, topic)
                .map_err(|refusal| wrong(refusal.code, &refusal.topic, &refusal.message))?;
            let may = self.shared.may_read(&identity, &name).await;
            may.map_err(|error| wrong(error.code, topic, &error.message))?;
            if !topics.contains(&name) {
                topics.push(name);
            }
        }
        if topics.is_empty() || topics.len() > TOPICS_MAX {
            let why = format!("must name 1 to {TOPICS_MAX} topics, separated by commas");
            return Err(Failure::parameter("topics", ErrorCode::TooManyTopics, why));
        }
        if self.shared.draining() {
            return Err(Failure::new(ErrorCode::Unavailable, "the server is going away; try again"));
        }
        let Some(Accepted { place, client, .. }) = parts.extensions.get().cloned() else {
            return Err(Failure::new(ErrorCode::Internal, "this connection cannot carry a stream"));
        };
        let mut joined = Vec::with_capacity(topics.len());
        let mut joining = Joining::new(&self.hub, &self.shared.metrics);
        for (topic, start) in starts(parts, &params, topics)? {
            joined.push(joining.join(&topic, &start).await.map_err(|error| Failure::from(read_failed(&error)))?);
        }
        let (source, body) = Source::pair();
        let admission = Admission { door: &SSE, compression: None, identity, client, joined, asked: None, place };
        let ticket = Ticket::Admitted(Box::new(admission));
        self.mailbox().arrive(Arrival::Stream(source), ticket).map_err(|_| {
            self.shared.metrics.accepts_refused.inc();
            Failure::new(ErrorCode::Unavailable, "the server is overloaded; try again")
        })?;
        self.shared.metrics.handshake(SSE.name, "accepted");
        let headers = [
            (CONTENT_TYPE, "text/event-stream"),
            (CACHE_CONTROL, "no-cache, no-transform"),
            // nginx would collect the stream in its buffers otherwise.
            (http::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        Ok((headers, Body::new(StreamBody(body))).into_response())
    }
}

/// `Last-Event-ID` (a header, or a parameter for clients that cannot set one) wins: it is what a browser sends when it reconnects.
fn starts(parts: &Parts, params: &Params, topics: Vec<TopicName>) -> Result<Vec<(TopicName, StartRequest)>, Failure> {
    let header = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.or(params.text("last_event_id")?).filter(|id| !id.is_empty());
    if let Some(positions) = last.and_then(|id| cursor::decode_many(id).ok()) {
        return Ok(start::from_positions(&positions, topics));
    }
    match last {
        Some(id) => {
            let start = start::after_text(id)?;
            Ok(topics.into_iter().map(|topic| (topic, start.clone())).collect())
        }
        None => start::per_topic(params, topics),
    }
}

struct StreamBody(PipeBody);

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_bytes(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
