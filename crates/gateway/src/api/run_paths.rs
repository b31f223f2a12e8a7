//! The routes of runs and brakes in the OpenAPI document.

use serde_json::{Map, Value, json};
use towline_runs::{BrakeView, RunView};

use super::Schemas;
use crate::http::{
    BrakeAnswer, ControlPage, HeartbeatAnswer, RunRequest, RunStopAnswer, RunsPage, StopRequest, ThreadStopAnswer,
};

const ERRORS: [(&str, &str); 4] = [("400", "BadRequest"), ("401", "Unauthorized"), ("403", "Forbidden"), ("503", "Unavailable")];

/// A route's operation.
struct Operation<'a> {
    summary: &'a str,
    description: &'a str,
    tag: &'a str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
}

impl Operation<'_> {
    fn describe(self) -> Value {
        let mut responses: Map<String, Value> = ERRORS
            .iter()
            .map(|(status, name)| ((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{name}") })))
            .collect();
        responses.insert(
            "200".into(),
            json!({ "description": "Done.", "content": { "application/json": { "schema": self.answer } } }),
        );
        responses.insert("404".into(), json!({ "description": "There is no such run, or it is not yours (NOT_FOUND)." }));
        responses.insert(
            "409".into(),
            json!({ "description": "The run was stopped or has ended, or the brake is engaged (RUN_STOPPED, RUN_ENDED, BRAKE_ENGAGED)." }),
        );
        let mut operation = json!({
            "summary": self.summary, "description": self.description, "tags": [self.tag], "parameters": self.parameters,
            "responses": responses
        });
        if let Some(body) = self.body {
            operation["requestBody"] = json!({ "required": false, "content": { "application/json": { "schema": body } } });
        }
        operation
    }
}

fn query(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": { "type": "string" } })
}

fn path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": "Which one.", "schema": { "type": "string" } })
}

fn user_id() -> Value {
    query("user_id", "Which user; the token's own if left out. Needed with service keys and in development mode.")
}

/// The routes by path.
pub(super) fn run_paths(schemas: &mut Schemas) -> Map<String, Value> {
    let mut paths = Map::new();
    let run = schemas.of::<RunView>();
    let begin = Operation {
        summary: "Begin a run",
        description: "For services, and for who may publish on `user:{user_id}` and the run's topics. A run that is not begun begins with the first event that carries its `run_id`. Repeating the request is harmless.",
        tag: "runs",
        parameters: vec![],
        body: Some(schemas.of::<RunRequest>()),
        answer: run.clone(),
    };
    let list = Operation {
        summary: "List runs",
        description: "The newest first. A user sees their own runs, a service all.",
        tag: "runs",
        parameters: vec![
            query("user_id", "Only this user's."),
            query("state", "running, resuming, stopped, ended or lost."),
            query("thread_id", "Only this thread's."),
            json!({ "name": "limit", "in": "query", "required": false, "description": "How many at most.", "schema": { "type": "integer", "minimum": 1, "maximum": 200, "default": 50 } }),
            query("cursor", "The `cursor` of an earlier answer."),
        ],
        body: None,
        answer: schemas.of::<RunsPage>(),
    };
    paths.insert("/api/v1/runs".into(), json!({ "post": begin.describe(), "get": list.describe() }));
    let mut add = |at: &str, method: &str, operation: Operation<'_>| {
        paths.insert(at.to_owned(), json!({ (method): operation.describe() }));
    };
    let of_run = |summary, description, body, answer| Operation {
        summary,
        description,
        tag: "runs",
        parameters: vec![path("run_id")],
        body,
        answer,
    };
    add("/api/v1/runs/{run_id}", "get", of_run("A run", "For its user, who began it, and services.", None, run));
    add(
        "/api/v1/runs/{run_id}/heartbeat",
        "post",
        of_run(
            "Keep a run alive",
            "Renews the lease. The answer says whether the agent should go on.",
            None,
            schemas.of::<HeartbeatAnswer>(),
        ),
    );
    add(
        "/api/v1/runs/{run_id}/stop",
        "post",
        of_run(
            "Stop a run for good",
            "From the positions in the answer on, nothing of the run is taken but its acknowledgement and its terminal event.",
            Some(schemas.of::<StopRequest>()),
            schemas.of::<RunStopAnswer>(),
        ),
    );
    let mut control = of_run(
        "Wait for a run's control events",
        "Answers at once if there are events behind `after`, else as soon as one comes or the wait is over.",
        None,
        schemas.of::<ControlPage>(),
    );
    control.parameters.push(query("after", "The `cursor` of an earlier answer; from the beginning if left out."));
    control.parameters.push(json!({ "name": "wait_s", "in": "query", "required": false, "description": "How long to wait, in seconds.", "schema": { "type": "integer", "minimum": 0, "maximum": 55, "default": 30 } }));
    add("/api/v1/runs/{run_id}/control", "get", control);
    add(
        "/api/v1/threads/{thread_id}/stop",
        "post",
        Operation {
            summary: "Stop a thread's runs for good",
            description: "A user stops their own runs in the thread; services and holders of a grant on control:thread:{id} all of them.",
            tag: "runs",
            parameters: vec![path("thread_id")],
            body: Some(schemas.of::<StopRequest>()),
            answer: schemas.of::<ThreadStopAnswer>(),
        },
    );
    let (answer, view, reason) = (schemas.of::<BrakeAnswer>(), schemas.of::<BrakeView>(), schemas.of::<StopRequest>());
    for (base, whose, parameter) in [
        ("/api/v1/agents", "your own runs", user_id()),
        ("/api/v1/users/{id}", "a user's runs", path("id")),
        ("/api/v1/organizations/{id}", "an organisation's runs", path("id")),
    ] {
        let operation = |summary: &'static str, description: &'static str, body, answer| Operation {
            summary,
            description,
            tag: "brake",
            parameters: vec![parameter.clone()],
            body,
            answer,
        };
        let mut describe = |end: &str, method: &str, of: Operation<'_>| {
            let mut described = of.describe();
            described["summary"] = format!("{}: {whose}", described["summary"].as_str().unwrap_or_default()).into();
            paths.insert(format!("{base}/{end}"), json!({ (method): described }));
        };
        describe(
            "brake",
            "post",
            operation(
                "Engage the emergency brake",
                "From here on nothing of these runs is taken but acknowledgements and terminal events, and no new run begins. Braking twice answers the present state.",
                Some(reason.clone()),
                answer.clone(),
            ),
        );
        describe(
            "resume",
            "post",
            operation(
                "Release the emergency brake",
                "Runs that acknowledged go on; those that never did stay stopped.",
                None,
                answer.clone(),
            ),
        );
        describe(
            "brake/status",
            "get",
            operation("The emergency brake", "running, pausing, paused, partial or resuming.", None, view.clone()),
        );
    }
    paths
}
