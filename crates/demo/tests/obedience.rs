//! The agent obeys: it pauses within a question and goes on, and it stops for good when told so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use towline_client::{Client, Event, Publish, StartRequest, Subscription, Update};
use towline_harness::{Binary, PATIENCE, SERVICE_KEY};

/// A running agent, killed on drop.
struct Agent(Child);

impl Agent {
    fn start(server: &Binary, folder: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_towline-demo-agent"))
            .args(["--docs", "docs", "--state", "state", "--pace", "300ms"])
            .current_dir(folder)
            .env("TOWLINE_URL", server.url(""))
            .env("TOWLINE_KEY", SERVICE_KEY)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next event of a type; others are kept in `seen`.
async fn until(watching: &mut Subscription, seen: &mut Vec<Event>, kind: &str) -> Event {
    loop {
        let update = tokio::time::timeout(PATIENCE, watching.next()).await;
        let update = update.unwrap_or_else(|_| panic!("no {kind} came behind {:?}", kinds(seen))).unwrap();
        if let Update::Event(event) = update {
            seen.push((*event).clone());
            if event.kind == kind {
                return *event;
            }
        }
    }
}

fn kinds(seen: &[Event]) -> Vec<&str> {
    seen.iter().map(|event| &*event.kind).collect()
}

// proves: A8
#[tokio::test]
async fn the_agent_pauses_within_a_question_and_stops_for_good_when_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    for name in ["one", "two", "three"] {
        let text = format!("# {name}\nThe word {name} stands in this document, and a brake stops it.\n");
        std::fs::write(folder.path().join("docs").join(format!("{name}.md")), text).unwrap();
    }
    let server = Binary::start(&[]).await;
    let client = Client::builder(server.url("")).token(SERVICE_KEY).build().unwrap();
    let mut watching = client.subscribe([("user:reader", StartRequest::Earliest)]).unwrap();
    let _agent = Agent::start(&server, folder.path());
    let ask = |id: &str| {
        let data = json!({"question": "What stands in document one?", "user_id": "reader"});
        client.publish([Publish::new("agent:demo", "question.asked").id(id).data(data)])
    };
    ask("q1").await.unwrap();
    let mut seen = Vec::new();
    let started = until(&mut watching, &mut seen, "agent.started").await;
    let run = started.run_id.clone().unwrap();

    let (status, _) = server.post("/api/v1/users/reader/brake", SERVICE_KEY, &json!({})).await;
    assert_eq!(status, 200);
    let acknowledged = until(&mut watching, &mut seen, "run.stop_acknowledged").await;
    assert_eq!(acknowledged.run_id.as_deref(), Some(&*run));
    until(&mut watching, &mut seen, "system.brake.paused").await;
    let paused_at = seen.len();
    let (_, answer) = server.post("/api/v1/users/reader/resume", SERVICE_KEY, &json!({})).await;
    assert_eq!(answer["state"], "resuming", "{answer}");
    until(&mut watching, &mut seen, "agent.completed").await;
    assert_eq!(kinds(&seen[paused_at..])[..2], ["system.brake.resumed", "run.resumed"]);
    // Every step once and in order, as if nothing had been.
    let steps = seen.iter().filter_map(|event| event.id.strip_prefix(&format!("{run}:"))?.parse::<usize>().ok());
    assert!(steps.enumerate().all(|(n, step)| n == step), "{:?}", kinds(&seen));

    ask("q2").await.unwrap();
    let started = until(&mut watching, &mut seen, "agent.started").await;
    let run = started.run_id.clone().unwrap();
    let (_, answer) = server.post(&format!("/api/v1/runs/{run}/stop"), SERVICE_KEY, &json!({})).await;
    assert_eq!(answer["stopped"], true, "{answer}");
    until(&mut watching, &mut seen, "run.stop_acknowledged").await;
    until(&mut watching, &mut seen, "agent.cancelled").await;
}
