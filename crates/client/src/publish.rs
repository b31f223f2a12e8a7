//! Publishing over HTTP, repeated until it is known what became of each event.
//!
//! Repeating is safe: an event has its id before the first attempt, and the server stores an id once.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::sleep;
use towline_protocol::event::new_event_id;
use towline_protocol::{ErrorBody, ErrorCode, PublishResult, Severity};

use crate::backoff::Backoff;
use crate::client::{Client, bearer};
use crate::error::PublishError;

/// Events in one request.
const BATCH_EVENTS_MAX: usize = 256;
/// Bytes in one request, unless a single event has more.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// An answer is a few hundred bytes per event.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A restarting server is back in well under a second.
const RETRY_BASE: Duration = Duration::from_millis(200);
/// The longest pause between two attempts.
const RETRY_CEILING: Duration = Duration::from_secs(5);

/// An event to be published.
#[derive(Debug, Clone, Serialize)]
pub struct Publish {
    topic: String,
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl Publish {
    /// An event of type `kind` for `topic`, with a fresh id and `{}` as its payload. The server checks the names.
    pub fn new(topic: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            kind: kind.into(),
            id: new_event_id().into(),
            data: None,
            title: None,
            severity: None,
            agent_type: None,
            run_id: None,
            correlation_id: None,
            traceparent: None,
        }
    }

    /// An id of the publisher's own. The same id on the same topic is stored once within the server's dedup window.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Another event with the same contents: give each event made from a template its own id.
    #[must_use]
    pub fn fresh_id(self) -> Self {
        self.id(new_event_id())
    }

    /// The payload.
    #[must_use]
    pub fn data(mut self, data: impl Into<serde_json::Value>) -> Self {
        // A JSON value always serialises.
        self.data = serde_json::value::to_raw_value(&data.into()).ok();
        self
    }

    /// The payload as JSON text, passed on digit for digit.
    #[must_use]
    pub fn raw_data(mut self, data: Box<RawValue>) -> Self {
        self.data = Some(data);
        self
    }

    /// One line for people, at most 512 bytes.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// How much a person should care.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Which kind of agent speaks.
    #[must_use]
    pub fn agent_type(mut self, agent_type: impl Into<String>) -> Self {
        self.agent_type = Some(agent_type.into());
        self
    }

    /// Which execution of the agent this belongs to.
    #[must_use]
    pub fn run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Ties the event to a request of the application.
    #[must_use]
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// W3C trace context.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }
}

/// What one attempt brought.
enum Attempt {
    Results(Vec<PublishResult>),
    /// Worth repeating: why, and when the server would like it.
    Again {
        last: String,
        after: Option<Duration>,
    },
    /// The token was refused, and another may be had.
    Reauthenticate,
}

impl Client {
    /// Appends events and gives one result for each, in the order given. An answer other than [`PublishResult::Refused`] says that the
    /// event is as durable as its topic promises.
    ///
    /// While the server is away or overloaded, the attempt is repeated for `publish_patience`; so is an event that was refused for a
    /// passing reason, which then stands behind the others. A result that is still a refusal afterwards is returned as such.
    /// Dropping the future stops waiting; events on their way may still be stored.
    ///
    /// # Errors
    /// [`PublishError`]: what happened to the last batch is unknown; publishing clones of the same events again is safe.
    pub async fn publish(&self, events: impl IntoIterator<Item = Publish>) -> Result<Vec<PublishResult>, PublishError> {
        let mut results = Vec::new();
        let mut batch: Vec<String> = Vec::new();
        let mut bytes = 0;
        for event in events {
            // Texts, numbers and checked JSON always serialise.
            let text = serde_json::to_string(&event).unwrap_or_default();
            if batch.len() == BATCH_EVENTS_MAX || (bytes + text.len() > BATCH_BYTES_MAX && !batch.is_empty()) {
                results.extend(self.publish_batch(&batch).await?);
                batch.clear();
                bytes = 0;
            }
            bytes += text.len();
            batch.push(text);
        }
        if !batch.is_empty() {
            results.extend(self.publish_batch(&batch).await?);
        }
        Ok(results)
    }

    async fn publish_batch(&self, batch: &[String]) -> Result<Vec<PublishResult>, PublishError> {
        let patience = self.shared.settings.publish_patience;
        let started = self.shared.clock.uptime();
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CEILING, fastrand::u64(..));
        let mut done: Vec<Option<PublishResult>> = vec![None; batch.len()];
        let mut pending: Vec<usize> = (0..batch.len()).collect();
        let mut reauthenticated = false;
        loop {
            let (last, after) = match self.attempt(batch, &pending, !reauthenticated).await? {
                Attempt::Results(results) => {
                    for (&at, result) in pending.iter().zip(results) {
                        done[at] = Some(result);
                    }
                    pending.retain(|&at| matches!(&done[at], Some(PublishResult::Refused { error, .. }) if error.retryable));
                    if pending.is_empty() {
                        return Ok(done.into_iter().flatten().collect());
                    }
                    ("some events were refused for a passing reason".to_owned(), None)
                }
                Attempt::Again { last, after } => (last, after),
                Attempt::Reauthenticate => {
                    reauthenticated = true;
                    continue;
                }
            };
            let pause = after.unwrap_or_default().max(backoff.next_delay());
            let waited = self.shared.clock.uptime().saturating_sub(started);
            if waited + pause > patience {
                return if done.iter().all(Option::is_some) {
                    Ok(done.into_iter().flatten().collect())
                } else {
                    Err(PublishError::Unreachable { waited, last })
                };
            }
            sleep(pause).await;
        }
    }

    async fn attempt(&self, batch: &[String], pending: &[usize], may_reauthenticate: bool) -> Result<Attempt, PublishError> {
        let token = match self.shared.token.get().await {
            Ok(token) => token,
            Err(error) => return Ok(Attempt::Again { last: error.to_string(), after: None }),
        };
        let body = format!("[{}]", pending.iter().map(|&at| batch[at].as_str()).collect::<Vec<_>>().join(","));
        let mut request = self
            .shared
            .http
            .post(&self.shared.events_url)
            .timeout(self.shared.settings.request_timeout)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(bearer) = token.as_deref().and_then(bearer) {
            request = request.header(AUTHORIZATION, bearer);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Again { last: chain(&error), after: None }),
        };
        let status = response.status().as_u16();
        let after = retry_after(response.headers());
        let mut answer = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answer.len() + chunk.len() <= ANSWER_BYTES_MAX => answer.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(PublishError::BadAnswer(format!("it has more than {ANSWER_BYTES_MAX} bytes"))),
                Ok(None) => break,
                Err(error) => return Ok(Attempt::Again { last: chain(&error), after }),
            }
        }
        // Each item has its own result whatever the status of the whole.
        if let Ok(Answer { results }) = serde_json::from_slice(&answer) {
            if results.len() != pending.len() {
                let (got, sent) = (results.len(), pending.len());
                return Err(PublishError::BadAnswer(format!("{got} results for {sent} events")));
            }
            return Ok(Attempt::Results(results));
        }
        let message = message_of(&answer).unwrap_or_else(|| format!("status {status} without a message"));
        match status {
            200..300 => Err(PublishError::BadAnswer("it has no results".to_owned())),
            401 if may_reauthenticate && self.shared.token.can_refresh() => Ok(Attempt::Reauthenticate),
            401 => Err(PublishError::Denied(ErrorBody::new(ErrorCode::Unauthorized, message))),
            403 => Err(PublishError::Denied(ErrorBody::new(ErrorCode::Forbidden, message))),
            408 | 425 | 429 | 500 | 502 | 503 | 504 | 507 => {
                Ok(Attempt::Again { last: format!("the server answered {status}: {message}"), after })
            }
            _ => Err(PublishError::Refused { status, message }),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<PublishResult>,
}

/// The message of an error answer: `{"error":{"message"}}` or `{"message"}`.
pub(crate) fn message_of(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let message = json.pointer("/error/message").or_else(|| json.get("message"))?.as_str()?;
    Some(message.chars().take(500).collect())
}

/// `Retry-After` in seconds; the form with a date is left to the client's own back-off.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes: reqwest's own text does not say why a connection failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::{EventLimits, NewEvent};

    #[test]
    fn the_server_accepts_what_is_built_here() {
        let event = Publish::new("user:1", "agent.started")
            .id("q1:1")
            .data(serde_json::json!({"a": [1, 2]}))
            .title("T")
            .severity(Severity::ActionRequired)
            .agent_type("librarian")
            .run_id("r")
            .correlation_id("c")
            .traceparent("00-0-0-00");
        let text = serde_json::to_string(&event).unwrap();
        let accepted = NewEvent::accept(&serde_json::from_str(&text).unwrap(), &EventLimits::default()).unwrap();
        assert_eq!((accepted.topic.as_str(), &*accepted.id, &*accepted.kind), ("user:1", "q1:1", "agent.started"));
        assert_eq!(&*accepted.data, br#"{"a":[1,2]}"#);
        let extras = String::from_utf8(accepted.extras.into()).unwrap();
        for word in ["\"T\"", "action_required", "librarian", "\"r\"", "\"c\"", "00-0-0-00"] {
            assert!(extras.contains(word), "{word} in {extras}");
        }
    }

    #[test]
    fn every_event_has_an_id_before_it_is_sent() {
        let (a, b) = (Publish::new("t", "x"), Publish::new("t", "x"));
        assert!(a.id.len() == 36 && a.id != b.id && a.clone().id == a.id);
    }

    #[test]
    fn messages_are_found_in_either_shape() {
        assert_eq!(message_of(br#"{"error":{"code":"X","message":"why"}}"#).as_deref(), Some("why"));
        assert_eq!(message_of(br#"{"code":"X","message":"why"}"#).as_deref(), Some("why"));
        assert_eq!(message_of(b"<html>"), None);
    }
}
