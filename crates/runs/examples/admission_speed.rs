//! What a run id costs a publisher: nanoseconds of one thread per event of a running run, and per run that begins and ends.
//!
//! `cargo run --release -p towline-runs --example admission_speed`

use std::hint::black_box;

use towline_clock::Clock;
use towline_protocol::TopicName;
use towline_protocol::topic::TopicError;
use towline_runs::{Actor, ActorKind, Effects, Glance, Limits, Moment, Question, Registry};

const RUNS: usize = 10_000;
const EVENTS: usize = 5_000_000;

fn main() -> Result<(), TopicError> {
    let clock = Clock::system();
    let mut registry = Registry::new(Limits { known_max: 2 * RUNS, ..Limits::default() });
    let topic = TopicName::new("user:42")?;
    let by = Actor { kind: ActorKind::Service, id: "service-1".into() };
    let ids: Vec<String> = (0..RUNS).map(|n| format!("0190ab12-3456-7890-abcd-{n:012}")).collect();
    let ask = |run_id, kind| Question { run_id, topic: &topic, kind, event_id: "e", agent_type: None, by: &by, trusted: true };

    let began = clock.uptime();
    for id in &ids {
        let mut effects = Effects::default();
        let taken = registry.admit(&ask(id, "agent.started"), Moment::of(&clock), &mut effects);
        black_box((taken.is_ok(), effects));
    }
    let begin_ns = (clock.uptime() - began).as_nanos() as f64 / RUNS as f64;

    let began = clock.uptime();
    let mut taken = 0_usize;
    for n in 0..EVENTS {
        let glance = registry.glance(&ask(&ids[n * 7_919 % RUNS], "partial_result"), Moment::of(&clock));
        taken += usize::from(matches!(glance, Glance::Taken));
    }
    let event_ns = (clock.uptime() - began).as_nanos() as f64 / EVENTS as f64;
    assert_eq!(taken, EVENTS);

    let began = clock.uptime();
    for id in &ids {
        let mut effects = Effects::default();
        let taken = registry.admit(&ask(id, "agent.completed"), Moment::of(&clock), &mut effects);
        black_box((taken.is_ok(), effects));
    }
    let end_ns = (clock.uptime() - began).as_nanos() as f64 / RUNS as f64;
    println!("of {RUNS} runs: {event_ns:.0} ns per event, {begin_ns:.0} ns to begin, {end_ns:.0} ns to end");
    Ok(())
}
