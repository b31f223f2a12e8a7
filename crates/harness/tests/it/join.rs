//! Where replay meets live, at random: clients come, go, read little or much, while topics grow, are trimmed and lose their history, and
//! the log is late. Against a reference model: no hole, no repetition, one order, and gaps only where history really is missing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Clock, Gateway, GatewayBuilder, MemoryLog, PATIENCE, Packet, SERVICE_KEY, Socket};
use towline_log::{Policies, TopicName};
use towline_protocol::{Epoch, Position};

const TOPICS: [&str; 2] = ["a", "b"];

/// What a topic really holds.
#[derive(Default)]
struct Model {
    /// Every event ever acknowledged.
    events: HashMap<Epoch, BTreeMap<u64, u64>>,
    /// Events up to here were trimmed.
    floors: HashMap<Epoch, u64>,
    head: Option<Position>,
    next: u64,
}

impl Model {
    fn head(&self) -> Option<Position> {
        self.head
    }

    fn missing(&self, after: Position, up_to: u64) -> Vec<u64> {
        let events = self.events.get(&after.epoch).into_iter().flatten();
        events.map(|(offset, _)| *offset).filter(|offset| (after.offset + 1..=up_to).contains(offset)).collect()
    }
}

struct Client {
    name: usize,
    socket: Option<Socket>,
    /// Where it is in each topic; a topic that it has not asked for yet is not here.
    at: HashMap<&'static str, Position>,
    /// What it asked for and has no answer to: per subscribe and topic the position, if it named one.
    asked: VecDeque<HashMap<&'static str, Position>>,
    log: Vec<String>,
}

struct World {
    seed: u64,
    random: fastrand::Rng,
    gateway: Gateway,
    log: MemoryLog,
    models: HashMap<&'static str, Model>,
    clients: Vec<Client>,
    gaps: usize,
    delivered: usize,
}

impl World {
    async fn new(seed: u64, builder: GatewayBuilder) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let clock = Clock::system();
        let log = MemoryLog::with(clock.clone(), Policies::default(), random.u64(1..4));
        let (window, page, workers) = (random.usize(1..8), random.usize(2_000..20_000), random.usize(1..3));
        let gateway = builder
            .clock(clock)
            .log(Arc::new(log.clone()))
            .config(move |config| {
                config.sockets.window_events = window;
                config.sockets.catch_up_page_bytes = page;
                config.sockets.catch_ups_max = 2;
                config.sockets.workers = workers;
            })
            .start()
            .await;
        let clients = (0..6)
            .map(|name| Client { name, socket: None, at: HashMap::new(), asked: VecDeque::new(), log: Vec::new() })
            .collect();
        let models = TOPICS.iter().map(|topic| (*topic, Model::default())).collect();
        Self { seed, random, gateway, log, models, clients, gaps: 0, delivered: 0 }
    }

    async fn step(&mut self) {
        let topic = TOPICS[self.random.usize(..TOPICS.len())];
        let client = self.random.usize(..self.clients.len());
        match self.random.u8(..100) {
            0..30 => self.publish(topic).await,
            30..45 => self.connect(client).await,
            45..80 => {
                let most = if self.random.bool() { 3 } else { 200 };
                self.read(client, most).await;
            }
            80..86 => self.clients[client].socket = None,
            86..90 => {
                let keep = self.random.usize(..30);
                self.trim(topic, keep).await;
            }
            90..91 => self.reset(topic).await,
            91..94 => self.gateway.faults().read_after(Duration::from_millis(self.random.u64(..6))),
            94..96 => self.gateway.faults().acknowledge_after(Duration::from_millis(self.random.u64(..4))),
            96..98 => self.gateway.faults().hold_deliveries(),
            _ => self.gateway.faults().release_deliveries(),
        }
    }

    async fn publish(&mut self, topic: &'static str) {
        let model = self.models.get_mut(topic).unwrap();
        let count = if self.random.u8(..8) == 0 { 60 } else { self.random.usize(1..8) };
        let pad = if self.random.u8(..4) == 0 { 3_000 } else { self.random.usize(..200) };
        for stored in self.gateway.publish_padded(topic, model.next as usize, count, pad).await {
            model.events.entry(stored.epoch).or_default().insert(stored.offset, model.next);
            model.head = Some(Position { epoch: stored.epoch, offset: stored.offset });
            model.next += 1;
        }
    }

    async fn trim(&mut self, topic: &'static str, keep: usize) {
        let name = TopicName::new(topic).unwrap();
        self.log.trim(&name, keep);
        let bounds = self.gateway.log().bounds(&name).await.unwrap();
        self.models.get_mut(topic).unwrap().floors.insert(bounds.epoch, bounds.floor);
    }

    async fn reset(&mut self, topic: &'static str) {
        let name = TopicName::new(topic).unwrap();
        self.log.reset(&name);
        let bounds = self.gateway.log().bounds(&name).await.unwrap();
        self.models.get_mut(topic).unwrap().head = Some(Position { epoch: bounds.epoch, offset: 0 });
    }

    /// Connects, or asks again on a connection that stands, for some topics.
    async fn connect(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.socket.is_none() {
            let mut handshake = self.gateway.native().bearer(SERVICE_KEY);
            if self.random.bool() {
                handshake = handshake.receive_buffer(16 * 1024);
            }
            let mut socket = handshake.open().await;
            socket.expect("welcome", PATIENCE).await;
            client.socket = Some(socket);
            client.asked.clear();
        }
        let topics: Vec<Value> = TOPICS
            .iter()
            .map(|topic| {
                let from = match client.at.get(topic) {
                    Some(position) => json!(position.to_string()),
                    None if self.random.bool() => json!("earliest"),
                    None => json!("latest"),
                };
                json!({"topic": topic, "from": from})
            })
            .collect();
        client.log.push(format!("subscribe {topics:?}"));
        client.asked.push_back(client.at.clone());
        client.socket.as_mut().unwrap().send(json!({"id": "s", "type": "subscribe", "data": {"topics": topics}})).await;
    }

    /// Takes what has come, at most so many.
    async fn read(&mut self, client: usize, most: usize) {
        for _ in 0..most {
            // How far it comes is chance, and nothing depends on it.
            if !self.take(client, Duration::from_millis(2)).await {
                return;
            }
        }
    }

    /// Takes one packet and checks it. False if none came.
    async fn take(&mut self, at: usize, timeout: Duration) -> bool {
        let Some(mut socket) = self.clients[at].socket.take() else { return false };
        let packet = match socket.receive(timeout).await {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                self.clients[at].socket = Some(socket);
                return false;
            }
            // A history that changed under a reader that was behind. It comes back and is told.
            Err((1011, reason)) if reason.contains("history") => return false,
            Err((code, reason)) => self.fail(at, &socket, &format!("closed with {code} {reason}")),
        };
        if let Err(why) = self.check(at, &packet) {
            self.fail(at, &socket, &why);
        }
        self.clients[at].socket = Some(socket);
        true
    }

    fn check(&mut self, at: usize, packet: &Packet) -> Result<(), String> {
        let data = packet.data();
        let client = &mut self.clients[at];
        client.log.push(packet.text().chars().take(300).collect());
        match packet.kind() {
            "subscribe_ack" => {
                let asked = client.asked.pop_front().ok_or("an answer to nothing")?;
                for answer in data["subscriptions"].as_array().unwrap() {
                    let topic = *TOPICS.iter().find(|topic| answer["topic"] == **topic).unwrap();
                    let from: Position = serde_json::from_value(answer["from"].clone()).unwrap();
                    // What was delivered between the request and its answer comes again: the cursor goes to what was asked for.
                    self.moved(at, topic, asked.get(topic).copied(), from, answer.get("gap"))?;
                }
                Ok(())
            }
            "gap" => {
                let topic = *TOPICS.iter().find(|topic| data["topic"] == **topic).unwrap();
                let from: Position = serde_json::from_value(data["resume_after"].clone()).unwrap();
                let before = client.at.get(topic).copied();
                self.moved(at, topic, before, from, Some(data))
            }
            "test.numbered" => {
                let topic = *TOPICS.iter().find(|topic| packet.topic() == **topic).unwrap();
                let position = packet.position().unwrap();
                let before = client.at.insert(topic, position);
                let Some(before) = before else { return Err("an event of a topic that was not asked for".to_owned()) };
                let model = &self.models[topic];
                let known = model.events.get(&position.epoch).and_then(|events| events.get(&position.offset));
                // An event that is delivered before its acknowledgement is not in the model yet; publishing here waits for that.
                if known != data["n"].as_u64().as_ref() {
                    return Err(format!("{position} is {:?}, not {}", known, data["n"]));
                }
                let skipped = model.missing(before, position.offset - 1);
                if before.epoch != position.epoch || !skipped.is_empty() {
                    return Err(format!("{position} follows {before}, without {skipped:?}"));
                }
                self.delivered += 1;
                Ok(())
            }
            "caught_up" => Ok(()),
            other => Err(format!("unexpected {other}")),
        }
    }

    /// The server places a cursor: where it should be, or behind a gap that covers only what is missing.
    fn moved(
        &mut self,
        at: usize,
        topic: &'static str,
        before: Option<Position>,
        to: Position,
        gap: Option<&Value>,
    ) -> Result<(), String> {
        let model = &self.models[topic];
        self.clients[at].at.insert(topic, to);
        self.gaps += usize::from(gap.is_some());
        let Some(before) = before else { return Ok(()) };
        let floor = model.floors.get(&to.epoch).copied().unwrap_or(0);
        let right = match gap.map(|gap| gap["reason"].as_str().unwrap()) {
            None => to == before,
            Some("trimmed") => {
                let all_trimmed = model.missing(before, to.offset).iter().all(|offset| *offset <= floor);
                to.epoch == before.epoch && to.offset > before.offset && all_trimmed
            }
            Some("epoch_changed") => to.epoch != before.epoch && to.offset <= floor,
            Some(_) => false,
        };
        if right { Ok(()) } else { Err(format!("the cursor goes from {before} to {to} (trimmed up to {floor}), gap: {gap:?}")) }
    }

    /// Everybody comes back, the log behaves, and everybody reaches the head.
    async fn settle(&mut self) {
        self.gateway.faults().read_after(Duration::ZERO);
        self.gateway.faults().acknowledge_after(Duration::ZERO);
        self.gateway.faults().release_deliveries();
        for at in 0..self.clients.len() {
            self.connect(at).await;
            for topic in TOPICS {
                while let Some(head) = self.models[topic].head()
                    && self.clients[at].at.get(topic) != Some(&head)
                {
                    if self.clients[at].socket.is_none() {
                        self.connect(at).await;
                    }
                    let came = self.take(at, PATIENCE).await;
                    if !came && let Some(socket) = self.clients[at].socket.take() {
                        self.fail(
                            at,
                            &socket,
                            &format!("{topic} stands at {:?}, the head is {head}", self.clients[at].at.get(topic)),
                        );
                    }
                }
            }
        }
    }

    fn fail(&self, at: usize, socket: &Socket, why: &str) -> ! {
        let client = &self.clients[at];
        panic!("seed {}: client {}: {why}\n{}\n{}", self.seed, client.name, client.log.join("\n"), socket.transcript());
    }
}

pub(crate) async fn run(seed: u64, steps: usize, builder: GatewayBuilder) {
    println!("seed {seed}");
    let mut world = World::new(seed, builder).await;
    for step in 0..steps {
        world.step().await;
        if step % 100 == 99 {
            world.settle().await;
        }
    }
    world.settle().await;
    assert!(world.delivered > steps, "seed {seed}: only {} deliveries", world.delivered);
    println!("{} deliveries, {} gaps", world.delivered, world.gaps);
    world.clients.clear();
    world.gateway.expect_idle().await;
}

// proves: B4
#[tokio::test]
async fn random_lives_have_no_hole_and_no_repetition() {
    for _ in 0..4 {
        run(fastrand::u64(..), 300, Gateway::builder()).await;
    }
}

/// The same choices in every run; how they interleave with the server's work still differs.
#[tokio::test]
async fn known_lives_have_no_hole_and_no_repetition() {
    for seed in [1, 2, 3] {
        run(seed, 150, Gateway::builder()).await;
    }
}
