//! Random lives of a log, with crashes in the middle of any change to the disk, compared with what was submitted and acknowledged.
//!
//! After a crash: what was acknowledged is there unless its durability did not promise that; nothing is there that was not submitted; calls
//! are whole; the order is that of submission; and where continuity is not proven, the epoch is another.

use std::collections::BTreeMap;
use std::time::Duration;

use towline_clock::Clock;
use towline_log::conformance::{START_MS, event, topic};
use towline_log::{Durability, Epoch, EventLog, NewEvent, Policies, Retention, TopicPolicy};
use towline_log_embedded::{EmbeddedLog, Options, SimulatedFiles};
use towline_protocol::TopicPattern;

use super::{all, open, small};

const LIVES: u64 = 150;
const CRASHES_PER_LIFE: usize = 5;
const TOPICS: [&str; 5] = ["durable:1", "durable:2", "relaxed:1", "relaxed:2", "memory:1"];
/// Topics ending in 2 keep this many.
const KEPT: u64 = 12;

fn options() -> Options {
    let rule = |pattern: &str, durability, events_max| {
        let retention = Retention { events_max, age_max: None, bytes_max: None };
        (TopicPattern::new(pattern).unwrap(), TopicPolicy { durability, retention })
    };
    let rules = vec![
        rule("durable:2", Durability::Fsync, Some(KEPT)),
        rule("relaxed:2", Durability::Relaxed, Some(KEPT)),
        rule("relaxed:*", Durability::Relaxed, None),
        rule("memory:*", Durability::Memory, None),
    ];
    let policies = Policies { rules, relaxed_sync_interval: Duration::from_millis(1), ..Policies::default() };
    Options { policies, ..small() }
}

/// What is known of one topic.
#[derive(Default, Clone)]
struct Known {
    epoch: Option<Epoch>,
    /// By offset, what was found after the last opening or acknowledged since.
    events: BTreeMap<u64, NewEvent>,
    /// Submitted since the last opening and not answered, in order, with the number of its call.
    open: Vec<(u64, NewEvent)>,
}

struct Life {
    seed: u64,
    random: fastrand::Rng,
    known: BTreeMap<&'static str, Known>,
    next_event: u64,
    next_call: u64,
}

fn name_of(event: &NewEvent) -> &'static str {
    TOPICS.into_iter().find(|name| *name == event.topic.as_str()).unwrap()
}

impl Life {
    /// Appends until the files die. Calls are made without waiting, so that some are open when it happens.
    async fn append_until_death(&mut self, log: &EmbeddedLog, files: &SimulatedFiles) {
        files.die_after_changes(self.random.u64(1..60));
        let mut waiting = Vec::new();
        loop {
            for _ in 0..self.random.usize(1..6) {
                let call: Vec<NewEvent> = (0..self.random.usize(1..5))
                    .map(|_| {
                        self.next_event += 1;
                        event(&topic(self.random.choice(TOPICS).unwrap()), self.next_event)
                    })
                    .collect();
                self.next_call += 1;
                for event in &call {
                    self.known.entry(name_of(event)).or_default().open.push((self.next_call, event.clone()));
                }
                waiting.push((log.append(call.clone()), call));
            }
            if self.random.u8(..4) == 0 {
                // It fails when the files die under it.
                let _ = log.upkeep();
            }
            let mut dead = false;
            for (answer, call) in waiting.drain(..) {
                let Ok(answers) = answer.await else {
                    dead = true;
                    continue;
                };
                for (event, answer) in call.iter().zip(answers) {
                    let known = self.known.entry(name_of(event)).or_default();
                    known.open.retain(|(_, open)| open != event);
                    assert!(!answer.duplicate);
                    assert_eq!(*known.epoch.get_or_insert(answer.position.epoch), answer.position.epoch);
                    let before = known.events.insert(answer.position.offset, event.clone());
                    assert!(before.is_none(), "seed {}: offset {} was given out twice", self.seed, answer.position);
                }
            }
            if dead {
                return;
            }
        }
    }

    /// Compares what the reopened log has with what is known, and takes it over.
    async fn check(&mut self, log: &EmbeddedLog, power_lost: bool) {
        let seed = self.seed;
        let mut whole_calls: BTreeMap<u64, Vec<bool>> = BTreeMap::new();
        for name in TOPICS {
            let known = self.known.entry(name).or_default();
            let (epoch, floor, records, gaps) = all(log, name).await;
            assert_eq!(gaps, 0, "seed {seed}: {name}: a crash leaves no holes");
            let same_epoch = known.epoch.is_none_or(|before| before == epoch);
            if name.starts_with("memory") {
                assert!(records.is_empty() && (known.events.is_empty() || !same_epoch), "seed {seed}: {name}: a new epoch");
                *known = Known { epoch: Some(epoch), ..Known::default() };
                continue;
            }
            // A topic of which there is nothing may have been a relaxed one.
            let may_lose = power_lost && (name.starts_with("relaxed") || known.events.is_empty());
            assert!(same_epoch || may_lose, "seed {seed}: {name}: the epoch changed without a reason");
            if name.ends_with('2') {
                let head = records.last().map_or(floor, |record| record.offset());
                assert!(floor <= head.saturating_sub(KEPT) || records.is_empty(), "seed {seed}: {name}: trimmed too much");
            } else {
                assert_eq!(floor, 0, "seed {seed}: {name}: trimmed without a limit");
            }
            let mut open = known.open.iter();
            let mut found = BTreeMap::new();
            for record in &records {
                let expected = match known.events.get(&record.offset()) {
                    Some(event) if same_epoch || record.id() == &*event.id => event.clone(),
                    // Not acknowledged: the next of those that were submitted.
                    _ => {
                        let submitted = open.find(|(_, event)| *event.id == *record.id());
                        submitted.unwrap_or_else(|| panic!("seed {seed}: {name}: {record:?} out of nowhere")).1.clone()
                    }
                };
                assert_eq!((record.id(), record.data()), (&*expected.id, &*expected.data), "seed {seed}: {name}");
                found.insert(record.offset(), expected);
            }
            if same_epoch {
                for (offset, event) in known.events.iter().filter(|(offset, _)| **offset > floor) {
                    assert_eq!(found.get(offset), Some(event), "seed {seed}: {name}: acknowledged {offset} is gone");
                }
            }
            if floor == 0 {
                let ids: std::collections::HashSet<&str> = records.iter().map(|record| record.id()).collect();
                for (call, event) in &known.open {
                    whole_calls.entry(*call).or_default().push(ids.contains(&*event.id));
                }
            }
            *known = Known { epoch: Some(epoch), events: found, open: Vec::new() };
        }
        for (call, found) in whole_calls {
            let whole = found.windows(2).all(|pair| pair[0] == pair[1]);
            assert!(whole, "seed {seed}: call {call} is there in part: {found:?}");
        }
    }
}

async fn live(seed: u64) {
    let mut life = Life { seed, random: fastrand::Rng::with_seed(seed), known: BTreeMap::new(), next_event: 0, next_call: 0 };
    let clock = Clock::manual(START_MS);
    let mut files = SimulatedFiles::new(seed);
    for _ in 0..CRASHES_PER_LIFE {
        clock.advance(Duration::from_secs(life.random.u64(0..20)));
        let (log, report) = open(&files, &options(), &clock);
        assert!(!report.is_damaged(), "seed {seed}: {report}");
        // Memory begins anew with every opening.
        life.known.remove("memory:1");
        life.append_until_death(&log, &files).await;
        let power_lost = life.random.bool();
        files = if power_lost { files.lose_power() } else { files.kill() };
        drop(log);
        // Recovery is interrupted too, at any change that it makes.
        let mut power_lost_since = power_lost;
        while life.random.bool() {
            files.die_after_changes(life.random.u64(1..12));
            let options = options();
            let interrupted = EmbeddedLog::open(options, std::sync::Arc::new(files.clone()), clock.clone());
            if let Ok((_, report)) = &interrupted {
                assert!(!report.is_damaged(), "seed {seed}: {report}");
            }
            let again = life.random.bool();
            power_lost_since |= again;
            files = if again { files.lose_power() } else { files.kill() };
            drop(interrupted);
        }
        let (log, report) = open(&files, &options(), &clock);
        assert!(!report.is_damaged(), "seed {seed}: {report}");
        life.check(&log, power_lost_since).await;
        if life.random.bool() {
            log.close().await;
        } else {
            files = files.kill();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_moment_leaves_an_exact_prefix_with_everything_acknowledged() {
    let first: u64 =
        std::env::var("TOWLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("first seed {first} (set TOWLINE_TEST_SEED to run it again)");
    for life in 0..LIVES {
        live(first.wrapping_add(life)).await;
    }
}
