//! `towline.v1+msgpack`: the messages of `towline.v1` in MessagePack, member for member. Whatever there is to say about a message is said
//! in [`native`]; here it changes its clothes.

use super::{Stamp, native};
use crate::codes::ErrorCode;
use crate::event::EventView;
use crate::message::{Decline, ServerMessage};
use crate::msgpack::{MsgpackError, from_json, to_json};

pub(super) fn text_of(bytes: &[u8], text_bytes_max: usize) -> Result<String, Decline> {
    to_json(bytes, text_bytes_max).map_err(|error| {
        let code = if let MsgpackError::TooLarge { .. } = error { ErrorCode::TooLarge } else { ErrorCode::JsonParse };
        Decline::new(code, format!("not taken as MessagePack: {error}"))
    })
}

pub(super) fn encode_event(event: &EventView<'_>, out: &mut Vec<u8>) {
    let mut json = Vec::new();
    native::encode_event(event, &mut json);
    if !pack(&json, out) {
        // The log holds what was JSON when it came in. Were it not, the event would keep its place, so that nobody takes it for a hole.
        json.clear();
        native::encode_event(&EventView { extras: b"", data: b"null", ..*event }, &mut json);
        pack(&json, out);
    }
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let mut json = Vec::new();
    native::encode_message(message, stamp, &mut json);
    pack(&json, out);
}

fn pack(json: &[u8], out: &mut Vec<u8>) -> bool {
    std::str::from_utf8(json).is_ok_and(|json| from_json(json, out).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::Dialect;
    use crate::message::{
        Asked, ConnectionLimits, ErrorBody, GapCause, GapNotice, PublishResult, StoredAt, Subscribed, TopicRefusal,
    };
    use crate::position::{Epoch, Position};

    const EVENT: EventView<'static> = EventView {
        topic: "user:1",
        epoch: Epoch(0x19a),
        offset: 300,
        prev: 7,
        ts_ms: 1_719_958_453_042,
        id: "e1",
        kind: "agent.started",
        extras: br#","title":"T""#,
        data: br#"{"a":[1,-5,0.5,null,true,"\u00e9"]}"#,
    };

    fn event(view: &EventView<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Dialect::NativeBinary.encode_event(view, &mut out);
        out
    }

    /// A golden vector: other clients are tested against the same bytes.
    #[test]
    fn an_event_has_these_bytes() {
        let mut bytes = b"\x8a\xa1v\x01\xa2id\xa2e1\xa5topic\xa6user:1\xa4type\xadagent.started\xa2ts\xcb".to_vec();
        bytes.extend_from_slice(&1_719_958_453.042_f64.to_be_bytes());
        bytes.extend_from_slice(b"\xa5epoch\xa319a\xa6offset\xcd\x01\x2c\xa4prev\x07\xa5title\xa1T");
        bytes.extend_from_slice(b"\xa4data\x81\xa1a\x96\x01\xfb\xca\x3f\x00\x00\x00\xc0\xc3\xa2\xc3\xa9");
        assert_eq!(event(&EVENT), bytes);
    }

    #[test]
    fn an_event_that_is_no_json_keeps_its_place() {
        for data in [&b"{"[..], b"\xff", b"1,2"] {
            let json = text_of(&event(&EventView { data, ..EVENT }), 1000).unwrap();
            assert!(json.contains(r#""offset":300,"prev":7,"data":null"#), "{json}");
        }
    }

    fn every_message() -> Vec<ServerMessage> {
        let position = Position { epoch: Epoch(u64::MAX), offset: (1 << 53) - 1 };
        let gap = GapNotice { reason: GapCause::EpochChanged, requested: Some(position), resume_after: position };
        let refusal = TopicRefusal { topic: "t".into(), code: ErrorCode::Forbidden, message: "é \"quoted\"\n".into() };
        let stored = StoredAt { id: "e".into(), topic: "t".into(), epoch: Epoch(1), offset: 1, ts: 1_719_958_453.042 };
        let limits = ConnectionLimits {
            message_bytes_max: u64::MAX,
            topics_max: 200,
            inbox_message_bytes_max: Some(10_240),
            user_connections_max: Some(5),
            user_messages_per_minute_max: None,
        };
        vec![
            ServerMessage::Welcome {
                connection_id: "0-17".into(),
                user_id: "42".into(),
                server_time: 1_719_958_453.042,
                heartbeat_interval_ms: 30_000,
                idle_timeout_ms: 60_000,
                topics: vec!["a".into()],
                expires_at: Some(1.5),
                limits,
                features: None,
            },
            ServerMessage::SubscribeAck {
                subscriptions: vec![Subscribed {
                    topic: "t".into(),
                    from: position,
                    to: position,
                    complete: false,
                    gap: Some(gap.clone()),
                }],
                errors: vec![refusal.clone()],
            },
            ServerMessage::UnsubscribeAck { topics: vec!["t".into()], errors: vec![refusal] },
            ServerMessage::PublishAck {
                results: vec![
                    PublishResult::Stored(stored.clone()),
                    PublishResult::Duplicate(stored),
                    PublishResult::Refused { id: None, error: ErrorBody::new(ErrorCode::TooLarge, "too large") },
                ],
            },
            ServerMessage::AuthAck { expires_at: None },
            ServerMessage::AuthExpiring { expires_at: 2.25, seconds_left: 59 },
            ServerMessage::Ping {},
            ServerMessage::Pong {},
            ServerMessage::Gap { topic: "t".into(), gap },
            ServerMessage::CaughtUp { topic: "t".into(), replayed: 3, epoch: Epoch(1), offset: 3 },
            ServerMessage::Reconnect { retry_after_ms: 2750 },
            ServerMessage::Error(ErrorBody::new(ErrorCode::Internal, "")),
        ]
    }

    /// What a client makes of a binary message is what it would make of the text.
    #[test]
    fn every_server_message_says_the_same_in_both_encodings() {
        for message in every_message() {
            let stamp = Stamp { id: "m", ts_ms: 1_719_958_453_042, correlation_id: Some("c"), asked: Asked::Other };
            let (mut text, mut bytes) = (Vec::new(), Vec::new());
            Dialect::Native.encode_message(&message, stamp, &mut text);
            Dialect::NativeBinary.encode_message(&message, stamp, &mut bytes);
            assert_eq!(text_of(&bytes, 10_000).unwrap().as_bytes(), text);
            let read: ServerMessage = rmp_serde::from_slice(&bytes).unwrap();
            assert_eq!(read, message);
        }
    }

    #[test]
    fn every_client_message_says_the_same_in_both_encodings() {
        for json in [
            r#"{"id":"1","type":"subscribe","data":{"topics":["a",{"topic":"b","from":{"epoch":"ab","offset":9007199254740991}},{"topic":"c","from":{"ts":1719958453.042}}]}}"#,
            r#"{"id":"2","type":"unsubscribe","data":{"topics":["a","b"]}}"#,
            r#"{"id":"3","type":"publish","data":{"topic":"a","type":"x","data":{"n":[18446744073709551615,-9223372036854775808,0.1]},"severity":"info"}}"#,
            r#"{"id":"4","type":"publish","data":{"events":[{"topic":"a","type":"x"},{"topic":"b","type":"y","title":"\u0001"}]}}"#,
            r#"{"id":"5","type":"ping"}"#,
            r#"{"id":"6","type":"pong","data":{"last_seen":{"a":"e1"}}}"#,
            r#"{"id":"7","type":"auth","data":{"token":"t"}}"#,
            r#"{"id":"8","type":"dance"}"#,
            r#"{"id":"9","type":"subscribe","data":{"topics":7}}"#,
            r#"[1]"#,
        ] {
            let mut bytes = Vec::new();
            from_json(json, &mut bytes).unwrap();
            let text = Dialect::NativeBinary.text_of(&bytes, 10_000).unwrap().unwrap();
            let shown = |text: &str| format!("{:?}", Dialect::NativeBinary.decode(text));
            assert_eq!(shown(&text), format!("{:?}", Dialect::Native.decode(json)), "{json}");
        }
        assert!(Dialect::Native.text_of(b"\x80", 10_000).is_none() && Dialect::Feed.text_of(b"\x80", 10_000).is_none());
    }

    proptest! {
        #[test]
        fn every_event_says_the_same_in_both_encodings(
            offset in 1..(1u64 << 53),
            back in 1..1000u64,
            ts_ms in 0..253_402_300_800_000u64,
            epoch in any::<u64>(),
            title in ".{0,40}",
            data in "[ -~é]{0,40}",
        ) {
            let title = format!(",\"title\":{}", serde_json::json!(title));
            let data = serde_json::json!({ "text": data, "n": ts_ms }).to_string();
            let (epoch, prev) = (Epoch(epoch), offset.saturating_sub(back));
            let view = EventView { offset, prev, ts_ms, epoch, extras: title.as_bytes(), data: data.as_bytes(), ..EVENT };
            let mut text = Vec::new();
            Dialect::Native.encode_event(&view, &mut text);
            let mut from_text: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let mut from_bytes: serde_json::Value = rmp_serde::from_slice(&event(&view)).unwrap();
            // The nearest double to the decimals, which the text's parser does not always find.
            prop_assert_eq!(from_bytes["ts"].take().as_f64(), Some(ts_ms as f64 / 1000.0));
            from_text["ts"].take();
            prop_assert_eq!(from_bytes, from_text);
        }
    }
}
