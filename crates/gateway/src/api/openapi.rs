//! `GET /openapi.json`: every HTTP route, those that upgrade or stream included.

use serde_json::{Map, Value, json};

use super::admin_paths::admin_paths;
use super::run_paths::run_paths;
use super::schema::{Envelope, FeedEvent, PublishEvent};
use super::webhook_paths::webhook_paths;
use super::{Schemas, info};
use crate::http::{ActivityPage, ErrorAnswer, EventsPage, Health, PublishAnswer, ReplayPage};

const DESCRIPTION: &str = "A real-time gateway for applications with AI agents: events are appended to a durable log and delivered to browsers and services over \
WebSocket and Server-Sent Events, in order, once, with resumption. What was missed can be read back here. Sockets are described in /asyncapi.json.";

/// The document.
#[must_use]
pub fn openapi() -> Value {
    let mut schemas = Schemas::new();
    let paths = paths(&mut schemas);
    let error = schemas.of::<ErrorAnswer>();
    json!({
        "openapi": "3.1.0",
        "info": info("Towline", DESCRIPTION),
        "security": [{ "bearer": [] }, { "apiKey": [] }, { "queryToken": [] }, { "queryTicket": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A JWT, or a service key." },
                "adminKey": { "type": "http", "scheme": "bearer", "description": "An admin key; `X-API-Key` is taken too. Nothing else opens these routes." },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A service key." },
                "queryTicket": { "type": "apiKey", "in": "query", "name": "ticket", "description": "A one-time ticket, for sockets and streams." },
                "queryToken": { "type": "apiKey", "in": "query", "name": "token", "description": "A JWT, for browsers' sockets and streams, which cannot set headers." }
            },
            "responses": responses(&error),
            "schemas": schemas.finish()
        }
    })
}

/// The error answers that routes share, by name.
fn responses(error: &Value) -> Value {
    let answer =
        |description: &str| json!({ "description": description, "content": { "application/json": { "schema": error } } });
    let mut unauthorized =
        answer("No credential, or one that is not valid or has expired (UNAUTHORIZED, INVALID_TOKEN, TOKEN_EXPIRED).");
    unauthorized["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" }, "description": "RFC 6750." } });
    json!({
        "BadRequest": answer("A parameter or the body cannot be understood; the message says which and what is allowed."),
        "Unauthorized": unauthorized,
        "Forbidden": answer("The credential does not allow this (FORBIDDEN)."),
        "TooLarge": answer("The body is larger than allowed (MESSAGE_TOO_LARGE)."),
        "TooMany": answer("Too many requests are worked on; `Retry-After` says when to try again (RATE_LIMITED)."),
        "Unavailable": answer("The server is draining or overloaded, the issuer's keys cannot be had, or the log cannot be read (UNAVAILABLE, STORAGE_FAILED).")
    })
}

pub(super) fn refer(names: &[(&str, &str)]) -> Map<String, Value> {
    names
        .iter()
        .map(|(status, name)| ((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{name}") })))
        .collect()
}

pub(super) const READ_ERRORS: [(&str, &str); 4] =
    [("400", "BadRequest"), ("401", "Unauthorized"), ("403", "Forbidden"), ("503", "Unavailable")];

/// A route that gives JSON.
pub(super) fn read(summary: &str, description: &str, tag: &str, parameters: Value, schema: Value) -> Value {
    let mut responses = refer(&READ_ERRORS);
    responses
        .insert("200".into(), json!({ "description": "One page.", "content": { "application/json": { "schema": schema } } }));
    json!({ "get": { "summary": summary, "description": description, "tags": [tag], "parameters": parameters, "responses": responses } })
}

pub(super) fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn limit(default: u32, most: u32) -> Value {
    query("limit", "How many at most.", json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default }))
}

fn user_id() -> Value {
    query("user_id", "Whose feed; the token's own user if left out. Needed with service keys and in development mode.", text())
}

fn paths(schemas: &mut Schemas) -> Value {
    let mut paths = json!({
        "/api/v1/events": publish(schemas),
        "/api/v1/agents/events": read(
            "What a user missed",
            "A user's events, oldest first, in the shape of the feed's socket. Without `since` and `cursor` it begins with the oldest that is retained. Paging goes by position, so events with equal times are neither lost nor repeated; `since` itself is inclusive.",
            "feed",
            json!([
                query("since", "ISO 8601 with a zone, or Unix seconds: events from this time on.", text()),
                limit(50, 200),
                query("cursor", "The `cursor` of an earlier answer; wins over `since`.", text()),
                user_id()
            ]),
            schemas.of::<EventsPage>(),
        ),
        "/api/v1/agents/activity": read(
            "What a user's agents did lately",
            "A user's events, newest first.",
            "feed",
            json!([
                limit(20, 100),
                query("cursor", "The `cursor` of an earlier answer.", text()),
                query("offset", "Skip this many of the newest; a cursor is better.", json!({ "type": "integer", "minimum": 0, "maximum": 10000, "default": 0 })),
                user_id()
            ]),
            schemas.of::<ActivityPage>(),
        ),
        "/api/ws/replay": read(
            "What a topic held after an event",
            "A topic's events after the one that was seen last, oldest first, as envelopes. Pages are not capped: go on with `cursor` until `complete`.",
            "sockets",
            json!([
                query("after", "An event's id, a position (`19a9c3b2f41-42`) or the `cursor` of an earlier answer; from the oldest retained event if left out.", text()),
                query("topic", "Which topic; the token's own `user:{sub}` if left out.", text()),
                limit(100, 1000),
                user_id()
            ]),
            schemas.of::<ReplayPage>(),
        ),
        "/api/v1/stream": stream(schemas),
        "/ws": socket("Native and unified socket", "Upgrades to a WebSocket that speaks `towline.v1` (envelope v1 in both directions) where the client offers that subprotocol, and else the unified socket's `{\"type\", \"payload\", \"timestamp\"}`. See /asyncapi.json.", json!([])),
        "/api/v1/ws/agents/{user_id}": socket(
            "A user's activity feed",
            "Upgrades to a WebSocket that carries the events of `user:{user_id}`. The token's `sub` must be that user. See /asyncapi.json.",
            json!([{ "name": "user_id", "in": "path", "required": true, "description": "The user.", "schema": { "type": "string" } }]),
        ),
    });
    // Referred to by the feed's socket, and so described here too.
    let _ = schemas.of::<FeedEvent>();
    if let Some(paths) = paths.as_object_mut() {
        paths.extend(run_paths(schemas));
        paths.extend(for_operators(schemas));
        paths.extend(admin_paths(schemas));
        paths.extend(super::access::routes(schemas));
        paths.extend(webhook_paths(schemas));
        paths.extend(super::conversation::routes(schemas));
    }
    paths
}

fn publish(schemas: &mut Schemas) -> Value {
    let event = schemas.of::<PublishEvent>();
    let answer = schemas.of::<PublishAnswer>();
    let result = schemas.of::<towline_protocol::PublishResult>();
    let refusal =
        |description: &str| json!({ "description": description, "content": { "application/json": { "schema": answer } } });
    let mut responses = refer(&[("401", "Unauthorized"), ("429", "TooMany")]);
    responses.insert("200".into(), json!({
        "description": "At least one event was stored or known already. Stored means as durable as the topic's policy promises.",
        "content": {
            "application/json": { "schema": answer },
            "application/x-ndjson": { "schema": result, "x-last-line": "{\"stored\":n,\"duplicates\":n,\"refused\":n}" }
        }
    }));
    for (status, why) in [
        ("400", "The body is not JSON, or no event was accepted; `error` says why the first one was not."),
        ("403", "No event was accepted, the first one because the credential may not publish to its topic."),
        ("413", "The body, the array or the first event is too large."),
        ("503", "Storage is unavailable; try again later with the same ids."),
        ("507", "The server's disk is full; nothing was stored."),
    ] {
        responses.insert(status.into(), refusal(why));
    }
    json!({ "post": {
        "summary": "Publish events",
        "description": "One event, an array, or NDJSON, which is stored while it arrives and has no limit. Each event has its own result; a refused one does not stop the others unless `atomic`. Publishing an id again within the dedup window stores nothing and gives the first position. `Accept: application/x-ndjson` streams the results of an NDJSON body line by line.",
        "tags": ["publish"],
        "parameters": [query("atomic", "All events of the request or none; not with NDJSON.", json!({ "type": "boolean", "default": false }))],
        "requestBody": { "required": true, "content": {
            "application/json": {
                "schema": { "oneOf": [event.clone(), { "type": "array", "items": event.clone() }] },
                "example": { "topic": "user:42", "type": "agent.step_completed", "data": { "step": 1 } }
            },
            "application/x-ndjson": { "schema": event }
        } },
        "responses": responses
    } })
}

fn stream(schemas: &mut Schemas) -> Value {
    let envelope = schemas.of::<Envelope>();
    let mut responses = refer(&READ_ERRORS);
    responses.insert("200".into(), json!({
        "description": "Server-Sent Events. Each `data` line is an envelope; `id` names the stream's positions; events named `towline` carry server messages.",
        "content": { "text/event-stream": { "schema": envelope } }
    }));
    json!({ "get": {
        "summary": "Events as a stream",
        "description": "For clients without WebSocket. A browser's EventSource resumes by itself with `Last-Event-ID`.",
        "tags": ["sockets"],
        "parameters": [
            query("topics", "Names, separated by commas; the token's own `user:{sub}` if left out.", text()),
            { "name": "Last-Event-ID", "in": "header", "required": false, "description": "The last `id` that was seen; the stream goes on after it.", "schema": { "type": "string" } }
        ],
        "responses": responses
    } })
}

pub(super) fn socket(summary: &str, description: &str, parameters: Value) -> Value {
    let mut responses = refer(&READ_ERRORS);
    responses.insert("101".into(), json!({ "description": "The connection is a WebSocket now. A browser with a bad token is accepted and closed with 4401, because it cannot see a handshake's status." }));
    json!({ "get": { "summary": summary, "description": description, "tags": ["sockets"], "parameters": parameters, "responses": responses } })
}

fn for_operators(schemas: &mut Schemas) -> Map<String, Value> {
    let health = schemas.of::<Health>();
    let open = |summary: &str, kind: &str, schema: Value| {
        json!({ "get": { "summary": summary, "tags": ["operation"], "security": [], "responses": {
            "200": { "description": "Yes.", "content": { kind: { "schema": schema } } }
        } } })
    };
    let mut ready = open("Whether new traffic should come here", "application/json", health.clone());
    ready["get"]["responses"]["503"] = json!({ "description": "No: draining, or the log refuses appends.", "content": { "application/json": { "schema": health } } });
    let document = json!({ "type": "object" });
    let routes = [
        ("/livez", open("Whether the process lives", "application/json", health)),
        ("/readyz", ready),
        ("/metrics", open("Metrics for Prometheus", "application/openmetrics-text", text())),
        ("/openapi.json", open("This document", "application/json", document.clone())),
        ("/asyncapi.json", open("The document about sockets", "application/json", document)),
        ("/", open("A page that shows the feed live", "text/html", text())),
    ];
    routes.into_iter().map(|(path, route)| (path.to_owned(), route)).collect()
}
