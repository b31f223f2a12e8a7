//! Whether one event of a run is taken, and what changes by it.

use towline_protocol::{NewEvent, Refusal, TopicName};

use crate::limits::TOPICS_MAX;
use crate::moment::Moment;
use crate::registry::{Registry, Undo, check_run_id, ended, not_yours, stopped, too_many_topics};
use crate::run::{RunEnd, RunFacts, RunState};
use crate::scope::{Actor, ActorKind};

/// The type of the event by which a run says that it heard of its stop.
pub const ACKNOWLEDGED: &str = "run.stop_acknowledged";

/// An event that somebody wants to publish for a run.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The run.
    pub run_id: &'a str,
    /// Where the event goes.
    pub topic: &'a TopicName,
    /// Its type.
    pub kind: &'a str,
    /// Its id.
    pub event_id: &'a str,
    /// Which kind of agent speaks.
    pub agent_type: Option<&'a str>,
    /// Who publishes it.
    pub by: &'a Actor,
    /// Whether they may speak for any run, as services may.
    pub trusted: bool,
}

/// What can be said without changing anything.
#[derive(Debug)]
pub enum Glance {
    /// It is taken, and nothing changes by it.
    Taken,
    /// It is not taken.
    Refused(Refusal),
    /// It may be taken and would change something: ask [`Registry::admit`].
    Changes,
}

/// What a decision brings with it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Events that stand before the one that was asked about.
    pub before: Vec<NewEvent>,
    /// Events that stand behind it.
    pub after: Vec<NewEvent>,
    pub(crate) undo: Vec<Undo>,
}

impl Effects {
    /// Whether nothing follows from the decision.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.undo.is_empty()
    }

    /// Takes over what can be taken back of a later decision.
    pub fn join(&mut self, later: Self) {
        self.undo.extend(later.undo);
    }
}

/// What an event would change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Change {
    begins: bool,
    new_topic: bool,
    revives: bool,
    acknowledges: bool,
    ends: bool,
    /// The log may hold an older state.
    save: bool,
}

impl Registry {
    /// Looks at an event. Most are of a running run and change nothing: for them this is all, under shared access.
    #[must_use]
    pub fn glance(&self, question: &Question<'_>, now: Moment) -> Glance {
        match self.judge(question, now) {
            Err(refusal) => Glance::Refused(refusal),
            Ok(change) if change == Change::default() => {
                if let Some(run) = self.runs.get(question.run_id) {
                    run.seen(now);
                }
                Glance::Taken
            }
            Ok(_) => Glance::Changes,
        }
    }

    /// Decides on an event and does what follows. `effects` are to be appended around it in the same call of the log.
    ///
    /// # Errors
    /// The event is not taken; nothing has changed.
    pub fn admit(&mut self, question: &Question<'_>, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let change = self.judge(question, now)?;
        if change.begins {
            self.begin_by(question, now, effects)?;
        }
        let id = question.run_id;
        let Some(run) = self.runs.get_mut(id) else { return Ok(()) };
        run.seen(now);
        let dirty = change.save;
        let before = (change != Change::default()).then(|| run.facts.clone());
        if change.new_topic {
            join_topic(&mut run.facts, question.topic);
        }
        if change.revives {
            run.facts.state = RunState::Running;
        }
        if change.acknowledges
            && let Some(stop) = &mut run.facts.stop
        {
            stop.acknowledged_at_ms = Some(now.unix_ms);
            stop.acknowledgement_id = Some(question.event_id.into());
        }
        if change.ends {
            run.facts.state = RunState::Ended;
            run.facts.end =
                Some(RunEnd { outcome: question.kind.into(), event_id: question.event_id.into(), at_ms: now.unix_ms });
        }
        let Some(before) = before else { return Ok(()) };
        if change.new_topic || change.revives || change.acknowledges || change.ends {
            let earlier = self.runs.get(id).map_or(0, |run| run.revision);
            let revision = self.touch(id);
            effects.undo.push(Undo { run_id: id.into(), revision, before: Some((earlier, before)) });
        }
        // The state that lets an event pass stands before it; the state that it brings about stands behind it: a torn append then
        // leaves a run that can still be ended, and never one that ended without saying so.
        if change.ends || change.acknowledges {
            self.conclude(id);
            self.save_run(id, &mut effects.after);
            self.answered(id, now, &mut effects.after);
        } else if change.new_topic || change.revives || dirty {
            self.save_run(id, &mut effects.before);
            if change.revives {
                self.answered(id, now, &mut effects.after);
            }
        }
        Ok(())
    }

    fn judge(&self, question: &Question<'_>, now: Moment) -> Result<Change, Refusal> {
        let terminal = self.limits.terminal_types.contains(question.kind);
        let Some(run) = self.runs.get(question.run_id) else {
            check_run_id(question.run_id)?;
            self.braked(named(question.topic, "user:"), named(question.topic, "org:"))?;
            return Ok(Change { begins: true, ends: terminal, ..Change::default() });
        };
        let facts = &run.facts;
        if !question.trusted && !may_speak_for(facts, question.by) {
            return Err(not_yours());
        }
        let mut change = Change { save: run.dirty, ..Change::default() };
        match facts.state {
            RunState::Ended | RunState::Lost => {
                let repeated = facts.end.as_ref().is_some_and(|end| {
                    let recent = now.unix_ms.saturating_sub(end.at_ms) < self.limits.repeat.as_millis() as u64;
                    terminal && recent && *end.event_id == *question.event_id
                });
                if repeated && facts.state == RunState::Ended && facts.topics.contains(question.topic) {
                    return Ok(Change::default());
                }
                Err(if facts.stop.as_ref().is_some_and(|stop| stop.is_final) { stopped(facts) } else { ended(facts) })
            }
            RunState::Stopped => {
                let known = facts.stop.as_ref().and_then(|stop| stop.acknowledgement_id.as_deref());
                match known {
                    _ if terminal => change.ends = true,
                    None if question.kind == ACKNOWLEDGED => change.acknowledges = true,
                    Some(id) if question.kind == ACKNOWLEDGED && id == question.event_id => {}
                    _ => return Err(stopped(facts)),
                }
                change.new_topic = self.joins(facts, question)?;
                Ok(change)
            }
            RunState::Running | RunState::Resuming => {
                change.new_topic = self.joins(facts, question)?;
                change.revives = facts.state == RunState::Resuming && !terminal;
                change.ends = terminal;
                Ok(change)
            }
        }
    }

    /// Whether the event's topic is new to its run, if it may be.
    fn joins(&self, facts: &RunFacts, question: &Question<'_>) -> Result<bool, Refusal> {
        if facts.topics.contains(question.topic) {
            return Ok(false);
        }
        if facts.topics.len() >= TOPICS_MAX {
            return Err(too_many_topics());
        }
        if facts.state.runs() {
            // The first topic of a user or an organisation says whose run it is, and their brake counts from then on.
            let user = named(question.topic, "user:").filter(|_| facts.user_id.is_none());
            let org = named(question.topic, "org:").filter(|_| facts.org_id.is_none());
            self.braked(user, org)?;
        }
        Ok(true)
    }

    fn begin_by(&mut self, question: &Question<'_>, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let mut facts = RunFacts {
            run_id: question.run_id.into(),
            user_id: None,
            thread_id: None,
            org_id: None,
            agent_type: question.agent_type.map(Into::into),
            title: None,
            begun_by: question.by.clone(),
            began_at_ms: now.unix_ms,
            topics: Vec::new(),
            lease_ms: self.limits.lease_implicit.as_millis() as u64,
            state: RunState::Running,
            stop: None,
            end: None,
        };
        join_topic(&mut facts, question.topic);
        self.insert(facts, now, effects)
    }
}

/// Services may speak for any run; others for those that they began, and for their own user's.
fn may_speak_for(facts: &RunFacts, by: &Actor) -> bool {
    facts.begun_by == *by || (by.kind == ActorKind::User && facts.user_id.as_deref() == Some(&*by.id))
}

fn join_topic(facts: &mut RunFacts, topic: &TopicName) {
    for (prefix, member) in [("user:", &mut facts.user_id), ("thread:", &mut facts.thread_id), ("org:", &mut facts.org_id)] {
        if member.is_none() {
            *member = named(topic, prefix).map(Into::into);
        }
    }
    facts.topics.push(topic.clone());
}

fn named<'a>(topic: &'a TopicName, prefix: &str) -> Option<&'a str> {
    topic.as_str().strip_prefix(prefix).filter(|id| !id.is_empty())
}
