//! Inboxes: what users say to the application, kept in the log until the application has it.
//!
//! Each message stands in its user's `inbox:{user}` and, in the same append, in `inbox:*`, which holds all of them in one history: one
//! cursor follows every user. It knows no sockets and no HTTP.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use towline_auth::{Identity, IdentityKind};
use towline_protocol::event::{ATTRIBUTE_BYTES_MAX, new_event_id};
use towline_protocol::message::StoredAt;
use towline_protocol::{ErrorBody, ErrorCode, InboxMessage, NewEvent, PublishItem, PublishResult, Refusal, TopicName};
use uuid::Uuid;

use crate::config::Config;
use crate::publish::Prepared;

/// The namespace of the ids in `inbox:*`. Any fixed UUID does; another one would store once more what is sent again over an upgrade.
const FAN_IN: Uuid = Uuid::from_u128(0x4f2c_91d6_07ab_4e0b_a7c3_5d18_e6f0_9b21);

/// Who says something, and where.
pub struct Sender<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// Through which door; `rest` without one.
    pub door: &'static str,
    /// The connection's name in logs, where there is one.
    pub connection: Option<&'a str>,
}

/// An inbox event's `data`.
#[derive(Serialize)]
struct Entry<'a> {
    message_id: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    door: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    payload: &'a RawValue,
}

/// The two events of a message, ready for one append.
///
/// # Errors
/// What is wrong with the message, or why this one may send none.
pub fn prepare(sender: &Sender<'_>, message: &InboxMessage<'_>, config: &Config) -> Result<Prepared, Refusal> {
    let identity = sender.identity;
    if identity.kind == IdentityKind::Service {
        let why = "messages to the application come from users, and a service is none; publish an event instead";
        return Err(Refusal::new(ErrorCode::Forbidden, why));
    }
    let bytes_max = config.users.message_bytes_max;
    if message.bytes > bytes_max {
        let why = format!("the message has {} bytes; at most {bytes_max} are allowed", message.bytes);
        return Err(Refusal::new(ErrorCode::TooLarge, why));
    }
    for (name, text) in [("thread_id", &message.thread_id), ("correlation_id", &message.correlation_id)] {
        if text.as_ref().is_some_and(|text| text.len() > ATTRIBUTE_BYTES_MAX) {
            let why = format!("`{name}` may have at most {ATTRIBUTE_BYTES_MAX} bytes");
            return Err(Refusal::new(ErrorCode::InvalidFormat, why));
        }
    }
    let user = &*identity.subject;
    let topic = TopicName::new(&format!("inbox:{user}")).map_err(|why| Refusal::new(ErrorCode::InvalidTopic, why.to_string()))?;
    let id = message.id.as_deref().map_or_else(new_event_id, Box::from);
    let entry = Entry {
        message_id: &id,
        user_id: user,
        org_id: identity.org.as_deref(),
        thread_id: message.thread_id.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        door: sender.door,
        connection_id: sender.connection,
        payload: message.payload.unwrap_or(RawValue::NULL),
    };
    // Texts and checked JSON always serialise.
    let data = to_raw_value(&entry).map_err(|why| Refusal::new(ErrorCode::Internal, why.to_string()))?;
    let item = PublishItem {
        topic: topic.as_str().into(),
        kind: message.kind.as_ref().into(),
        data: Some(&data),
        id: Some((&*id).into()),
        correlation_id: message.correlation_id.as_deref().map(Into::into),
        traceparent: None,
        title: None,
        severity: None,
        agent_type: None,
        run_id: None,
    };
    let own = NewEvent::accept(&item, &config.events.limits())?;
    let all = NewEvent { topic: TopicName::all_inboxes(), id: fan_in_id(user, &id), ..own.clone() };
    let mut prepared = Prepared::default();
    prepared.push_event(own);
    prepared.push_event(all);
    Ok(prepared)
}

/// A message's id in `inbox:*`, where two users may have chosen the same one. A user's name holds no zero byte, so no two pairs run
/// into one text.
fn fan_in_id(user: &str, id: &str) -> Box<str> {
    Uuid::new_v5(&FAN_IN, format!("{user}\0{id}").as_bytes()).to_string().into()
}

/// Where a message stands, from what became of its two events. The same for one that was sent again.
///
/// # Errors
/// Why it was not stored.
pub fn stored_at(results: Vec<PublishResult>) -> Result<StoredAt, ErrorBody> {
    let mut own = None;
    for result in results {
        match result {
            PublishResult::Refused { error, .. } => return Err(error),
            PublishResult::Stored(at) | PublishResult::Duplicate(at) => own = own.or(Some(at)),
        }
    }
    own.ok_or_else(|| ErrorBody::new(ErrorCode::Internal, "the log gave no answer for this message"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use towline_auth::{AuthConfig, AuthMode, Authenticator};
    use towline_clock::Clock;

    use super::*;

    fn identity(name: &str) -> Arc<Identity> {
        let config = AuthConfig { mode: AuthMode::Development, ..AuthConfig::default() };
        Authenticator::new(config, Clock::manual(0)).unwrap().development_identity(name).unwrap()
    }

    fn prepared(user: &str, text: &str) -> Result<Vec<NewEvent>, Refusal> {
        let identity = identity(user);
        let sender = Sender { identity: &identity, door: "native", connection: Some("0-1") };
        prepare(&sender, &InboxMessage::read(text, text.len())?, &Config::default()).map(|prepared| prepared.events().to_vec())
    }

    // proves: C3, C9
    #[test]
    fn a_message_is_one_event_in_its_inbox_and_the_same_in_the_topic_of_all() {
        let text = r#"{"type":"user_message","id":"m1","thread_id":"t1","correlation_id":"c1","data":{"content": "hi"}}"#;
        let events = prepared("ann", text).unwrap();
        let [own, all] = &events[..] else { panic!("{events:?}") };
        assert_eq!((own.topic.as_str(), &*own.id, &*own.kind), ("inbox:ann", "m1", "user_message"));
        assert_eq!(own.extras, br#","correlation_id":"c1""#[..].into());
        assert_eq!(
            serde_json::from_slice::<Value>(&own.data).unwrap(),
            json!({
                "message_id": "m1", "user_id": "ann", "thread_id": "t1", "correlation_id": "c1", "door": "native",
                "connection_id": "0-1", "payload": {"content": "hi"},
            })
        );
        assert_eq!((all.topic.as_str(), &all.kind, &all.data, &all.extras), ("inbox:*", &own.kind, &own.data, &own.extras));
    }

    #[test]
    fn equal_ids_of_two_users_are_two_messages_and_the_same_one_again_is_one() {
        let text = r#"{"type":"x","id":"1"}"#;
        let id_of = |user| prepared(user, text).unwrap()[1].id.clone();
        assert_ne!(id_of("ann"), id_of("ben"));
        assert_eq!(id_of("ann"), id_of("ann"));
        assert_ne!(fan_in_id("a", "b1"), fan_in_id("ab", "1"));
        assert_eq!(id_of("ann").len(), 36);
    }

    // proves: C8
    #[test]
    fn what_is_refused_says_why() {
        let large = format!(r#"{{"type":"x","data":"{}"}}"#, "x".repeat(10 * 1024));
        let long = format!(r#"{{"type":"x","thread_id":"{}"}}"#, "x".repeat(513));
        let deep = format!(r#"{{"type":"x","data":{}{}}}"#, "[".repeat(65), "]".repeat(65));
        for (text, code, word) in [
            (&*large, ErrorCode::TooLarge, "10240"),
            (&*long, ErrorCode::InvalidFormat, "thread_id"),
            (&*deep, ErrorCode::InvalidFormat, "nested"),
            (r#"{"type":"a b"}"#, ErrorCode::InvalidFormat, "`type`"),
            (r#"{"type":"x","id":""}"#, ErrorCode::InvalidFormat, "`id`"),
            (r#"{"data":{}}"#, ErrorCode::InvalidFormat, "type"),
            (r#"["x"]"#, ErrorCode::InvalidFormat, "object"),
            ("{", ErrorCode::JsonParse, "JSON"),
        ] {
            let refusal = prepared("ann", text).unwrap_err();
            assert_eq!(refusal.code, code, "{refusal:?}");
            assert!(refusal.message.contains(word), "{refusal:?}");
        }
    }
}
