//! Silence, and what is said of it.

use towline_protocol::ErrorCode::{RunEnded, RunStopped};
use towline_runs::{RunState, Scope};

use crate::world::{World, user};

#[test]
fn a_silent_run_is_lost_and_says_so_everywhere() {
    let mut world = World::new();
    world.begin("a", "42", &["user:42", "thread:9"]).unwrap();
    world.wait(60);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Running);
    world.wait(1);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Lost);
    for name in ["user:42", "thread:9", "control:a", "control:*"] {
        assert_eq!(world.last(name, "run.lost")["run_id"], "a");
    }
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunEnded));
    assert_eq!(world.publish("a", "user:42", "agent.completed"), Err(RunEnded));
}

#[test]
fn events_and_heartbeats_keep_a_run() {
    let mut world = World::new();
    world.begin("a", "42", &["user:42"]).unwrap();
    world.wait(50);
    world.publish("a", "user:42", "token").unwrap();
    world.wait(50);
    assert_eq!(world.registry.quiet_heartbeat("a", world.now), Some(RunState::Running));
    world.wait(50);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Running);
    assert_eq!(world.registry.quiet_heartbeat("nobody", world.now), None);
}

#[test]
fn a_run_that_its_first_event_began_has_a_longer_lease() {
    let mut world = World::new();
    world.publish("a", "user:42", "x").unwrap();
    world.wait(15 * 60);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Running);
    world.wait(1);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Lost);
}

#[test]
fn a_stuck_run_whose_agent_died_no_longer_keeps_the_brake_from_pausing() {
    let mut world = World::new();
    world.begin("a", "42", &["user:42"]).unwrap();
    world.brake(&user("42"));
    world.wait(30);
    world.upkeep();
    assert_eq!(world.brake_state(&user("42")), "partial");
    world.wait(31);
    world.upkeep();
    assert_eq!((world.brake_state(&user("42")), world.state("a")), ("paused", RunState::Lost));
}

#[test]
fn a_restart_gives_everybody_a_new_lease() {
    let mut world = World::new();
    world.begin("a", "42", &["user:42"]).unwrap();
    world.wait(59);
    world.restart();
    world.wait(59);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Running);
}

#[test]
fn a_final_stop_that_is_never_answered_is_given_up_and_stays_refused() {
    let mut world = World::new();
    world.begin("a", "42", &["user:42"]).unwrap();
    world.stop(&Scope::Run("a".into()));
    world.wait(61);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Lost);
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunStopped));
}
