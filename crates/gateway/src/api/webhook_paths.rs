//! The routes about the webhook's dead letters.

use serde_json::{Map, Value, json};

use super::Schemas;
use super::openapi::{READ_ERRORS, limit, query, read, refer, text};
use crate::http::{DeadLettersPage, RedriveRequest, Resumed};
use crate::webhook::Redriven;

pub(super) fn webhook_paths(schemas: &mut Schemas) -> Map<String, Value> {
    let list = read(
        "What the webhook could not deliver",
        "Open dead letters, oldest first. For service keys and admin keys. What a letter carries stands in the topic `dead-letter:webhook`.",
        "webhook",
        json!([limit(100, 1000), query("cursor", "The `cursor` of an earlier answer.", text())]),
        schemas.of::<DeadLettersPage>(),
    );
    let request = schemas.of::<RedriveRequest>();
    let redrive = change(
        "Deliver dead letters once more",
        "Marked durably before the answer, so that none is delivered twice by accident; with the same `webhook-id` as before. Up to 1,000 per request; `remaining` says how many are left. For service keys and admin keys that may change things.",
        Some(request),
        schemas.of::<Redriven>(),
    );
    let resume = change(
        "Go on after the target answered 410",
        "After a 410 nothing is delivered until this, or a restart. For service keys and admin keys that may change things.",
        None,
        schemas.of::<Resumed>(),
    );
    [("dead-letters", list), ("redrive", redrive), ("resume", resume)]
        .into_iter()
        .map(|(name, route)| (format!("/api/v1/webhook/{name}"), route))
        .collect()
}

fn change(summary: &str, description: &str, request: Option<Value>, answer: Value) -> Value {
    let mut responses = refer(&READ_ERRORS);
    responses.insert("200".into(), json!({ "description": "Done.", "content": { "application/json": { "schema": answer } } }));
    responses.insert("404".into(), json!({ "description": "No webhook is configured (NOT_FOUND)." }));
    let mut post = json!({ "summary": summary, "description": description, "tags": ["webhook"], "responses": responses });
    if let Some(request) = request {
        post["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": request } } });
    }
    json!({ "post": post })
}
