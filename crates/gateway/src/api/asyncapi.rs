//! `GET /asyncapi.json`: what travels on sockets and event streams, in both directions, and the close codes.

use serde_json::{Map, Value, json};
use towline_protocol::{AfterClose, CloseCode, ErrorCode, ServerMessage};

use super::dialects::{HubMessage, UnifiedEvent, UnifiedMessage};
use super::schema::{ClientEnvelope, Envelope, FeedEvent};
use super::{Schemas, info};

const DESCRIPTION: &str = "Messages on Towline's sockets and event streams. An event says by `epoch`, `offset` and `prev` where it stands, so a client can detect a hole \
by itself, and can resume anywhere. Unknown fields are ignored in both directions.";

/// The document.
#[must_use]
pub fn asyncapi() -> Value {
    let mut schemas = Schemas::new();
    let messages = messages(&mut schemas);
    json!({
        "asyncapi": "3.0.0",
        "info": info("Towline", DESCRIPTION),
        "defaultContentType": "application/json",
        "servers": { "local": { "host": "127.0.0.1:8080", "protocol": "ws", "description": "The default address." } },
        "channels": {
            "native": channel("/ws", "Subprotocol `towline.v1`: envelope v1 in both directions; `towline.v1+msgpack`: the same in MessagePack.", &["event", "serverMessage", "clientMessage"]),
            "feed": feed_channel(),
            "hub": channel("/api/ws", "The topic hub: envelope v1 from the server; flat requests, or the same in an envelope's `data`, from the client. `subscribe_error`, `unsubscribe_error` and `error` have `error` and `error_code` in their data.", &["event", "serverMessage", "hubMessage"]),
            "unified": channel("/ws", "The unified socket, for clients that do not offer `towline.v1`: `{\"type\", \"payload\", \"timestamp\"}` in both directions; a server message has its data as `payload`.", &["unifiedEvent", "serverMessage", "unifiedMessage"]),
            "stream": channel("/api/v1/stream", "Server-Sent Events; one way.", &["event", "serverMessage"]),
        },
        "operations": operations(),
        "components": {
            "messages": messages,
            "schemas": schemas.finish(),
            "securitySchemes": { "token": { "type": "httpApiKey", "in": "query", "name": "token", "description": "A JWT or a service key; also as `Authorization: Bearer`, or as the subprotocol `jwt.<token>` beside a real one." } }
        },
        "x-close-codes": close_codes(),
        "x-error-codes": error_codes(),
    })
}

fn messages(schemas: &mut Schemas) -> Value {
    let message = |title: &str, summary: &str, payload: Value| json!({ "name": title, "title": title, "summary": summary, "payload": payload });
    json!({
        "event": message("Event", "A stored event as envelope v1.", schemas.of::<Envelope>()),
        "feedEvent": message("FeedEvent", "A stored event in the feed's dialect.", schemas.of::<FeedEvent>()),
        "unifiedEvent": message("UnifiedEvent", "A stored event in the unified socket's dialect.", schemas.of::<UnifiedEvent>()),
        "unifiedMessage": message("UnifiedMessage", "What a client of the unified socket says.", schemas.of::<UnifiedMessage>()),
        "hubMessage": message("HubMessage", "What a client asks the topic hub.", schemas.of::<HubMessage>()),
        "clientMessage": message(
            "ClientMessage",
            "What a client asks. Each request has one answer, which carries the request's `id` as `correlation_id`.",
            schemas.of::<ClientEnvelope>(),
        ),
        "serverMessage": message(
            "ServerMessage",
            "What the server says beside events; inside the same envelope, with the topic `$connection` where it concerns no topic.",
            schemas.of::<ServerMessage>(),
        ),
    })
}

fn channel(address: &str, description: &str, messages: &[&str]) -> Value {
    let messages: Map<String, Value> =
        messages.iter().map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }))).collect();
    json!({ "address": address, "description": description, "messages": messages })
}

fn feed_channel() -> Value {
    let mut feed = channel(
        "/api/v1/ws/agents/{user_id}",
        "The activity feed of one user: every event of `user:{user_id}`. Takes only `ping`, `pong` and `auth`.",
        &["feedEvent", "serverMessage", "clientMessage"],
    );
    feed["parameters"] = json!({ "user_id": { "description": "The token's `sub` must be this user." } });
    feed
}

fn operations() -> Value {
    let operation = |action: &str, channel: &str, message: &str, summary: &str| {
        json!({
            "action": action, "summary": summary,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }]
        })
    };
    json!({
        "deliverNative": operation("send", "native", "event", "The server delivers events of the topics that are followed, per topic in order and without hole."),
        "answerNative": operation("send", "native", "serverMessage", "The server answers and announces."),
        "askNative": operation("receive", "native", "clientMessage", "The client asks."),
        "deliverFeed": operation("send", "feed", "feedEvent", "The server delivers the user's events."),
        "answerFeed": operation("send", "feed", "serverMessage", "The server answers and announces."),
        "askFeed": operation("receive", "feed", "clientMessage", "The client keeps alive and refreshes its token."),
        "deliverHub": operation("send", "hub", "event", "The server delivers events of the topics that are followed."),
        "answerHub": operation("send", "hub", "serverMessage", "The server answers and announces."),
        "askHub": operation("receive", "hub", "hubMessage", "The client asks."),
        "deliverUnified": operation("send", "unified", "unifiedEvent", "The server delivers what agents say, and events of the topics that are followed."),
        "answerUnified": operation("send", "unified", "serverMessage", "The server answers and announces."),
        "askUnified": operation("receive", "unified", "unifiedMessage", "The client asks, and speaks to the application."),
        "deliverStream": operation("send", "stream", "event", "The server delivers events of the topics that were asked for."),
        "announceStream": operation("send", "stream", "serverMessage", "The server announces."),
    })
}

fn close_codes() -> Vec<Value> {
    let after = |code: &CloseCode| match code.after() {
        AfterClose::Resume => "resume",
        AfterClose::NewToken => "new_token",
        AfterClose::Stop => "stop",
    };
    CloseCode::ALL
        .iter()
        .map(|code| json!({ "code": code.number(), "meaning": code.meaning().trim(), "then": after(code) }))
        .collect()
}

fn error_codes() -> Vec<Value> {
    let one = |code: &ErrorCode| json!({ "code": code.as_str(), "meaning": code.meaning().trim(), "http_status": code.http_status(), "retryable": code.retryable() });
    ErrorCode::ALL.iter().map(one).collect()
}
