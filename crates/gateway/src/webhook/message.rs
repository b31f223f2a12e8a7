//! A message as it is posted.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use towline_log::Record;
use towline_protocol::{Epoch, Position, timestamp};

use super::letter::Letter;

/// What a call carries, and what its dead letter would tell.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event's id in `inbox:*`: the same for each attempt, and the receiver's idempotency key.
    pub id: Box<str>,
    /// Its type.
    pub kind: Box<str>,
    /// Who sent it.
    pub user: Box<str>,
    /// Where it stands in `inbox:*`.
    pub position: Position,
    /// When the log took it, Unix milliseconds.
    pub taken_ms: u64,
    /// How many times it was a dead letter before.
    pub round: u32,
    /// `{"type", "timestamp", "data"}`: byte for byte the same for each attempt.
    pub body: Bytes,
}

impl Message {
    /// A message from `inbox:*`.
    #[must_use]
    pub fn of_record(record: &Record, epoch: Epoch) -> Self {
        // Types are plain ASCII without quotes; the data was checked to be JSON when it was taken.
        let head = format!(r#"{{"type":"{}","timestamp":"{}","data":"#, record.kind(), timestamp::iso(record.ts_ms()));
        let body = [head.as_bytes(), record.data(), b"}"].concat();
        Self {
            id: record.id().into(),
            kind: record.kind().into(),
            user: sender(record.data()).into(),
            position: Position { epoch, offset: record.offset() },
            taken_ms: record.ts_ms(),
            round: 0,
            body: body.into(),
        }
    }

    /// A dead letter, to be delivered once more; none if it is none.
    #[must_use]
    pub fn of_letter(record: &Record) -> Option<Self> {
        let letter: Letter = serde_json::from_slice(record.data()).ok()?;
        Some(Self {
            id: letter.webhook_id.into(),
            kind: letter.kind.into(),
            user: letter.user_id.into(),
            position: letter.position,
            taken_ms: letter.taken_ms,
            round: letter.round + 1,
            body: Bytes::from(String::from(Box::<str>::from(letter.message))),
        })
    }
}

/// Who sent a message, from its data; empty if it does not say, so that such messages share one line.
#[must_use]
pub fn sender(data: &[u8]) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Sender<'a> {
        #[serde(borrow)]
        user_id: Cow<'a, str>,
    }
    serde_json::from_slice::<Sender<'_>>(data).map(|sender| sender.user_id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use towline_protocol::{NewEvent, TopicName};

    use super::*;

    #[test]
    fn a_body_has_the_specifications_members_and_the_data_as_it_was_stored() {
        let event = NewEvent {
            topic: TopicName::all_inboxes(),
            id: "0190ab12".into(),
            kind: "user_message".into(),
            extras: Box::default(),
            data: br#"{"user_id":"a\"b","payload":{"n":1.50}}"#.as_slice().into(),
        };
        let message = Message::of_record(&Record::from_event(&event, 7, 6, 1_719_958_453_042), Epoch(3));
        assert_eq!(
            std::str::from_utf8(&message.body).unwrap(),
            r#"{"type":"user_message","timestamp":"2024-07-02T22:14:13.042Z","data":{"user_id":"a\"b","payload":{"n":1.50}}}"#
        );
        assert_eq!((&*message.user, message.position.offset), ("a\"b", 7));
        assert_eq!(sender(b"[]"), "");
    }
}
