//! The operators' routes of the OpenAPI document.

use serde_json::{Map, Value, json};

use super::Schemas;
use crate::http::{
    AuditPage, ClosedPage, ConnectionDetail, ConnectionsPage, DisconnectRequest, Disconnected, Draining, PublishAnswer,
    SlowestPage, TopicDetail, TopicsPage,
};

/// A route, its method and what it takes and gives.
struct Route<'a> {
    path: &'a str,
    method: &'a str,
    summary: &'a str,
    parameters: Value,
    body: Option<Value>,
    kind: &'a str,
    answer: Value,
}

impl Route<'_> {
    fn describe(self) -> (String, Value) {
        let refused = |why: &str| json!({ "description": why });
        let mut operation = json!({
            "summary": self.summary,
            "tags": ["admin"],
            "security": [{ "adminKey": [] }],
            "parameters": self.parameters,
            "responses": {
                "200": { "description": "Done.", "content": { (self.kind): { "schema": self.answer } } },
                "400": refused("A parameter or the body cannot be understood."),
                "403": refused("No admin key, or one that may only read where something would change."),
                "404": refused("There is no such thing, or no admin key is configured."),
            }
        });
        if let Some(body) = self.body {
            operation["requestBody"] = json!({ "required": false, "content": { "application/json": { "schema": body } } });
        }
        (self.path.to_owned(), json!({ (self.method): operation }))
    }
}

fn parameter(name: &str, place: &str, description: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": { "type": "string" } })
}

fn query(parameters: &[(&str, &str)]) -> Value {
    parameters.iter().map(|(name, description)| parameter(name, "query", description)).collect()
}

fn id() -> Value {
    json!([parameter("id", "path", "Whose, or which.")])
}

/// The routes by path.
pub(super) fn admin_paths(schemas: &mut Schemas) -> Map<String, Value> {
    let look = |path, summary, parameters, answer| Route {
        path,
        method: "get",
        summary,
        parameters,
        body: None,
        kind: "application/json",
        answer,
    };
    let change = |path, summary, parameters, body, answer| Route {
        path,
        method: "post",
        summary,
        parameters,
        body,
        kind: "application/json",
        answer,
    };
    let which =
        [("user", "Whose."), ("door", "Through which door."), ("topic", "Following this topic."), ("state", "Doing this.")];
    let mut paged = which.to_vec();
    paged.extend([("limit", "1 to 200, 50 by default."), ("cursor", "The `cursor` of an earlier answer.")]);
    let mut most = which.to_vec();
    most.push(("limit", "1 to 100, 20 by default."));
    let closed = [("user", "Whose."), ("code", "With this close code."), ("limit", "1 to 1000, 50 by default.")];
    let audit = [("limit", "1 to 500, 50 by default."), ("cursor", "The `cursor` of an earlier answer.")];
    let watched = [
        ("prefix", "Whose names begin with this."),
        ("limit", "1 to 200, 50 by default."),
        ("cursor", "The `cursor` of an earlier answer."),
    ];
    let tail = [
        ("topic", "Names, separated by commas."),
        ("user", "The topic `user:{user}` too."),
        ("type", "Events of this type only, or of all types with a prefix: `agent.*`."),
        ("after", "Begin after this position, cursor or event id; with the next event if nothing is said."),
        ("since", "Begin at this time."),
        ("from", "`earliest` or `latest`."),
    ];
    let reason = Some(schemas.of::<DisconnectRequest>());
    let gone = schemas.of::<Disconnected>();
    let routes = vec![
        look("/api/v1/admin/connections", "Who is connected", query(&paged), schemas.of::<ConnectionsPage>()),
        look("/api/v1/admin/connections/slowest", "Who is furthest behind", query(&most), schemas.of::<SlowestPage>()),
        look("/api/v1/admin/connections/closed", "Who left a moment ago, and why", query(&closed), schemas.of::<ClosedPage>()),
        look("/api/v1/admin/connections/{id}", "One connection and its cursors", id(), schemas.of::<ConnectionDetail>()),
        look("/api/v1/admin/topics", "What is watched", query(&watched), schemas.of::<TopicsPage>()),
        look(
            "/api/v1/admin/topics/{topic}",
            "One topic, watched or not",
            json!([parameter("topic", "path", "Its name.")]),
            schemas.of::<TopicDetail>(),
        ),
        Route {
            kind: "application/x-ndjson",
            ..look("/api/v1/admin/tail", "Topics live, as lines or events", query(&tail), schemas.of::<super::Envelope>())
        },
        look("/api/v1/admin/audit", "What operators did, newest first", query(&audit), schemas.of::<AuditPage>()),
        change("/api/v1/admin/connections/{id}/disconnect", "End a connection (4412)", id(), reason.clone(), gone.clone()),
        change("/api/v1/admin/users/{id}/disconnect", "End a user's connections (4412)", id(), reason, gone),
        change(
            "/api/v1/admin/events",
            "Publish a test event",
            json!([]),
            Some(schemas.of::<super::PublishEvent>()),
            schemas.of::<PublishAnswer>(),
        ),
        change(
            "/api/v1/admin/drain",
            "Send everybody away and end the server in order",
            json!([]),
            None,
            schemas.of::<Draining>(),
        ),
    ];
    routes.into_iter().map(Route::describe).collect()
}
