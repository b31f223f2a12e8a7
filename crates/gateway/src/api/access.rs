//! The routes about access in `GET /openapi.json`: tickets and revocations.

use serde_json::{Map, Value, json};

use super::Schemas;
use super::openapi::{query, refer, text};
use crate::http::{RevocationEntry, RevocationList, RevocationRequest, TicketAnswer, TicketRequest};

pub(super) fn routes(schemas: &mut Schemas) -> Map<String, Value> {
    let routes = [("/api/v1/tickets", tickets(schemas)), ("/api/v1/admin/revocations", revocations(schemas))];
    routes.into_iter().map(|(path, route)| (path.to_owned(), route)).collect()
}

fn json_of(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn tickets(schemas: &mut Schemas) -> Value {
    let (request, answer) = (schemas.of::<TicketRequest>(), schemas.of::<TicketAnswer>());
    let mut responses = refer(&[("400", "BadRequest"), ("401", "Unauthorized"), ("403", "Forbidden"), ("503", "Unavailable")]);
    responses.insert("200".into(), json!({ "description": "A ticket for one socket or stream.", "content": json_of(&answer) }));
    json!({ "post": {
        "summary": "Get a one-time ticket",
        "description": "For `?ticket=` of a socket or event stream, or the subprotocol `ticket.<ticket>`, where a token would end in access logs. Good once, for a short while, for the same user, and only from the same `Origin`; without one, only for clients that send none. The body may be left out.",
        "tags": ["access"],
        "requestBody": { "required": false, "content": json_of(&request) },
        "responses": responses
    } })
}

fn revocations(schemas: &mut Schemas) -> Value {
    let (request, entry, list) =
        (schemas.of::<RevocationRequest>(), schemas.of::<RevocationEntry>(), schemas.of::<RevocationList>());
    let operation = |summary: &str, description: &str, schema: &Value, more: &[(&str, &str)]| {
        let mut responses = refer(&[("400", "BadRequest"), ("403", "Forbidden")]);
        responses.extend(refer(more));
        responses.insert("200".into(), json!({ "description": "Done.", "content": json_of(schema) }));
        json!({ "summary": summary, "description": description, "tags": ["admin"], "responses": responses })
    };
    let which = json!([query("token_id", "The token's `jti`.", text()), query("user_id", "The user.", text())]);
    let mut get = operation("Revocations in force", "Newest first; of one token or user, if named.", &list, &[]);
    get["parameters"] = which.clone();
    let mut post = operation(
        "Revoke a token or a user's credentials",
        "Durable once answered. Refused at every authentication from then on; open sockets and streams are closed (4401) within seconds, tickets are worth nothing.",
        &entry,
        &[("503", "Unavailable")],
    );
    post["requestBody"] = json!({ "required": true, "content": json_of(&request) });
    let mut delete =
        operation("Withdraw a revocation", "404 if there is none.", &json!({ "type": "object" }), &[("503", "Unavailable")]);
    delete["parameters"] = which;
    json!({ "get": get, "post": post, "delete": delete })
}
