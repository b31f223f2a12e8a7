//! A registry with a log made of vectors: everything appended, in order.

use std::time::Duration;

use serde_json::Value;
use towline_protocol::{ErrorCode, NewEvent, Refusal, TopicName};
use towline_runs::{Actor, ActorKind, Begin, Effects, Limits, Moment, Question, Registry, RunState, Scope};

/// A registry, what it had appended, and the time.
pub struct World {
    pub registry: Registry,
    pub log: Vec<NewEvent>,
    pub now: Moment,
    counter: u64,
}

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub fn service() -> Actor {
    Actor { kind: ActorKind::Service, id: "service-1".into() }
}

pub fn person(id: &str) -> Actor {
    Actor { kind: ActorKind::User, id: id.into() }
}

pub fn user(id: &str) -> Scope {
    Scope::User(id.into())
}

impl World {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let now = Moment { unix_ms: 1_800_000_000_000, uptime: Duration::from_secs(100) };
        Self { registry: Registry::new(limits), log: Vec::new(), now, counter: 0 }
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now.unix_ms += seconds * 1_000;
        self.now.uptime += Duration::from_secs(seconds);
    }

    pub fn publish(&mut self, run_id: &str, to: &str, kind: &str) -> Result<(), ErrorCode> {
        self.counter += 1;
        let id = format!("e{}", self.counter);
        self.publish_as(&service(), true, run_id, to, kind, &id).map_err(|refusal| refusal.code)
    }

    pub fn publish_as(&mut self, by: &Actor, trusted: bool, run_id: &str, to: &str, kind: &str, id: &str) -> Result<(), Refusal> {
        let to = topic(to);
        let question = Question { run_id, topic: &to, kind, event_id: id, agent_type: None, by, trusted };
        let mut effects = Effects::default();
        self.registry.admit(&question, self.now, &mut effects)?;
        self.log.append(&mut effects.before);
        let event = NewEvent {
            topic: to,
            id: id.into(),
            kind: kind.into(),
            extras: format!(",\"run_id\":\"{run_id}\"").into_bytes().into(),
            data: Box::from(*b"{}"),
        };
        self.log.push(event);
        self.log.append(&mut effects.after);
        Ok(())
    }

    pub fn begin(&mut self, run_id: &str, user: &str, topics: &[&str]) -> Result<(), Refusal> {
        let begin = Begin {
            run_id: run_id.into(),
            user_id: Some(user.into()),
            thread_id: None,
            org_id: Some("acme".into()),
            agent_type: Some("writer".into()),
            title: None,
            topics: topics.iter().map(|name| topic(name)).collect(),
            lease_ms: None,
            by: service(),
        };
        let mut effects = Effects::default();
        self.registry.begin(begin, true, self.now, &mut effects)?;
        self.log.append(&mut effects.before);
        Ok(())
    }

    pub fn stop(&mut self, scope: &Scope) -> usize {
        let mut stopped = self.registry.stop(scope, None, &person("u"), Some("enough"), self.now);
        self.log.append(&mut stopped.events);
        stopped.runs.len()
    }

    pub fn brake(&mut self, scope: &Scope) -> usize {
        let mut braked = self.registry.brake(scope, &person("u"), Some("enough"), self.now).unwrap();
        self.log.append(&mut braked.events);
        braked.runs
    }

    pub fn resume(&mut self, scope: &Scope) -> bool {
        let Some(mut plan) = self.registry.plan_resume(scope, &person("u"), self.now) else { return false };
        self.log.append(&mut plan.events);
        let mut out = Vec::new();
        self.registry.resume(plan, self.now, &mut out);
        self.log.append(&mut out);
        true
    }

    pub fn upkeep(&mut self) {
        let mut events = self.registry.upkeep(self.now);
        self.log.append(&mut events);
        assert!(!self.registry.is_due(self.now), "what was due is done");
    }

    /// The process ends and another one takes up what the log says.
    pub fn restart(&mut self) {
        let mut registry = Registry::new(self.registry.limits().clone());
        for event in self.log.iter().filter(|event| event.topic.is_internal()) {
            assert!(registry.load(&event.kind, &event.data, self.now));
        }
        let again = registry.loaded(self.now);
        self.registry = registry;
        // The log knows the ids of what it has.
        for event in again {
            if !self.log.iter().any(|known| known.topic == event.topic && known.id == event.id) {
                self.log.push(event);
            }
        }
    }

    pub fn state(&self, run_id: &str) -> RunState {
        self.registry.view(run_id, self.now).unwrap().state
    }

    /// The types in a topic, in order.
    pub fn kinds(&self, name: &str) -> Vec<&str> {
        self.log.iter().filter(|event| event.topic.as_str() == name).map(|event| &*event.kind).collect()
    }

    /// The data of the last event of a type in a topic.
    pub fn last(&self, name: &str, kind: &str) -> Value {
        let found = self.log.iter().rfind(|event| event.topic.as_str() == name && &*event.kind == kind);
        serde_json::from_slice(&found.unwrap_or_else(|| panic!("no {kind} in {name}")).data).unwrap()
    }

    pub fn brake_state(&self, scope: &Scope) -> &'static str {
        self.registry.brake_view(scope).state.as_str()
    }
}
