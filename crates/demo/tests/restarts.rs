//! The agent and the server die at random moments, and every question is still answered once, step by step, in order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use towline_client::{Client, Event, Publish, PublishResult, StartRequest, Update};
use towline_harness::{Binary, PATIENCE, SERVICE_KEY};

const QUESTIONS: usize = 9;

/// A running agent, killed on drop.
struct Agent(Child);

impl Agent {
    fn start(server: &Binary, folder: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_towline-demo-agent"))
            .args(["--docs", "docs", "--state", "state", "--pace", "20ms"])
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

#[tokio::test]
async fn crashes_lose_no_question_and_answer_none_twice() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    for name in ["one", "two", "three"] {
        let text =
            format!("# {name}\nThe word {name} stands in this document and nowhere else.\nA crash of {name} loses nothing.\n");
        std::fs::write(folder.path().join("docs").join(format!("{name}.md")), text).unwrap();
    }
    let mut server = Binary::start(&[]).await;
    let client = Client::builder(server.url("")).token(SERVICE_KEY).build().unwrap();
    let mut watching = client.subscribe([("user:reader", StartRequest::Earliest)]).unwrap();

    let mut agent = Agent::start(&server, folder.path());
    let questions = (0..QUESTIONS).map(|n| {
        let text = format!("What stands in document {}?", ["one", "two", "three"][n % 3]);
        let data = json!({"question": text, "user_id": "reader"});
        Publish::new("agent:demo", "question.asked").id(format!("q{n}")).data(data)
    });
    let asked = client.publish(questions).await.unwrap();
    assert!(asked.iter().all(|result| matches!(result, PublishResult::Stored(_))), "{asked:?}");

    let mut runs: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut ended = 0;
    let mut until_crash = random.usize(1..12);
    let mut crashes = 0;
    while ended < QUESTIONS {
        let update = tokio::time::timeout(PATIENCE, watching.next()).await;
        let update = update.unwrap_or_else(|_| panic!("nothing for too long; {ended} of {QUESTIONS} answered")).unwrap();
        match update {
            Update::Event(event) => {
                ended += usize::from(event.kind == "agent.completed");
                runs.entry(event.correlation_id.clone().unwrap()).or_default().push(*event);
            }
            Update::Gap(gap) => panic!("{gap:?}"),
            Update::Hole(hole) => panic!("{hole:?}"),
            Update::Stopped(reason) => panic!("{reason}"),
            _ => continue,
        }
        until_crash -= 1;
        if until_crash == 0 {
            crashes += 1;
            until_crash = random.usize(1..25);
            drop(agent);
            if random.bool() {
                server.restart().await;
            }
            agent = Agent::start(&server, folder.path());
        }
    }
    assert!(crashes > 0);
    assert_eq!(runs.len(), QUESTIONS);
    for (question, events) in &runs {
        let last = events.len() - 1;
        for (step, event) in events.iter().enumerate() {
            assert!(event.id.ends_with(&format!(":{step}")), "{question}: step {step} is {}", event.id);
            assert_eq!(event.kind == "agent.completed", step == last, "{question}: step {step} is {}", event.kind);
        }
        assert_eq!(events[0].kind, "agent.started");
    }
}
