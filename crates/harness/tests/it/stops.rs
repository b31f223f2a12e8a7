//! Stops against publishers that go on: by many at once, in random orders, over crashes. What subscribers see is checked by position:
//! behind `run.stopped` nothing of the run but one acknowledgement and one terminal event, until `run.resumed`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use towline_client::{Client, Position, Settings, StartRequest, Update};
use towline_harness::{Binary, Gateway, PATIENCE, SERVICE_KEY, eventually};

const TOPICS: [&str; 3] = ["user:u", "user:v", "thread:t"];
/// The event that ends a test's topic.
const OVER: &str = "test.over";

/// What one subscriber may see.
#[derive(Default)]
struct Witness {
    stopped: HashMap<(String, String), HashSet<String>>,
    last: HashMap<String, Position>,
    seen: usize,
    stops: usize,
    resumptions: usize,
}

impl Witness {
    fn see(&mut self, topic: &str, run: Option<&str>, kind: &str, position: Position) {
        let before = self.last.insert(topic.to_owned(), position);
        assert!(
            before.is_none_or(|before| before.epoch == position.epoch && before.offset < position.offset),
            "{topic}: {position}"
        );
        self.seen += 1;
        let Some(run) = run else { return };
        let place = (topic.to_owned(), run.to_owned());
        match kind {
            "run.stopped" => {
                self.stops += 1;
                self.stopped.entry(place).or_default();
            }
            "run.resumed" => {
                self.resumptions += 1;
                self.stopped.remove(&place);
            }
            "run.stop_acknowledged" | "agent.completed" => {
                if let Some(said) = self.stopped.get_mut(&place) {
                    assert!(said.insert(kind.to_owned()), "{place:?} said {kind} twice behind its stop, at {position}");
                }
            }
            "run.lost" => {}
            other => assert!(!self.stopped.contains_key(&place), "{place:?}: {other} at {position}, behind its stop"),
        }
    }
}

fn client(url: String) -> Client {
    let settings = Settings {
        reconnect_delay: Duration::from_millis(20),
        reconnect_delay_max: Duration::from_millis(200),
        ..Settings::default()
    };
    Client::builder(url).token(SERVICE_KEY).settings(settings).build().unwrap()
}

/// Watches all topics from their beginning until each is over.
async fn watch(client: Client) -> Witness {
    let mut watching = client.subscribe(TOPICS.map(|topic| (topic, StartRequest::Earliest))).unwrap();
    let mut witness = Witness::default();
    let mut over = 0;
    while over < TOPICS.len() {
        let update = tokio::time::timeout(PATIENCE * 3, watching.next()).await.expect("nothing came").expect("it stopped");
        match update {
            Update::Event(event) => {
                over += usize::from(event.kind == OVER);
                witness.see(event.topic.as_str(), event.run_id.as_deref(), &event.kind, event.position);
            }
            Update::Gap(_) | Update::Hole(_) | Update::Stopped(_) | Update::Refused { .. } => panic!("{update:?}"),
            _ => {}
        }
    }
    witness
}

/// Sends a request to a server that may be away; an answer that is lost is nobody's business here.
async fn post(http: &reqwest::Client, url: String, body: &Value) -> Option<Value> {
    let request = http.post(url).bearer_auth(SERVICE_KEY).json(body);
    request.send().await.ok()?.json().await.ok()
}

// proves: A8
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publish_while_a_stop_comes() {
    let gateway = Arc::new(Gateway::start().await);
    let watcher = tokio::spawn(watch(client(gateway.url(""))));
    let (stored, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (gateway, stored, refused) = (Arc::clone(&gateway), Arc::clone(&stored), Arc::clone(&refused));
            tokio::spawn(async move {
                let run = format!("r{}", publisher % 4);
                // Half of them over sockets, half over REST.
                let mut socket = gateway.connect_with(SERVICE_KEY).await;
                loop {
                    let events: Vec<Value> =
                        TOPICS.iter().map(|topic| json!({"topic": topic, "type": "token", "run_id": run})).collect();
                    let results = if publisher < 4 {
                        gateway.post_events("", &Value::from(events).to_string()).await.1["results"].clone()
                    } else {
                        socket.request("publish", json!({"events": events})).await["data"]["results"].clone()
                    };
                    let results = results.as_array().unwrap();
                    // A request is one append: a stop comes before all of it or behind all of it.
                    let taken = results.iter().filter(|result| result["status"] == "stored").count();
                    assert!(taken == 0 || taken == results.len(), "{results:?}");
                    if taken == 0 {
                        assert_eq!(results[0]["error"]["code"], "RUN_STOPPED");
                        refused.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    stored.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("all publish", || async { stored.load(Ordering::SeqCst) > 40 }).await;
    let (status, answer) = gateway.post("/api/v1/runs/r0/stop", SERVICE_KEY, &json!({})).await;
    assert_eq!((status, &answer["stopped"]), (200, &json!(true)));
    let (_, answer) = gateway.post("/api/v1/users/u/brake", SERVICE_KEY, &json!({})).await;
    assert_eq!(answer["state"], "pausing");
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(refused.load(Ordering::SeqCst), 8);
    for topic in TOPICS {
        gateway.publish(topic, OVER, json!({})).await;
    }
    let witness = watcher.await.unwrap();
    assert_eq!(witness.stops, 4 * TOPICS.len());
    assert!(witness.seen > 40 * TOPICS.len());
}

/// The order of everything is random, and the process is killed in the middle of it.
// proves: A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_stops_brakes_resumptions_and_kills() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut binary = Binary::start(&[("TOWLINE_RUNS_STOP_TIMEOUT", "1s")]).await;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let base = binary.url("");
    let watchers: Vec<_> = (0..2).map(|_| tokio::spawn(watch(client(base.clone())))).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let (http, base, ended) = (http.clone(), base.clone(), Arc::clone(&ended));
            let mut random = random.fork();
            tokio::spawn(async move {
                while !ended.load(Ordering::SeqCst) {
                    let run = format!("r{}", random.usize(0..10));
                    let kind = *random.choice(&["token", "token", "token", "run.stop_acknowledged"]).unwrap();
                    // What a running run would acknowledge is an event like any other, which would say nothing here.
                    let topic = random.choice(&TOPICS).unwrap();
                    let body =
                        json!([{"topic": topic, "type": kind, "run_id": run}, {"topic": "user:u", "type": kind, "run_id": run}]);
                    let _ = post(&http, format!("{base}/api/v1/events"), &body).await;
                }
            })
        })
        .collect();
    for round in 0..60 {
        let body = json!({"reason": format!("round {round}")});
        let target = match random.usize(0..10) {
            0 => format!("runs/r{}/stop", random.usize(0..10)),
            1 if round > 40 => "threads/t/stop".to_owned(),
            1..=5 => format!("users/{}/brake", random.choice(["u", "v"]).unwrap()),
            _ => format!("users/{}/resume", random.choice(["u", "v"]).unwrap()),
        };
        let asking = post(&http, format!("{base}/api/v1/{target}"), &body);
        if round % 15 == 14 {
            // In the middle of the order, as far as that has come.
            tokio::select! {
                _ = asking => {}
                () = tokio::task::yield_now() => {}
            }
            binary.restart().await;
        } else {
            asking.await;
        }
    }
    ended.store(true, Ordering::SeqCst);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    for topic in TOPICS {
        binary.publish(topic, OVER, json!({})).await;
    }
    let newcomer = tokio::spawn(watch(client(base)));
    for watcher in watchers.into_iter().chain([newcomer]) {
        let witness = watcher.await.unwrap();
        assert!(witness.stops > 0 && witness.resumptions > 0 && witness.seen > 100, "the test did little");
    }
}
