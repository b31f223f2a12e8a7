//! An event as a subscriber gets it.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::value::RawValue;
use towline_protocol::{Epoch, Offset, Position, Severity, TopicName};

/// One event of a topic. Within a topic events arrive in the order of their offsets, each once.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where it was published.
    pub topic: TopicName,
    /// Its id, unique within the topic.
    pub id: String,
    /// What happened, for example `agent.step_completed`.
    pub kind: String,
    /// When the server took it, in Unix seconds.
    pub ts: f64,
    /// Where it stands: hand it to [`crate::StartRequest::After`] to go on behind it, also in another process.
    pub position: Position,
    /// One line for people.
    pub title: Option<String>,
    /// How much a person should care.
    pub severity: Option<Severity>,
    /// Which kind of agent speaks.
    pub agent_type: Option<String>,
    /// Which execution of the agent this belongs to.
    pub run_id: Option<String>,
    /// Ties the event to a request of the application.
    pub correlation_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    data: Box<RawValue>,
    json: Box<str>,
    prev: Offset,
}

impl Event {
    /// The payload, read into a type of the caller's.
    ///
    /// # Errors
    /// The payload has another shape.
    pub fn data<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.data.get())
    }

    /// The payload as JSON text, on one line.
    #[must_use]
    pub fn data_json(&self) -> &str {
        self.data.get()
    }

    /// The whole envelope as JSON text, on one line, with all members that the server sent.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The offset of the event before it in the topic; 0 if it is the first.
    #[must_use]
    pub fn prev(&self) -> Offset {
        self.prev
    }

    /// Reads an envelope that has a position.
    pub(crate) fn parse(json: &str) -> serde_json::Result<Self> {
        let envelope: Envelope<'_> = serde_json::from_str(json)?;
        Ok(Self {
            topic: envelope.topic,
            id: envelope.id,
            kind: envelope.kind,
            ts: envelope.ts,
            position: Position { epoch: envelope.epoch, offset: envelope.offset },
            title: envelope.title,
            severity: envelope.severity,
            agent_type: envelope.agent_type,
            run_id: envelope.run_id,
            correlation_id: envelope.correlation_id,
            traceparent: envelope.traceparent,
            data: envelope.data.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned),
            json: json.into(),
            // Left out where the numbers are consecutive.
            prev: envelope.prev.unwrap_or(envelope.offset.saturating_sub(1)),
        })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    topic: TopicName,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    ts: f64,
    epoch: Epoch,
    offset: Offset,
    #[serde(default)]
    prev: Option<Offset>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    severity: Option<Severity>,
    #[serde(default)]
    agent_type: Option<String>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// A later server may know more severities: an unknown one reads as none, the event is not lost for it.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Severity>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_and_the_future_tolerated() {
        let json = r#"{"v":1,"id":"e1","topic":"user:1","type":"agent.started","ts":1719958453.042,"epoch":"19a","offset":9,"prev":7,"title":"T","severity":"urgent","new":[1],"data":{"a":1}}"#;
        let event = Event::parse(json).unwrap();
        assert_eq!((event.topic.as_str(), &*event.id, &*event.kind), ("user:1", "e1", "agent.started"));
        assert_eq!((event.position.to_string().as_str(), event.prev()), ("19a-9", 7));
        assert_eq!((event.title.as_deref(), event.severity), (Some("T"), None));
        assert_eq!(event.data::<serde_json::Value>().unwrap()["a"], 1);
        assert_eq!((event.data_json(), event.json()), (r#"{"a":1}"#, json));
        let plain = Event::parse(r#"{"id":"e","topic":"t","type":"x","ts":1,"epoch":"1","offset":4,"severity":"info"}"#).unwrap();
        assert_eq!((plain.prev(), plain.severity, plain.data_json()), (3, Some(Severity::Info), "null"));
    }

    #[test]
    fn what_has_no_place_in_a_history_is_no_event() {
        for bad in [
            "",
            "[]",
            r#"{"id":"e","topic":"t","type":"x","ts":1,"epoch":"1"}"#,
            r#"{"id":"e","topic":"a b","type":"x","ts":1,"epoch":"1","offset":1}"#,
            r#"{"id":"e","topic":"t","type":"x","ts":1,"epoch":"zz","offset":1}"#,
            r#"{"id":"e","topic":"t","type":"x","ts":1,"epoch":"1","offset":-1}"#,
        ] {
            assert!(Event::parse(bad).is_err(), "{bad}");
        }
    }
}
