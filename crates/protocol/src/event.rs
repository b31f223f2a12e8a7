//! Events as publishers hand them in, and as the log gives them back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codes::ErrorCode;
use crate::position::{Epoch, Offset};
use crate::topic::TopicName;

/// How much an event may carry. Every bound is a setting; these are the defaults.
#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    /// Bytes of `data` after white space is removed.
    pub data_bytes_max: usize,
    /// Nesting of arrays and objects in `data`: a browser's parser has to walk it.
    pub depth_max: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { data_bytes_max: 256 * 1024, depth_max: 64 }
    }
}

/// The longest event id, in bytes.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// The longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// The longest text of an optional attribute such as `title`, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 512;

/// How much a person should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing to do.
    Info,
    /// Worth a look.
    Warning,
    /// A person must act.
    ActionRequired,
}

/// One event as a publisher sends it, over REST or over a socket. Unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub struct PublishItem<'a> {
    /// Where it goes.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// What happened, for example `agent.step_completed`.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The payload: any JSON value; `{}` if left out.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    /// The publisher's own id: the same id within the dedup window is stored once. A UUIDv7 if left out.
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    /// W3C trace context, carried along unchanged.
    #[serde(borrow, default)]
    pub traceparent: Option<Cow<'a, str>>,
    /// Ties the event to a request of the application.
    #[serde(borrow, default)]
    pub correlation_id: Option<Cow<'a, str>>,
    /// One line for people.
    #[serde(borrow, default)]
    pub title: Option<Cow<'a, str>>,
    /// How much a person should care.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Which kind of agent speaks.
    #[serde(borrow, default)]
    pub agent_type: Option<Cow<'a, str>>,
    /// Which execution of the agent this belongs to.
    #[serde(borrow, default)]
    pub run_id: Option<Cow<'a, str>>,
}

/// An event that passed every check and may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Where it goes.
    pub topic: TopicName,
    /// Unique within its topic: 1 to [`EVENT_ID_BYTES_MAX`] visible ASCII bytes without `"` and `\`.
    pub id: Box<str>,
    /// 1 to [`EVENT_TYPE_BYTES_MAX`] visible ASCII bytes without `"` and `\`.
    pub kind: Box<str>,
    /// Further members of the envelope as JSON text, each with a leading comma (`,"title":"x"`), or empty.
    pub extras: Box<[u8]>,
    /// The payload as JSON text without line breaks.
    pub data: Box<[u8]>,
}

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl NewEvent {
    /// Checks an item and makes it ready to append. Authorisation is not checked here.
    ///
    /// # Errors
    /// The [`Refusal`] names the field and the rule.
    pub fn accept(item: &PublishItem<'_>, limits: &EventLimits) -> Result<Self, Refusal> {
        let topic = TopicName::new(&item.topic).map_err(|e| Refusal::new(ErrorCode::InvalidTopic, e.to_string()))?;
        let kind = label("type", &item.kind, EVENT_TYPE_BYTES_MAX)?;
        let id = match &item.id {
            Some(id) => label("id", id, EVENT_ID_BYTES_MAX)?,
            None => new_event_id(),
        };
        let data = payload(item.data.map_or("{}", RawValue::get), limits)?;
        let mut extras = Vec::new();
        for (name, value) in [
            ("correlation_id", &item.correlation_id),
            ("traceparent", &item.traceparent),
            ("title", &item.title),
            ("agent_type", &item.agent_type),
            ("run_id", &item.run_id),
        ] {
            if let Some(value) = value {
                if value.len() > ATTRIBUTE_BYTES_MAX {
                    return Err(Refusal::new(
                        ErrorCode::InvalidFormat,
                        format!("`{name}` has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are allowed", value.len()),
                    ));
                }
                extras.extend_from_slice(format!(",\"{name}\":").as_bytes());
                write_json_string(value, &mut extras);
            }
        }
        if let Some(severity) = item.severity {
            let text = match severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::ActionRequired => "action_required",
            };
            extras.extend_from_slice(format!(",\"severity\":\"{text}\"").as_bytes());
        }
        Ok(Self { topic, id, kind, extras: extras.into(), data })
    }

    /// Bytes that the event occupies in a record's body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.id.len() + self.kind.len() + self.extras.len() + self.data.len()
    }
}

/// A fresh event id: a UUIDv7, so that ids sort by time. Ids of the same millisecond are in no order; positions are.
#[must_use]
pub fn new_event_id() -> Box<str> {
    // `Uuid::now_v7` would take a lock that all threads share, for an order within the millisecond that nobody needs.
    let (seconds, nanos) = uuid::Timestamp::now(uuid::NoContext).to_unix();
    let mut random = [0; 10];
    // All but the two bytes that say that this is a UUIDv4.
    let bits = uuid::Uuid::new_v4().into_bytes();
    random[..6].copy_from_slice(&bits[..6]);
    random[6..].copy_from_slice(&bits[10..14]);
    let id = uuid::Builder::from_unix_timestamp_millis(seconds * 1000 + u64::from(nanos / 1_000_000), &random).into_uuid();
    id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned().into_boxed_str()
}

/// Writes `text` as a JSON string with its quotes.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and a str always serialises.
    let _ = serde_json::to_writer(out, text);
}

/// Whether a text may be an id or a type: 1 to `bytes_max` visible ASCII bytes other than `"` and `\`.
#[must_use]
pub fn is_label(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\')
}

/// Ids and types go into frames, log lines and URLs as they are, so they must be plain.
fn label(name: &str, text: &str, bytes_max: usize) -> Result<Box<str>, Refusal> {
    let refusal = |why: String| Refusal::new(ErrorCode::InvalidFormat, why);
    if text.is_empty() || text.len() > bytes_max {
        return Err(refusal(format!("`{name}` must have 1 to {bytes_max} bytes, it has {}", text.len())));
    }
    match text.chars().find(|c| !is_plain(*c)) {
        Some(bad) => Err(refusal(format!("`{name}` may hold visible ASCII without quotes and backslashes, not {bad:?}"))),
        None => Ok(text.into()),
    }
}

/// Checks depth and size, and removes white space between tokens, so that a payload is one line (SSE needs that).
fn payload(json: &str, limits: &EventLimits) -> Result<Box<[u8]>, Refusal> {
    let mut depth = 0_usize;
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                // Most of a payload is text: it is copied whole.
                let (text, others) = rest.split_at(string_len(rest));
                out.extend_from_slice(text);
                rest = others;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > limits.depth_max {
                    return Err(Refusal::new(
                        ErrorCode::InvalidFormat,
                        format!("`data` is nested deeper than {} levels", limits.depth_max),
                    ));
                }
                out.push(byte);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                out.push(byte);
            }
            _ => out.push(byte),
        }
        rest = behind;
    }
    if out.len() > limits.data_bytes_max {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("`data` has {} bytes; at most {} are allowed", out.len(), limits.data_bytes_max),
        ));
    }
    Ok(out.into())
}

/// Bytes of the string that `json` begins with, its quotes included. `json` was parsed before, so the string has an end.
fn string_len(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        // Whatever is escaped is not the end.
        at += 1;
    }
    json.len()
}

/// One stored event, borrowed, with all that an encoder needs.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// Where it stands.
    pub topic: &'a str,
    /// The history it belongs to.
    pub epoch: Epoch,
    /// Its number.
    pub offset: Offset,
    /// The number of the event before it in the topic; 0 if it is the first.
    pub prev: Offset,
    /// When the log took it, in milliseconds since the Unix epoch; never decreases within a topic.
    pub ts_ms: u64,
    /// Its id.
    pub id: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Further envelope members as JSON text, each with a leading comma.
    pub extras: &'a [u8],
    /// The payload as JSON text.
    pub data: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(json: &str) -> Result<NewEvent, Refusal> {
        NewEvent::accept(&serde_json::from_str(json).unwrap(), &EventLimits::default())
    }

    #[test]
    fn an_item_becomes_one_line_of_data_and_its_attributes() {
        let event = accept(
            "{\"topic\":\"user:42\",\"type\":\"agent.started\",\"data\":{ \"a\" : [1,\n 2], \"s\":\"x \\\" \\n y\" },\n\
             \"title\":\"A \\\"b\\\"\",\"severity\":\"action_required\",\"unknown\":1}",
        )
        .unwrap();
        assert_eq!(std::str::from_utf8(&event.data).unwrap(), r#"{"a":[1,2],"s":"x \" \n y"}"#);
        assert_eq!(std::str::from_utf8(&event.extras).unwrap(), r#","title":"A \"b\"","severity":"action_required""#);
        assert_eq!(event.id.len(), 36);
        assert_eq!(&*accept(r#"{"topic":"t","type":"x"}"#).unwrap().data, b"{}");
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, code, word) in [
            (r#"{"topic":"a b","type":"x"}"#.to_owned(), ErrorCode::InvalidTopic, "topic"),
            (r#"{"topic":"a","type":""}"#.to_owned(), ErrorCode::InvalidFormat, "`type`"),
            (r#"{"topic":"a","type":"x","id":"a\"b"}"#.to_owned(), ErrorCode::InvalidFormat, "`id`"),
            (format!(r#"{{"topic":"a","type":"x","title":"{}"}}"#, "x".repeat(513)), ErrorCode::InvalidFormat, "`title`"),
            (
                format!(r#"{{"topic":"a","type":"x","data":{}1{}}}"#, "[".repeat(65), "]".repeat(65)),
                ErrorCode::InvalidFormat,
                "nested",
            ),
            (format!(r#"{{"topic":"a","type":"x","data":"{}"}}"#, "x".repeat(256 * 1024)), ErrorCode::TooLarge, "`data`"),
        ] {
            let refusal = accept(&json).unwrap_err();
            assert_eq!(refusal.code, code);
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
    }
}
