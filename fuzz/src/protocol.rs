//! What publishers and clients send: JSON messages, and the small texts in them and in query strings.

use serde_json::value::RawValue;
use towline_protocol::message::StartRequest;
use towline_protocol::msgpack::{MsgpackError, from_json, to_json};
use towline_protocol::timestamp::{iso, parse_ms, write_seconds};
use towline_protocol::{
    ClientMessage, Dialect, Epoch, EventLimits, EventView, InboxMessage, NewEvent, Position, PublishItem, TopicName,
    TopicPattern, cursor,
};

/// Small, so that short inputs reach every limit.
const LIMITS: EventLimits = EventLimits { data_bytes_max: 200, depth_max: 6 };

/// Topic names and patterns.
pub fn topic(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = TopicName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= TopicName::BYTES_MAX && text.starts_with(name.kind()));
        // Names stand in JSON strings as they are.
        assert_eq!(serde_json::from_str::<TopicName>(&format!("\"{text}\"")).ok(), Some(name));
    }
    if let Ok(pattern) = TopicPattern::new(text) {
        assert_eq!(pattern.to_string(), text);
        assert!(!pattern.matches(""));
        match text.strip_suffix('*') {
            Some(prefix) => assert!(pattern.matches(&format!("{prefix}x")) && !pattern.matches(prefix)),
            None => assert!(pattern.matches(text) && !pattern.matches(&format!("{text}x"))),
        }
    }
}

/// Positions as text and as JSON.
pub fn position(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = text.parse::<Position>() {
        check_position(position);
    }
    if let Ok(position) = serde_json::from_str::<Position>(text) {
        check_position(position);
    }
}

/// Paging tokens.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = cursor::decode(text) {
        check_position(position);
        assert_eq!(cursor::decode(&cursor::encode(position)), Ok(position));
    }
    if let Ok(positions) = cursor::decode_many(text) {
        let again = cursor::encode_many(positions.iter().map(|(topic, position)| (topic, *position)));
        assert_eq!(cursor::decode_many(&again), Ok(positions));
    }
}

/// Times.
pub fn timestamp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ms) = parse_ms(text) {
        assert_eq!(parse_ms(&iso(ms)), Ok(ms), "{}", iso(ms));
        let mut seconds = Vec::new();
        write_seconds(ms, &mut seconds);
        assert!(serde_json::from_slice::<f64>(&seconds).is_ok());
    }
}

/// An event as a publisher sends it, up to the frames that subscribers get.
pub fn publish_item(data: &[u8]) {
    if let Ok(item) = serde_json::from_slice::<PublishItem<'_>>(data) {
        check_item(&item);
    }
}

/// A client's binary message.
pub fn binary_message(data: &[u8]) {
    const TEXT_BYTES_MAX: usize = 500;
    let Ok(text) = to_json(data, TEXT_BYTES_MAX) else { return };
    assert!(text.len() <= TEXT_BYTES_MAX);
    // The bytes may have been longer than need be; what they say stands.
    let mut shortest = Vec::new();
    from_json(&text, &mut shortest).expect("JSON");
    assert!(shortest.len() <= data.len(), "{text}");
    assert_eq!(to_json(&shortest, TEXT_BYTES_MAX).as_ref(), Ok(&text));
    client_message(text.as_bytes());
}

/// A client's text message in every dialect.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_packing(text);
    for dialect in Dialect::ALL {
        match dialect.decode(text) {
            Ok(request) => {
                assert!(request.id.is_none_or(|id| id.len() <= 128));
                match &request.message {
                    ClientMessage::Subscribe(topics) => topics.iter().for_each(|topic| check_start(&topic.from)),
                    ClientMessage::Publish(items) => items.iter().for_each(check_item),
                    ClientMessage::Message(message) => check_message(message, text.len()),
                    _ => {}
                }
            }
            Err(decline) => {
                assert!(decline.message.len() <= 1024, "{} bytes of explanation", decline.message.len());
                assert!(decline.id.is_none_or(|id| id.len() <= 128));
            }
        }
    }
}

/// A message to the application, as the REST interface takes it.
pub fn inbox_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match InboxMessage::read(text, text.len()) {
        Ok(message) => check_message(&message, text.len()),
        Err(refusal) => assert!(refusal.message.len() <= 1024, "{} bytes of explanation", refusal.message.len()),
    }
}

fn check_message(message: &InboxMessage<'_>, bytes: usize) {
    assert_eq!(message.bytes, bytes);
    // Whatever was sent goes on as it was sent.
    assert!(message.payload.is_none_or(|payload| payload.get().len() <= bytes));
}

fn check_start(start: &StartRequest) {
    match start {
        StartRequest::After(position) => check_position(*position),
        StartRequest::Since(ms) => assert_eq!(parse_ms(&iso(*ms)), Ok(*ms)),
        StartRequest::Latest | StartRequest::Earliest | StartRequest::AfterId(_) => {}
    }
}

/// All JSON can be packed. On the way back only what JSON's grammar allows and messages may not hold is refused.
fn check_packing(text: &str) {
    let mut packed = Vec::new();
    match from_json(text, &mut packed) {
        Ok(()) => match to_json(&packed, usize::MAX) {
            Ok(_) | Err(MsgpackError::NotFinite | MsgpackError::DuplicateKey | MsgpackError::TooDeep) => {}
            Err(error) => panic!("{error}"),
        },
        Err(_) => assert!(serde_json::from_str::<&RawValue>(text).is_err(), "JSON was not packed"),
    }
}

/// What one form takes, the other takes too, and JavaScript can hold.
fn check_position(position: Position) {
    assert!(position.offset < 1 << 53, "{position}");
    assert_eq!(position.to_string().parse(), Ok(position));
}

fn check_item(item: &PublishItem<'_>) {
    let Ok(event) = NewEvent::accept(item, &LIMITS) else { return };
    assert!(event.data.len() <= LIMITS.data_bytes_max);
    assert!(serde_json::from_slice::<&RawValue>(&event.data).is_ok(), "`data` is not JSON any more");
    let view = EventView {
        topic: event.topic.as_str(),
        epoch: Epoch(0xabc),
        offset: 7,
        prev: 5,
        ts_ms: 1_700_000_000_123,
        id: &event.id,
        kind: &event.kind,
        extras: &event.extras,
        data: &event.data,
    };
    for dialect in [Dialect::Native, Dialect::Feed, Dialect::Hub, Dialect::Unified] {
        let mut frame = Vec::new();
        dialect.encode_event(&view, &mut frame);
        assert!(serde_json::from_slice::<&RawValue>(&frame).is_ok(), "{dialect:?} is not JSON");
    }
    check_packing(std::str::from_utf8(&event.data).expect("text"));
    let mut frame = Vec::new();
    Dialect::Sse.encode_event(&view, &mut frame);
    // One event is one `data:` line and the empty line that ends it: a line break inside would let a publisher forge fields.
    assert!(frame.ends_with(b"\n\n"));
    assert!(!frame[..frame.len() - 2].iter().any(|byte| matches!(byte, b'\n' | b'\r')), "a line break in an event stream");
}
