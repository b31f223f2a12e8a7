//! Dead letters as they stand in `dead-letter:webhook`, and the marks beside them. All of them only ever grow; what counts is the fold over
//! them (`letters`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use towline_protocol::{NewEvent, Offset, Position, TopicName};

use super::message::Message;
use super::progress::Saved;
use super::verdict::{Outcome, Reason};

/// Type of a dead letter.
pub const LETTER: &str = "webhook.dead_letter";
/// Type of the mark that a letter shall be delivered once more.
pub const REDRIVEN: &str = "webhook.redriven";
/// Type of the mark that it was.
pub const REDELIVERED: &str = "webhook.redelivered";
/// Type of the kept progress.
const CURSOR: &str = "webhook.cursor";

/// What finally failed: enough to deliver it again when the inbox has long been trimmed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    /// The message's `webhook-id`.
    pub webhook_id: String,
    /// How many times it was a dead letter before.
    pub round: u32,
    /// Who sent it.
    pub user_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why it is here: `refused`, `failed`, `expired`, `backlog`.
    pub reason: String,
    /// Calls that were made for it in this round.
    pub attempts: u32,
    /// What the last one came to: `refused`, `failed`, `busy`, `timeout`, `unreachable`, `internal_address`.
    pub last_outcome: Option<String>,
    /// The last call's status, if it was answered.
    pub last_status: Option<u16>,
    /// Where the message stands in `inbox:*`.
    pub position: Position,
    /// When it was taken, Unix milliseconds.
    pub taken_ms: u64,
    /// The letter that this one takes the place of, if the message was redriven.
    pub replaces: Option<Offset>,
    /// The body of the call.
    pub message: Box<RawValue>,
}

/// What a mark says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The offset of the letter.
    pub letter: Offset,
    /// The message's `webhook-id`, for people.
    pub webhook_id: String,
}

/// Where dead letters stand.
#[must_use]
pub fn letters_topic() -> TopicName {
    topic(TopicName::new("dead-letter:webhook"))
}

/// Where the progress is kept.
#[must_use]
pub fn cursor_topic() -> TopicName {
    topic(TopicName::internal("webhook"))
}

fn topic<E: std::fmt::Display>(name: Result<TopicName, E>) -> TopicName {
    name.unwrap_or_else(|error| unreachable!("a name in the code: {error}"))
}

/// The event of a dead letter.
#[must_use]
pub fn letter(message: &Message, reason: Reason, attempts: u32, last: Option<Outcome>, replaces: Option<Offset>) -> NewEvent {
    let body = std::str::from_utf8(&message.body).ok().and_then(|body| RawValue::from_string(body.to_owned()).ok());
    let letter = Letter {
        webhook_id: message.id.to_string(),
        round: message.round,
        user_id: message.user.to_string(),
        kind: message.kind.to_string(),
        reason: reason.as_str().to_owned(),
        attempts,
        last_outcome: last.map(|last| last.class().to_owned()),
        last_status: last.and_then(Outcome::status),
        position: message.position,
        taken_ms: message.taken_ms,
        replaces,
        message: body.unwrap_or_else(|| RawValue::NULL.to_owned()),
    };
    // The same id if a process ends before it knows that this was stored: then it is stored once.
    event(letters_topic(), format!("{}.{}", message.id, message.round).into(), LETTER, &letter)
}

/// The event of a mark.
#[must_use]
pub fn mark(kind: &'static str, letter: Offset, webhook_id: &str) -> NewEvent {
    let id = format!("{kind}-{letter}-{webhook_id}");
    event(letters_topic(), id.into(), kind, &Mark { letter, webhook_id: webhook_id.to_owned() })
}

/// The event of the progress.
#[must_use]
pub fn cursor(saved: &Saved) -> NewEvent {
    event(cursor_topic(), towline_protocol::event::new_event_id(), CURSOR, saved)
}

fn event(topic: TopicName, id: Box<str>, kind: &str, data: &impl Serialize) -> NewEvent {
    // These are plain structures with text keys, which always serialise.
    let data = serde_json::to_vec(data).unwrap_or_default().into();
    NewEvent { topic, id, kind: kind.into(), extras: Box::default(), data }
}
