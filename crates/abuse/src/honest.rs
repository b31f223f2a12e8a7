//! The honest: people who watch their own topic and one that all share, and a service that publishes there all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use towline_clock::Clock;
use towline_harness::{Binary, SERVICE_KEY, Socket};

use crate::latency::Latencies;

/// The topic that all share.
const SHARED: &str = "campaign";
/// What the attackers who do not read ask for.
const BUSY: &str = "busy";
/// Between two rounds of publishing.
const ROUND: Duration = Duration::from_millis(50);
/// Own topics written to in a round.
const OWN_PER_ROUND: usize = 5;
/// An honest client that hears nothing for so long has lost something: there is a shared event in every round.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What all honest clients saw since it was last taken.
#[derive(Default)]
pub struct Seen {
    pub latencies: Latencies,
    pub errors: Vec<String>,
}

/// The honest clients and their service.
pub struct Crowd {
    watchers: Vec<JoinHandle<Seen>>,
    publisher: JoinHandle<Result<u64, String>>,
    stop: Arc<AtomicBool>,
    /// Shared events published so far.
    published: Arc<AtomicU64>,
}

impl Crowd {
    /// Connects everybody and begins to publish.
    pub async fn gather(server: &Binary, clock: &Clock, count: usize) -> Self {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut watchers = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("honest-{number}");
            let mut socket = server.connect_with(server.token(&name).topics([SHARED])).await;
            socket.subscribe(json!([SHARED, format!("user:{name}")])).await;
            watchers.push(tokio::spawn(watch(socket, clock.clone(), Arc::clone(&stop))));
        }
        let service = server.connect_with(SERVICE_KEY).await;
        let publisher = tokio::spawn(publish(service, clock.clone(), Arc::clone(&stop), Arc::clone(&published), count));
        Self { watchers, publisher, stop, published }
    }

    /// Shared events published so far.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Ends publishing and collects what everybody saw. Nobody may have missed anything: each client's socket checks that events follow
    /// each other by position, and `last` says that the end came too.
    pub async fn part(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        match self.publisher.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => all.errors.push(format!("the honest service: {error}")),
            Err(error) => all.errors.push(format!("the honest service: {error}")),
        }
        for watcher in self.watchers {
            match watcher.await {
                Ok(seen) => {
                    all.latencies.extend(&seen.latencies);
                    all.errors.extend(seen.errors);
                }
                Err(error) => all.errors.push(format!("an honest client: {error}")),
            }
        }
        all
    }
}

/// Reads until the shared topic says that it is over.
async fn watch(mut socket: Socket, clock: Clock, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    loop {
        match socket.receive(SILENCE_MAX).await {
            Ok(Some(packet)) if packet.kind() == "campaign.over" => return seen,
            Ok(Some(packet)) if packet.position().is_some() => {
                let published_us = packet["data"]["at_us"].as_u64().unwrap_or_default();
                seen.latencies.add(clock.uptime().saturating_sub(Duration::from_micros(published_us)));
            }
            Ok(Some(packet)) => seen.errors.push(format!("unexpected: {}", packet.text())),
            Ok(None) => {
                seen.errors.push(format!("heard nothing for {SILENCE_MAX:?}"));
                if stop.load(Ordering::Relaxed) {
                    return seen;
                }
            }
            Err((code, reason)) => {
                seen.errors.push(format!("closed with {code} {reason:?}"));
                return seen;
            }
        }
    }
}

/// A shared event and a few own ones in every round, and what keeps those busy who never read.
async fn publish(
    mut service: Socket,
    clock: Clock,
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    users: usize,
) -> Result<u64, String> {
    let pad = "x".repeat(2_000);
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let at_us = clock.uptime().as_micros() as u64;
        let event = |topic: String| json!({"topic": topic, "type": "campaign.event", "data": {"at_us": at_us, "round": round}});
        let mut events: Vec<Value> = vec![event(SHARED.to_owned())];
        events.extend((0..OWN_PER_ROUND).map(|_| event(format!("user:honest-{}", fastrand::usize(..users.max(1))))));
        events.extend((0..5).map(|_| json!({"topic": BUSY, "type": "busy", "data": {"pad": pad}})));
        let answer = service.request("publish", json!({ "events": events })).await;
        let stored = answer["data"]["results"]
            .as_array()
            .map_or(0, |results| results.iter().filter(|result| result["status"] == "stored").count());
        if stored != events.len() {
            return Err(format!("{stored} of {} events were stored: {}", events.len(), answer.text()));
        }
        round += 1;
        published.store(round, Ordering::Relaxed);
        tokio::time::sleep(ROUND).await;
    }
    service.request("publish", json!({"topic": SHARED, "type": "campaign.over"})).await;
    Ok(round)
}
