//! The brake's states, who waits for whom, and what goes on afterwards.

use towline_protocol::ErrorCode::{BrakeEngaged, RunEnded, RunStopped};
use towline_runs::{ACKNOWLEDGED, RunState, Scope};

use crate::world::{World, user};

// proves: A8
#[test]
fn running_pausing_paused_resuming_running() {
    let mut world = World::new();
    let scope = user("42");
    world.begin("a", "42", &["user:42"]).unwrap();
    world.begin("b", "42", &["user:42"]).unwrap();
    world.begin("else", "43", &["user:43"]).unwrap();
    assert_eq!(world.brake(&scope), 2);
    assert_eq!(world.brake_state(&scope), "pausing");
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunStopped));
    assert_eq!(world.publish("new", "user:42", "x"), Err(BrakeEngaged));
    assert_eq!(world.begin("new", "42", &[]).unwrap_err().code, BrakeEngaged);
    world.publish("else", "user:43", "token").unwrap();
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    assert_eq!((world.brake_state(&scope), world.registry.brake_view(&scope).paused_tasks_count), ("pausing", 1));
    world.publish("b", "user:42", "agent.cancelled").unwrap();
    assert_eq!((world.brake_state(&scope), world.registry.brake_view(&scope).paused_tasks_count), ("paused", 2));
    assert_eq!(world.brake(&scope), 0, "braking twice changes nothing");

    assert!(world.resume(&scope));
    assert_eq!((world.brake_state(&scope), world.state("a")), ("resuming", RunState::Resuming));
    assert_eq!(world.publish("b", "user:42", "x"), Err(RunEnded), "what ended does not go on");
    world.publish("a", "user:42", "token").unwrap();
    assert_eq!((world.brake_state(&scope), world.state("a")), ("running", RunState::Running));
    assert!(!world.resume(&scope));
    world.publish("new", "user:42", "x").unwrap();
    let said: Vec<_> = world.kinds("user:42").into_iter().filter(|kind| kind.starts_with("system.brake")).collect();
    assert_eq!(said, ["system.brake.activated", "system.brake.paused", "system.brake.resumed", "system.brake.resumed"]);
    assert_eq!(world.last("user:42", "system.brake.resumed")["state"], "running");
    assert_eq!(world.kinds("control:a"), ["run.stopped", "run.resumed"]);
}

// proves: A8
#[test]
fn who_does_not_answer_is_named_as_stuck_and_never_goes_on() {
    let mut world = World::new();
    let scope = user("42");
    world.publish("deaf", "user:42", "x").unwrap();
    world.publish("good", "user:42", "x").unwrap();
    world.brake(&scope);
    world.publish("good", "user:42", ACKNOWLEDGED).unwrap();
    world.wait(29);
    world.upkeep();
    assert_eq!(world.brake_state(&scope), "pausing");
    world.wait(1);
    world.upkeep();
    let view = world.registry.brake_view(&scope);
    assert_eq!((view.state.as_str(), view.paused_tasks_count, &*view.stuck_tasks[0].run_id), ("partial", 1, "deaf"));
    assert_eq!(world.last("user:42", "system.brake.partial")["stuck_tasks"][0]["run_id"], "deaf");
    assert_eq!(world.publish("deaf", "user:42", "token"), Err(RunStopped));
    assert!(world.resume(&scope));
    assert_eq!(world.publish("deaf", "user:42", "token"), Err(RunStopped), "its output has holes");
    world.publish("good", "user:42", "token").unwrap();
}

#[test]
fn a_late_answer_completes_the_pause() {
    let mut world = World::new();
    let scope = user("42");
    world.publish("slow", "user:42", "x").unwrap();
    world.brake(&scope);
    world.wait(31);
    world.upkeep();
    assert_eq!(world.brake_state(&scope), "partial");
    world.publish("slow", "user:42", ACKNOWLEDGED).unwrap();
    assert_eq!(world.brake_state(&scope), "paused");
    assert_eq!(world.registry.brake_view(&scope).stuck_tasks.len(), 0);
}

#[test]
fn a_brake_without_runs_pauses_at_once_and_a_release_without_runs_is_at_once() {
    let mut world = World::new();
    let scope = user("42");
    assert_eq!(world.brake(&scope), 0);
    assert_eq!(world.brake_state(&scope), "paused");
    assert!(world.resume(&scope));
    assert_eq!(world.brake_state(&scope), "running");
    assert_eq!(
        world.kinds("user:42"),
        ["system.brake.activated", "system.brake.paused", "system.brake.resumed", "system.brake.resumed"]
    );
}

#[test]
fn a_resumed_run_that_shows_no_life_does_not_hold_the_brake_for_ever() {
    let mut world = World::new();
    let scope = user("42");
    world.begin("a", "42", &["user:42"]).unwrap();
    world.brake(&scope);
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    world.wait(3_600);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Stopped, "a paused run has no lease to keep");
    world.resume(&scope);
    world.wait(30);
    world.upkeep();
    assert_eq!((world.brake_state(&scope), world.state("a")), ("running", RunState::Resuming));
    world.wait(31);
    world.upkeep();
    assert_eq!(world.state("a"), RunState::Lost, "its lease began with the resumption");
}

#[test]
fn two_brakes_must_both_let_go() {
    let mut world = World::new();
    let (mine, ours) = (user("42"), Scope::Org("acme".into()));
    world.begin("a", "42", &["user:42"]).unwrap();
    world.brake(&mine);
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    assert_eq!(world.brake(&ours), 0, "it was stopped already");
    assert_eq!(world.brake_state(&ours), "paused");
    world.resume(&mine);
    assert_eq!((world.brake_state(&mine), world.state("a")), ("running", RunState::Stopped));
    assert_eq!(world.begin("b", "42", &[]).unwrap_err().code, BrakeEngaged, "the organisation's brake holds");
    world.resume(&ours);
    world.publish("a", "user:42", "token").unwrap();
}

#[test]
fn a_run_stopped_by_itself_while_braked_stays_stopped() {
    let mut world = World::new();
    let scope = user("42");
    world.begin("a", "42", &["user:42"]).unwrap();
    world.brake(&scope);
    assert_eq!(world.stop(&Scope::Run("a".into())), 1);
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    assert_eq!(world.brake_state(&scope), "paused");
    world.resume(&scope);
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunStopped));
    assert_eq!(world.brake_state(&scope), "running");
}

#[test]
fn a_brake_while_a_release_is_on_its_way_wins() {
    let mut world = World::new();
    let scope = user("42");
    world.begin("a", "42", &["user:42"]).unwrap();
    world.brake(&scope);
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    let mut plan = world.registry.plan_resume(&scope, &crate::world::person("u"), world.now).unwrap();
    world.log.append(&mut plan.events);
    assert!(world.registry.plan_resume(&scope, &crate::world::person("u"), world.now).is_none());
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunStopped), "nothing goes on before the log has it");
    world.brake(&scope);
    let mut out = Vec::new();
    assert_eq!(world.registry.resume(plan, world.now, &mut out), towline_runs::ResumptionOutcome::Overtaken);
    assert_eq!((world.brake_state(&scope), out.len()), ("paused", 0));
    assert_eq!(world.kinds("control:a"), ["run.stopped", "run.resumed", "run.stopped"]);
    world.restart();
    assert_eq!((world.brake_state(&scope), world.state("a")), ("paused", RunState::Stopped));
}

// proves: A8
#[test]
fn a_brake_and_its_runs_survive_a_restart_at_any_state() {
    let mut world = World::new();
    let scope = user("42");
    world.begin("a", "42", &["user:42"]).unwrap();
    world.begin("b", "42", &["user:42"]).unwrap();
    world.brake(&scope);
    world.restart();
    assert_eq!(world.brake_state(&scope), "pausing");
    assert_eq!(world.publish("a", "user:42", "token"), Err(RunStopped));
    assert_eq!(world.publish("new", "user:42", "x"), Err(BrakeEngaged));
    world.publish("a", "user:42", ACKNOWLEDGED).unwrap();
    world.restart();
    assert_eq!(world.registry.brake_view(&scope).paused_tasks_count, 1);
    world.wait(30);
    world.upkeep();
    world.restart();
    assert_eq!(world.brake_state(&scope), "partial");
    world.publish("b", "user:42", ACKNOWLEDGED).unwrap();
    world.restart();
    assert_eq!(world.brake_state(&scope), "paused");
    world.resume(&scope);
    world.restart();
    assert_eq!(world.brake_state(&scope), "resuming");
    world.publish("a", "user:42", "x").unwrap();
    world.publish("b", "user:42", "x").unwrap();
    assert_eq!(world.brake_state(&scope), "running");
    world.restart();
    assert_eq!((world.brake_state(&scope), world.state("a")), ("running", RunState::Running));
}
