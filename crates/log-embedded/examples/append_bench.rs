//! Measures the engine on the disk at hand: `cargo run --release -p towline-log-embedded --example append_bench [directory]`.
//! Prints durable appends per second of many and of one publisher, and the speed of a replay. Removes what it wrote.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;
use towline_log::{Direction, EventLog, NewEvent, Read, Start, TopicName};
use towline_log_embedded::{EmbeddedLog, Options, OsFiles};
use towline_protocol::event::new_event_id;

const PUBLISHERS: usize = 256;
const EVENTS_PER_PUBLISHER: usize = 2_000;
const REPLAYED: usize = 100_000;
const TOPICS: usize = 10_000;

fn event(topic: &TopicName) -> NewEvent {
    NewEvent {
        topic: topic.clone(),
        id: new_event_id(),
        kind: "bench.event".into(),
        extras: Box::default(),
        data: vec![b'7'; 250].into(),
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| "target".into());
    let directory = std::path::Path::new(&parent).join("append-bench");
    let clock = Clock::system();
    let (log, _) = EmbeddedLog::open(Options::default(), Arc::new(OsFiles::new(&directory)), clock.clone())?;
    let log = Arc::new(log);
    let topics: Vec<TopicName> = (0..TOPICS).map(|n| TopicName::new(&format!("user:{n}"))).collect::<Result<_, _>>()?;

    for publishers in [PUBLISHERS, 1] {
        let before = log.stats();
        let started = clock.uptime();
        let mut tasks = Vec::new();
        for publisher in 0..publishers {
            let (log, topics, clock) = (log.clone(), topics.clone(), clock.clone());
            tasks.push(tokio::spawn(async move {
                let mut waits = Vec::with_capacity(EVENTS_PER_PUBLISHER);
                for n in 0..EVENTS_PER_PUBLISHER {
                    let topic = &topics[(publisher * 7919 + n * 104_729) % TOPICS];
                    let asked = clock.uptime();
                    if log.append(vec![event(topic)]).await.is_err() {
                        break;
                    }
                    waits.push(clock.uptime() - asked);
                }
                waits
            }));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await?);
        }
        waits.sort_unstable();
        let took = clock.uptime() - started;
        let stats = log.stats();
        println!(
            "{publishers} publishers: {:.0} events/s, ack p50 {:?} p99 {:?} max {:?}, {:.1} events per sync, {:?} per sync",
            waits.len() as f64 / took.as_secs_f64(),
            percentile(&waits, 50),
            percentile(&waits, 99),
            percentile(&waits, 100),
            (stats.appended_total - before.appended_total) as f64 / (stats.syncs_total - before.syncs_total).max(1) as f64,
            Duration::from_micros(
                (stats.sync_micros_total - before.sync_micros_total) / (stats.syncs_total - before.syncs_total).max(1)
            ),
        );
    }

    let topic = TopicName::new("replayed")?;
    for _ in 0..REPLAYED / 100 {
        log.append((0..100).map(|_| event(&topic)).collect()).await?;
    }
    for events_max in [500, 5_000] {
        let started = clock.uptime();
        let mut start = Start::Earliest;
        let mut count = 0;
        loop {
            let direction = Direction::Forward;
            let page = log.read(Read { topic: topic.clone(), start, direction, events_max, bytes_max: 4 << 20 }).await?;
            count += page.records.len();
            start = Start::At(page.to_position());
            if page.complete {
                break;
            }
        }
        let took = clock.uptime() - started;
        println!("replay in pages of {events_max}: {count} events, {:.0} events/s", count as f64 / took.as_secs_f64());
    }
    log.close().await;
    drop(log);
    let started = clock.uptime();
    let (log, report) = EmbeddedLog::open(Options::default(), Arc::new(OsFiles::new(&directory)), clock.clone())?;
    println!("reopened in {:?}: {report}", clock.uptime() - started);
    log.close().await;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
