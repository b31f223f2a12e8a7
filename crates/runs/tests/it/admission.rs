//! Which event is taken.

use towline_protocol::ErrorCode::{BrakeEngaged, Forbidden, InvalidFormat, RunEnded, RunStopped, TooManyTopics};
use towline_runs::{ACKNOWLEDGED, Effects, Glance, Question, RunState, Scope, TOPICS_MAX};

use crate::world::{World, person, service, topic, user};

#[test]
fn an_unknown_run_begins_with_its_first_event_and_ends_with_its_terminal_one() {
    let mut world = World::new();
    world.publish("r", "user:42", "agent.started").unwrap();
    world.publish("r", "thread:9", "partial").unwrap();
    let view = world.registry.view("r", world.now).unwrap();
    assert_eq!((view.user_id.as_deref(), view.thread_id.as_deref()), (Some("42"), Some("9")));
    assert_eq!((view.topics.as_slice(), view.lease_ms), (&["user:42".to_owned(), "thread:9".to_owned()][..], 900_000));
    world.publish("r", "user:42", "agent.completed").unwrap();
    assert_eq!(world.state("r"), RunState::Ended);
    assert_eq!(world.publish("r", "user:42", "late"), Err(RunEnded));
    assert_eq!(world.publish("r", "user:42", "agent.completed"), Err(RunEnded), "another event than the one that ended it");
}

#[test]
fn a_repeated_terminal_event_reaches_the_logs_dedup_as_long_as_that_knows_it() {
    let mut world = World::new();
    let by = service();
    world.publish_as(&by, true, "r", "user:42", "agent.started", "a").unwrap();
    world.publish_as(&by, true, "r", "thread:9", "x", "b").unwrap();
    world.publish_as(&by, true, "r", "user:42", "agent.completed", "end").unwrap();
    world.publish_as(&by, true, "r", "user:42", "agent.completed", "end").unwrap();
    world.publish_as(&by, true, "r", "thread:9", "agent.completed", "end").unwrap();
    assert_eq!(world.publish_as(&by, true, "r", "thread:10", "agent.completed", "end").unwrap_err().code, RunEnded);
    world.wait(601);
    assert_eq!(world.publish_as(&by, true, "r", "user:42", "agent.completed", "end").unwrap_err().code, RunEnded);
}

#[test]
fn a_stopped_run_may_acknowledge_once_and_end_once() {
    let mut world = World::new();
    world.publish("r", "user:42", "agent.started").unwrap();
    assert_eq!(world.stop(&Scope::Run("r".into())), 1);
    assert_eq!(world.publish("r", "user:42", "token"), Err(RunStopped));
    assert_eq!(world.publish("r", "elsewhere", "token"), Err(RunStopped));
    let by = service();
    world.publish_as(&by, true, "r", "user:42", ACKNOWLEDGED, "ack").unwrap();
    world.publish_as(&by, true, "r", "user:42", ACKNOWLEDGED, "ack").unwrap();
    assert_eq!(world.publish("r", "user:42", ACKNOWLEDGED), Err(RunStopped));
    world.publish("r", "user:42", "agent.cancelled").unwrap();
    assert_eq!(world.publish("r", "user:42", "agent.cancelled"), Err(RunStopped));
    assert_eq!(world.publish("r", "user:42", ACKNOWLEDGED), Err(RunStopped));
    assert_eq!(
        world.kinds("user:42"),
        ["agent.started", "run.stopped", ACKNOWLEDGED, ACKNOWLEDGED, "agent.cancelled"],
        "the log would not store the repeated acknowledgement again"
    );
}

#[test]
fn a_stop_is_told_on_every_topic_of_the_run_and_on_the_controls() {
    let mut world = World::new();
    world.publish("r", "user:42", "agent.started").unwrap();
    world.publish("r", "thread:9", "x").unwrap();
    world.publish("other", "thread:9", "x").unwrap();
    assert_eq!(world.stop(&Scope::Thread("9".into())), 2);
    for name in ["user:42", "thread:9", "control:r", "control:*"] {
        let data = world.last(name, "run.stopped");
        assert_eq!((data["scope"]["kind"].as_str(), data["reason"].as_str()), (Some("thread"), Some("enough")), "{name}: {data}");
        assert_eq!((data["by"]["id"].as_str(), data["final"].as_bool()), (Some("u"), Some(true)));
    }
    assert_eq!(world.kinds("control:other"), ["run.stopped"]);
    assert_eq!(world.stop(&Scope::Thread("9".into())), 0, "stopped already");
}

#[test]
fn a_run_uses_a_bounded_number_of_topics() {
    let mut world = World::new();
    for n in 0..TOPICS_MAX {
        world.publish("r", &format!("t:{n}"), "x").unwrap();
    }
    assert_eq!(world.publish("r", "t:more", "x"), Err(TooManyTopics));
    world.publish("r", "t:0", "x").unwrap();
}

#[test]
fn nobody_speaks_for_anothers_run() {
    let mut world = World::new();
    let (alice, bob) = (person("alice"), person("bob"));
    world.publish_as(&alice, false, "r", "room:1", "x", "1").unwrap();
    assert_eq!(world.publish_as(&bob, false, "r", "room:1", "x", "2").unwrap_err().code, Forbidden);
    assert_eq!(world.publish_as(&bob, false, "r", "room:1", "agent.completed", "3").unwrap_err().code, Forbidden);
    world.publish_as(&service(), true, "r", "room:1", "x", "4").unwrap();
    // A person may speak for a run of their own that a service began.
    world.publish_as(&service(), true, "s", "user:bob", "x", "5").unwrap();
    world.publish_as(&bob, false, "s", "user:bob", "x", "6").unwrap();
    assert_eq!(world.publish_as(&alice, false, "s", "user:bob", "x", "7").unwrap_err().code, Forbidden);
}

#[test]
fn a_run_id_must_name_a_control_topic() {
    let mut world = World::new();
    for bad in ["", "a b", "*", "é", &"x".repeat(129)] {
        assert_eq!(world.publish(bad, "t", "x"), Err(InvalidFormat), "{bad:?}");
    }
    world.publish("librarian-19a9c3b2f41-42", "t", "x").unwrap();
}

#[test]
fn a_run_that_joins_a_braked_user_is_refused_there() {
    let mut world = World::new();
    world.brake(&user("42"));
    world.publish("r", "room:1", "x").unwrap();
    assert_eq!(world.publish("r", "user:42", "x"), Err(BrakeEngaged));
    world.publish("r", "room:1", "x").unwrap();
}

#[test]
fn an_event_that_changes_nothing_is_seen_as_such() {
    let mut world = World::new();
    world.publish("r", "user:42", "agent.started").unwrap();
    let (to, by) = (topic("user:42"), service());
    let ask = |kind| Question { run_id: "r", topic: &to, kind, event_id: "e", agent_type: None, by: &by, trusted: true };
    assert!(matches!(world.registry.glance(&ask("token"), world.now), Glance::Taken));
    assert!(matches!(world.registry.glance(&ask("agent.completed"), world.now), Glance::Changes));
    world.stop(&Scope::Run("r".into()));
    assert!(matches!(world.registry.glance(&ask("token"), world.now), Glance::Refused(refusal) if refusal.code == RunStopped));
    assert!(matches!(world.registry.glance(&ask(ACKNOWLEDGED), world.now), Glance::Changes));
}

#[test]
fn what_could_not_be_appended_did_not_happen() {
    let mut world = World::new();
    let (to, by) = (topic("user:42"), service());
    let ask = |kind, id| Question { run_id: "r", topic: &to, kind, event_id: id, agent_type: None, by: &by, trusted: true };
    let mut effects = Effects::default();
    world.registry.admit(&ask("agent.completed", "1"), world.now, &mut effects).unwrap();
    assert_eq!(world.state("r"), RunState::Ended);
    world.registry.undo(effects);
    assert!(world.registry.view("r", world.now).is_none(), "it never began");

    world.publish("r", "user:42", "agent.started").unwrap();
    let mut effects = Effects::default();
    world.registry.admit(&ask("agent.completed", "2"), world.now, &mut effects).unwrap();
    world.registry.undo(effects);
    assert_eq!(world.state("r"), RunState::Running);
    world.publish("r", "user:42", "agent.completed").unwrap();

    // A stop that was built upon a failed change stays.
    let mut effects = Effects::default();
    world.registry.admit(&Question { run_id: "s", ..ask("x", "3") }, world.now, &mut effects).unwrap();
    world.stop(&Scope::Run("s".into()));
    world.registry.undo(effects);
    assert_eq!(world.state("s"), RunState::Stopped);
    assert!(world.registry.is_due(world.now), "its state is written again");
    world.upkeep();
}
