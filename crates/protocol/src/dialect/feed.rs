//! The activity feed's dialect: `{"type", "data", …}`. Every event type passes; there is no list of known ones.

use serde::Serialize;

use super::{Stamp, native};
use crate::codes::ErrorCode;
use crate::event::EventView;
use crate::message::{ClientMessage, ClientRequest, Decline, ServerMessage};
use crate::timestamp::iso;

pub(super) fn decode(text: &str) -> Result<ClientRequest<'_>, Decline> {
    let request = native::decode(text)?;
    match request.message {
        ClientMessage::Ping | ClientMessage::Pong(_) | ClientMessage::Auth(_) => Ok(request),
        _ => {
            let message =
                "this door carries one user's feed and takes only ping, pong and auth; use /ws with towline.v1 for more";
            Err(Decline::new(ErrorCode::UnknownType, message).of(request.id.as_deref()))
        }
    }
}

pub(super) fn encode_event(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.reserve(220 + event.topic.len() + event.extras.len() + event.data.len());
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(br#"","data":"#);
    out.extend_from_slice(event.data);
    for (name, value) in [("id", event.id), ("event_id", event.id), ("topic", event.topic)] {
        native::write_member(name, value, out);
    }
    native::write_member("timestamp", &iso(event.ts_ms), out);
    native::write_position(event, out);
    out.extend_from_slice(event.extras);
    out.push(b'}');
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(flatten)]
    message: &'a ServerMessage,
    id: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let outgoing = Outgoing { message, id: stamp.id, timestamp: iso(stamp.ts_ms), correlation_id: stamp.correlation_id };
    // Plain structs of strings and numbers always serialise, and a Vec takes all bytes.
    let _ = serde_json::to_writer(&mut *out, &outgoing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    // proves: A2
    #[test]
    fn any_type_passes_with_its_data_and_attributes() {
        for kind in ["agent.step_completed", "agent.research.completed", "approval.new", "system.briefing.ready", "x"] {
            let view = EventView {
                topic: "user:1",
                epoch: Epoch(1),
                offset: 1,
                prev: 0,
                ts_ms: 0,
                id: "e",
                kind,
                extras: br#","severity":"info""#,
                data: b"{}",
            };
            let mut out = Vec::new();
            encode_event(&view, &mut out);
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(json["type"], kind);
            assert_eq!((&json["id"], &json["event_id"]), (&"e".into(), &"e".into()));
            assert_eq!((&json["severity"], &json["timestamp"]), (&"info".into(), &"1970-01-01T00:00:00.000Z".into()));
        }
    }

    #[test]
    fn what_the_feed_does_not_take_is_declined_by_name() {
        assert!(decode(r#"{"type":"ping"}"#).is_ok());
        assert_eq!(decode(r#"{"type":"subscribe","data":{"topics":[]}}"#).unwrap_err().code, ErrorCode::UnknownType);
    }
}
