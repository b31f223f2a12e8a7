//! The routes of the topic hub, of service discovery, and of messages to the application.

use serde_json::{Map, Value, json};

use super::Schemas;
use super::openapi::{query, refer, socket, text};
use super::schema::InboxBody;
use crate::http::{Discovery, MessageAnswer};

pub(super) fn routes(schemas: &mut Schemas) -> Map<String, Value> {
    let hub = socket(
        "Topic hub",
        "Upgrades to a WebSocket that speaks the hub's dialect: envelope v1 from the server, flat or enveloped requests from the client. Follows the token's own `user:{sub}`. See /asyncapi.json.",
        json!([
            query(
                "initial_topics",
                "Names, separated by commas; each is authorised by itself, and what is refused is told on the socket.",
                text()
            ),
            query("after", "A position, a cursor or an event id: where the topics start.", text())
        ]),
    );
    let discovery = json!({ "get": {
        "summary": "What the unified socket offers and allows",
        "description": "The values that are in force. The same for everybody.",
        "tags": ["sockets"], "security": [],
        "responses": { "200": { "description": "The offer.", "content": { "application/json": { "schema": schemas.of::<Discovery>() } } } }
    } });
    [("/api/ws", hub), ("/ws/config", discovery), ("/api/v1/messages", messages(schemas))]
        .map(|(path, route)| (path.to_owned(), route))
        .into_iter()
        .collect()
}

fn messages(schemas: &mut Schemas) -> Value {
    let mut responses = refer(&[
        ("400", "BadRequest"),
        ("401", "Unauthorized"),
        ("403", "Forbidden"),
        ("413", "TooLarge"),
        ("429", "TooMany"),
        ("503", "Unavailable"),
    ]);
    let answer = schemas.of::<MessageAnswer>();
    responses.insert("200".into(), json!({
        "description": "It is in the user's inbox, as durably as its topic promises. The same for a message that is sent again.",
        "content": { "application/json": { "schema": answer } }
    }));
    json!({ "post": {
        "summary": "Say something to the application",
        "description": "Appends a message of the token's user to `inbox:{sub}`, from where the application gets it. For users only: a service publishes events instead.",
        "tags": ["messages"],
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": schemas.of::<InboxBody>(),
            "example": { "type": "user_message", "id": "0190ab12-3456-7890-abcd-ef0123456789", "data": { "content": "hello" } }
        } } },
        "responses": responses
    } })
}
