//! Everything is bounded: what is known, and what a restart needs of the log.

use std::time::Duration;

use towline_protocol::ErrorCode::{RunStopped, Unavailable};
use towline_runs::{Filter, Limits, Registry, RunState, Scope};

use crate::world::World;

fn small() -> Limits {
    Limits { known_max: 10, brakes_max: 2, ..Limits::default() }
}

#[test]
fn ended_runs_make_room_before_stopped_ones_and_running_ones_never() {
    let mut world = World::with(small());
    world.publish("stopped", "t", "x").unwrap();
    world.stop(&Scope::Run("stopped".into()));
    for n in 0..9 {
        world.publish(&format!("ended-{n}"), "t", "agent.completed").unwrap();
    }
    for n in 0..9 {
        world.publish(&format!("running-{n}"), "t", "x").unwrap();
    }
    assert_eq!(world.publish("stopped", "t", "x"), Err(RunStopped), "still known");
    world.publish("running-9", "t", "x").unwrap();
    assert_eq!(world.publish("one-more", "t", "x"), Err(Unavailable));
    world.publish("running-0", "t", "agent.completed").unwrap();
    world.publish("one-more", "t", "x").unwrap();
}

#[test]
fn what_is_over_is_forgotten_after_a_week() {
    let mut world = World::new();
    world.publish("a", "t", "agent.completed").unwrap();
    world.publish("b", "t", "x").unwrap();
    world.stop(&Scope::Run("b".into()));
    world.publish("b", "t", "agent.cancelled").unwrap();
    world.now.unix_ms += Duration::from_secs(7 * 24 * 3600).as_millis() as u64;
    assert!(!world.registry.is_due(world.now));
    world.now.unix_ms += 1;
    world.upkeep();
    assert!(world.registry.view("a", world.now).is_none() && world.registry.view("b", world.now).is_none());
}

/// Whatever the state topic has trimmed, a restart finds every run that is known.
#[test]
fn the_state_topic_may_be_trimmed_to_what_is_promised_to_be_enough() {
    let limits = small();
    let kept = Registry::records_kept(&limits) as usize;
    let mut world = World::with(limits);
    world.publish("old", "t", "x").unwrap();
    world.publish("stopped", "t", "x").unwrap();
    world.stop(&Scope::Run("stopped".into()));
    for n in 0..3 * kept {
        world.publish(&format!("r-{n}"), "t", "agent.completed").unwrap();
        assert!(world.registry.quiet_heartbeat("old", world.now).is_some());
    }
    // Ended runs, which make room first, may push nobody else out.
    let records = world.log.iter().filter(|event| event.topic.is_internal()).count();
    assert!(records > 2 * kept, "{records} records, {kept} kept");
    let mut skip = records - kept;
    world.log.retain(|event| {
        let trimmed = event.topic.is_internal() && skip > 0;
        skip -= usize::from(trimmed);
        !trimmed
    });
    let before: Vec<String> = known(&world);
    world.restart();
    assert_eq!(known(&world), before);
    assert_eq!((world.state("old"), world.state("stopped")), (RunState::Running, RunState::Stopped));
}

fn known(world: &World) -> Vec<String> {
    let (runs, more) = world.registry.list(&Filter::default(), 100, world.now);
    assert!(more.is_none());
    runs.iter().map(|run| format!("{run:?}")).collect()
}

#[test]
fn runs_are_listed_newest_first_in_pages_without_hole_or_repetition() {
    let mut world = World::new();
    for n in 0..25 {
        world.publish(&format!("r-{n:02}"), if n % 2 == 0 { "user:even" } else { "user:odd" }, "x").unwrap();
        if n % 5 == 0 {
            world.wait(1);
        }
    }
    let mut filter = Filter { user_id: Some("even".into()), ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let (page, next) = world.registry.list(&filter, 4, world.now);
        seen.extend(page.into_iter().map(|run| (run.began_at, run.run_id)));
        match next {
            Some((at, id)) => filter.after = Some((at, id.into())),
            None => break,
        }
    }
    assert_eq!(seen.len(), 13);
    assert!(seen.windows(2).all(|two| two[0].0 > two[1].0 || (two[0].0 == two[1].0 && two[0].1 < two[1].1)));
}
