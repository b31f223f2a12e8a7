//! Random lives of a log: appends, reads of every kind, retention, clean restarts, compared with the model at every step.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;
use towline_protocol::{Epoch, NewEvent, Position, TopicName, TopicPattern};

use super::model::Model;
use super::{START_MS, Store, append, event, topic};
use crate::{Direction, Durability, EventLog, Policies, Read, Retention, Start, TopicPolicy};

const TOPICS: [&str; 6] = ["kept:1", "kept:2", "counted:1", "aged:1", "relaxed:1", MEMORY];
/// Begins anew with every opening.
const MEMORY: &str = "memory:1";

/// A small generator (SplitMix64): a life follows from its seed alone, here and in any later version.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

fn policies() -> Policies {
    let rule = |pattern: &str, policy| (TopicPattern::new(pattern).unwrap_or_else(|error| panic!("{error}")), policy);
    let none = Retention { age_max: None, events_max: None, bytes_max: None };
    let keep = |retention| TopicPolicy { retention, ..TopicPolicy::default() };
    let rules = vec![
        rule("counted:*", keep(Retention { events_max: Some(25), ..none })),
        rule("aged:*", keep(Retention { age_max: Some(Duration::from_secs(90)), ..none })),
        rule("relaxed:*", TopicPolicy { durability: Durability::Relaxed, retention: none }),
        rule("memory:*", TopicPolicy { durability: Durability::Memory, retention: Retention { events_max: Some(40), ..none } }),
    ];
    Policies { rules, fallback: keep(none), dedup_window: Duration::from_secs(60), ..Policies::default() }
}

struct Life {
    random: Random,
    model: Model,
    clock: Clock,
    appended: u64,
}

impl Life {
    fn topic(&mut self) -> TopicName {
        topic(TOPICS[self.random.below(TOPICS.len() as u64) as usize])
    }

    async fn append(&mut self, log: &dyn EventLog) {
        let mut events: Vec<NewEvent> = Vec::new();
        for _ in 0..self.random.below(12) {
            self.appended += 1;
            // Some ids come again: within the window and after it.
            let n = if self.random.below(5) == 0 { self.appended.saturating_sub(self.random.below(60)) } else { self.appended };
            let topic = self.topic();
            events.push(event(&topic, n));
        }
        let answers = append(log, events.clone()).await;
        self.model.appended(&events, &answers);
    }

    /// Notes what retention removed so far. Between this and a read nothing else happens.
    async fn observe(&mut self, log: &dyn EventLog) {
        for name in self.model.topics.keys().cloned().collect::<Vec<_>>() {
            let bounds = log.bounds(&name).await.unwrap_or_else(|error| panic!("{error}"));
            self.model.trimmed(&name, &bounds);
        }
    }

    async fn read(&mut self, log: &dyn EventLog) {
        self.observe(log).await;
        let name = self.topic();
        let known = self.model.topics.get(&name).cloned().unwrap_or_default();
        let epoch = known.epoch.unwrap_or(Epoch(1));
        let start = match self.random.below(6) {
            0 => Start::Earliest,
            1 => Start::Latest,
            2 => Start::Time(START_MS + self.random.below(1 + self.clock.unix_ms() - START_MS)),
            3 => Start::Id(event(&name, self.random.below(self.appended + 2)).id),
            4 => Start::At(Position { epoch: Epoch(epoch.0 ^ 1), offset: self.random.below(known.head() + 3) }),
            _ => Start::At(Position { epoch, offset: self.random.below(known.head() + 4) }),
        };
        let direction = if self.random.below(2) == 0 { Direction::Forward } else { Direction::Backward };
        let (events_max, bytes_max) = (self.random.below(40) as usize, self.random.below(6_000) as usize);
        let read = Read { topic: name, start, direction, events_max, bytes_max };
        let page = log.read(read.clone()).await.unwrap_or_else(|error| panic!("{read:?}: {error}"));
        if known.epoch.is_some() {
            self.model.check(&read, &page).unwrap_or_else(|what| panic!("{what}"));
        }
    }
}

/// One life. Engines run many, and print the seed.
pub async fn a_random_life_is_as_the_model_says(store: Arc<dyn Store>, seed: u64) {
    let clock = Clock::manual(START_MS);
    let mut life = Life { random: Random(seed), model: Model::default(), clock: clock.clone(), appended: 0 };
    let mut log = store.open(policies(), clock.clone()).await;
    for _ in 0..120 {
        match life.random.below(20) {
            0..8 => life.append(&*log).await,
            8..16 => life.read(&*log).await,
            16..18 => clock.advance(Duration::from_millis(life.random.below(30_000))),
            18 => store.retain().await,
            _ if store.keeps_events() => {
                log.close().await;
                log = store.open(policies(), clock.clone()).await;
                life.model.topics.remove(MEMORY);
            }
            _ => {}
        }
    }
    store.retain().await;
    life.observe(&*log).await;
    life.model.check_all(&*log, 13).await;
    log.close().await;
}
