//! What the gateway says of runs and brakes: events for their topics, and records for its own.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};
use towline_protocol::event::{new_event_id, write_json_string};
use towline_protocol::timestamp::iso;
use towline_protocol::{NewEvent, TopicName};

use crate::brake::{BrakeFacts, BrakeState};
use crate::run::{RunFacts, RunState};
use crate::scope::{Actor, Scope};
use crate::view::StuckTask;

/// The type of a record that holds a run.
pub const KIND_RUN: &str = "run";
/// The type of a record that holds a brake.
pub const KIND_BRAKE: &str = "brake";

/// The name, behind the prefix of the gateway's own topics, of the topic that holds the state of runs and brakes.
pub const STATE_TOPIC: &str = "runs";

static STATE: LazyLock<Option<TopicName>> = LazyLock::new(|| TopicName::internal(STATE_TOPIC).ok());

/// Stuck runs that one event or answer names.
pub(crate) const STUCK_SHOWN_MAX: usize = 100;

/// A record of the state topic.
fn record(kind: &str, facts: &impl Serialize) -> Option<NewEvent> {
    // Plain structs always serialise, and the topic's name is a constant that is tested.
    let data = serde_json::to_vec(facts).ok()?.into();
    Some(NewEvent { topic: STATE.clone()?, id: new_event_id(), kind: kind.into(), extras: Box::default(), data })
}

pub(crate) fn run_record(facts: &RunFacts) -> Option<NewEvent> {
    record(KIND_RUN, facts)
}

pub(crate) fn brake_record(facts: &BrakeFacts) -> Option<NewEvent> {
    record(KIND_BRAKE, facts)
}

/// An event with a title for people.
fn event(topic: &TopicName, kind: &str, id: &str, run: Option<&RunFacts>, title: &str, severity: &str, data: &Value) -> NewEvent {
    let mut extras = b",\"title\":".to_vec();
    write_json_string(title, &mut extras);
    if let Some(run) = run {
        if let Some(agent_type) = &run.agent_type {
            extras.extend_from_slice(b",\"agent_type\":");
            write_json_string(agent_type, &mut extras);
        }
        extras.extend_from_slice(b",\"run_id\":");
        write_json_string(&run.run_id, &mut extras);
    }
    extras.extend_from_slice(format!(",\"severity\":\"{severity}\"").as_bytes());
    let data = data.to_string().into_bytes().into();
    NewEvent { topic: topic.clone(), id: id.into(), kind: kind.into(), extras: extras.into(), data }
}

/// The same event on all topics of a run, on its control topic and on the one that holds all controls.
fn everywhere(run: &RunFacts, kind: &str, id: &str, title: &str, severity: &str, data: &Value, out: &mut Vec<NewEvent>) {
    let control = TopicName::new(&format!("control:{}", run.run_id)).ok();
    let all = TopicName::all_controls();
    for topic in run.topics.iter().chain(&control).chain([&all]) {
        out.push(event(topic, kind, id, Some(run), title, severity, data));
    }
}

fn facts_of(run: &RunFacts) -> Value {
    json!({
        "run_id": run.run_id, "state": run.state, "user_id": run.user_id, "thread_id": run.thread_id, "org_id": run.org_id,
        "agent_type": run.agent_type,
    })
}

fn with(mut data: Value, more: Value) -> Value {
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
        data.retain(|_, value| !value.is_null());
    }
    data
}

/// `run.stopped`, from what the run says of its stop.
pub(crate) fn stopped(run: &RunFacts, out: &mut Vec<NewEvent>) {
    let Some(stop) = run.stop.as_ref().filter(|_| run.state == RunState::Stopped) else { return };
    let data = with(
        facts_of(run),
        json!({
            "scope": stop.scope, "by": stop.by, "reason": stop.reason, "at": iso(stop.at_ms), "final": stop.is_final,
        }),
    );
    let title = format!("Stopped by {}", named(&stop.by));
    everywhere(run, "run.stopped", &stop.notice_id, &title, "warning", &data, out);
}

/// `run.resumed`.
pub(crate) fn resumed(run: &RunFacts, id: &str, scope: &Scope, by: &Actor, at_ms: u64, out: &mut Vec<NewEvent>) {
    let data = with(facts_of(run), json!({ "scope": scope, "by": by, "at": iso(at_ms) }));
    everywhere(run, "run.resumed", id, &format!("Resumed by {}", named(by)), "info", &data, out);
}

/// `run.lost`, from what the run says of its end.
pub(crate) fn lost(run: &RunFacts, out: &mut Vec<NewEvent>) {
    let Some(end) = run.end.as_ref().filter(|_| run.state == RunState::Lost) else { return };
    let reason = "nothing was heard of it within its lease";
    let data = with(facts_of(run), json!({ "reason": reason, "lease_ms": run.lease_ms, "at": iso(end.at_ms) }));
    everywhere(run, "run.lost", &end.event_id, "Lost: nothing was heard of it any more", "warning", &data, out);
}

/// `system.brake.*` on the user's or organisation's topic.
pub(crate) fn brake(facts: &BrakeFacts, stuck: &[StuckTask], out: &mut Vec<NewEvent>) {
    let state = facts.state;
    let (kind, title) = match state {
        BrakeState::Pausing => ("system.brake.activated", "Emergency brake: agents are pausing"),
        BrakeState::Paused => ("system.brake.paused", "Emergency brake: agents are paused"),
        BrakeState::Partial => ("system.brake.partial", "Emergency brake: some agents do not answer; nothing of theirs is shown"),
        BrakeState::Resuming => ("system.brake.resumed", "Brake released: agents are resuming"),
        BrakeState::Running => ("system.brake.resumed", "Brake released: agents are active"),
    };
    let Some(home) = facts.scope.home() else { return };
    let data = json!({
        "state": state, "scope": facts.scope, "by": facts.by, "activated_at": iso(facts.activated_at_ms),
        "paused_tasks_count": facts.obeyed, "stuck_tasks": stuck,
    });
    let data = with(data, json!({ "reason": facts.reason }));
    out.push(event(&home, kind, &new_event_id(), None, title, "warning", &data));
}

fn named(actor: &Actor) -> String {
    use crate::scope::ActorKind::{Service, User};
    match actor.kind {
        User => actor.id.to_string(),
        Service => "a service".to_owned(),
    }
}
