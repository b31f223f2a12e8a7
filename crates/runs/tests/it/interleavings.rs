//! Random orders of everything, with crashes that tear the last append: nothing of a stopped run ever stands behind its stop.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use towline_protocol::NewEvent;
use towline_runs::{ACKNOWLEDGED, Scope};

use crate::world::{World, user};

const RUNS: [&str; 4] = ["r0", "r1", "r2", "r3"];
const TOPICS: [&str; 3] = ["user:u", "user:v", "thread:t"];

#[derive(Debug, Clone)]
enum Step {
    Publish(usize, usize),
    Acknowledge(usize, usize),
    End(usize, usize),
    Stop(Scope),
    Brake(Scope),
    Resume(Scope),
    Wait(u64),
    /// The process ends; of the last append only this many events reached the log.
    Crash(usize),
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        (0..RUNS.len()).prop_map(|run| Scope::Run(RUNS[run].into())),
        Just(Scope::Thread("t".into())),
        Just(user("u")),
        Just(user("v")),
    ]
}

fn brake() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(user("u")), Just(user("v"))]
}

fn step() -> impl Strategy<Value = Step> {
    let run_and_topic = || (0..RUNS.len(), 0..TOPICS.len());
    prop_oneof![
        8 => run_and_topic().prop_map(|(run, topic)| Step::Publish(run, topic)),
        3 => run_and_topic().prop_map(|(run, topic)| Step::Acknowledge(run, topic)),
        1 => run_and_topic().prop_map(|(run, topic)| Step::End(run, topic)),
        1 => scope().prop_map(Step::Stop),
        2 => brake().prop_map(Step::Brake),
        2 => brake().prop_map(Step::Resume),
        1 => (1..40_u64).prop_map(Step::Wait),
        1 => (0..12_usize).prop_map(Step::Crash),
    ]
}

/// What a subscriber of one topic may see.
fn check(log: &[NewEvent]) {
    let mut stopped: HashMap<(&str, &str), HashSet<&str>> = HashMap::new();
    for event in log.iter().filter(|event| !event.topic.is_internal()) {
        let extras = std::str::from_utf8(&event.extras).unwrap();
        let Some(run) = RUNS.iter().find(|run| extras.contains(&format!("\"run_id\":\"{run}\""))) else { continue };
        let place = (event.topic.as_str(), *run);
        match &*event.kind {
            "run.stopped" => {
                // A stop within a stop allows nothing anew.
                stopped.entry(place).or_default();
            }
            "run.resumed" => {
                stopped.remove(&place);
            }
            kind @ (ACKNOWLEDGED | "agent.completed") => {
                if let Some(said) = stopped.get_mut(&place) {
                    assert!(said.insert(kind), "{place:?} says {kind} twice behind its stop");
                }
            }
            "run.lost" => {}
            other => assert!(!stopped.contains_key(&place), "{place:?}: {other} behind the stop"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // proves: A8
    #[test]
    fn nothing_of_a_stopped_run_stands_behind_its_stop(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            let before = world.log.len();
            match step {
                Step::Publish(run, topic) => { let _ = world.publish(RUNS[run], TOPICS[topic], "token"); }
                Step::Acknowledge(run, topic) => {
                    // A running run has nothing to acknowledge; then it is an event like any other.
                    let stopped = world.registry.view(RUNS[run], world.now).is_some_and(|run| run.stop.is_some());
                    if stopped { let _ = world.publish(RUNS[run], TOPICS[topic], ACKNOWLEDGED); }
                }
                Step::End(run, topic) => { let _ = world.publish(RUNS[run], TOPICS[topic], "agent.completed"); }
                Step::Stop(scope) => { world.stop(&scope); }
                Step::Brake(scope) => { world.brake(&scope); }
                Step::Resume(scope) => { world.resume(&scope); }
                Step::Wait(seconds) => { world.wait(seconds); world.upkeep(); }
                Step::Crash(kept) => {
                    // What the step before appended was not acknowledged yet.
                    let _ = world.publish(RUNS[kept % RUNS.len()], TOPICS[kept % TOPICS.len()], "token");
                    let torn = match kept % 3 {
                        0 => { world.brake(&user("u")); true }
                        1 => world.resume(&user("u")),
                        _ => { world.stop(&Scope::Thread("t".into())); true }
                    };
                    if torn { world.log.truncate(world.log.len().min(before + kept)); }
                    world.restart();
                }
            }
            check(&world.log);
        }
        // A restart finds what was there.
        let states: Vec<_> = RUNS.iter().map(|run| world.registry.view(run, world.now).map(|run| run.state)).collect();
        world.restart();
        let again: Vec<_> = RUNS.iter().map(|run| world.registry.view(run, world.now).map(|run| run.state)).collect();
        prop_assert_eq!(states, again);
        check(&world.log);
    }
}
