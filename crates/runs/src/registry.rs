//! All runs and brakes, within bounds; how changes are written down and taken back.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use towline_protocol::{ErrorCode, NewEvent, Refusal, TopicName};

use crate::admission::Effects;
use crate::brake::Brake;
use crate::limits::{Limits, RUN_ID_BYTES_MAX, TOPICS_MAX};
use crate::moment::Moment;
use crate::notice;
use crate::run::{Run, RunFacts, RunState};
use crate::scope::{Actor, Scope};

/// Records behind the newest, in units of what is known, at which a run's or brake's record is written again. The state topic may
/// forget what is twice as old.
const CARRY_AFTER: u64 = 2;
/// Carried at least this far, so that few runs are not written again and again.
const CARRY_AFTER_MIN: u64 = 1_000;

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Run(Box<str>),
    Brake(Scope),
}

/// A change that is taken back if its append fails and nothing was built upon it.
#[derive(Debug)]
pub(crate) struct Undo {
    pub run_id: Box<str>,
    pub revision: u64,
    /// Its revision and facts. None: it did not exist.
    pub before: Option<(u64, RunFacts)>,
}

/// What a publisher says of a run that it begins.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Its id: 1 to [`RUN_ID_BYTES_MAX`] bytes that a topic name may have.
    pub run_id: Box<str>,
    /// Whose run it is.
    pub user_id: Option<Box<str>>,
    /// The conversation it belongs to.
    pub thread_id: Option<Box<str>>,
    /// The organisation it belongs to.
    pub org_id: Option<Box<str>>,
    /// Which kind of agent.
    pub agent_type: Option<Box<str>>,
    /// One line for people.
    pub title: Option<Box<str>>,
    /// Where its events will go, at most [`TOPICS_MAX`].
    pub topics: Vec<TopicName>,
    /// It is lost when nothing was heard of it for this long; the default of explicit runs if none.
    pub lease_ms: Option<u64>,
    /// Who begins it.
    pub by: Actor,
}

/// All runs and brakes.
#[derive(Debug)]
pub struct Registry {
    pub(crate) limits: Limits,
    pub(crate) runs: HashMap<Box<str>, Run>,
    pub(crate) brakes: HashMap<Scope, Brake>,
    /// Runs of which nothing is expected, oldest first: forgotten first. Ended ones before stopped ones, whose ids stay refused longer.
    pub(crate) ended: BTreeSet<(u64, Box<str>)>,
    pub(crate) stopped: BTreeSet<(u64, Box<str>)>,
    /// By the number of the record that holds it.
    saved: BTreeMap<u64, Key>,
    records: u64,
    revisions: u64,
}

impl Registry {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            runs: HashMap::new(),
            brakes: HashMap::new(),
            ended: BTreeSet::new(),
            stopped: BTreeSet::new(),
            saved: BTreeMap::new(),
            records: 0,
            revisions: 0,
        }
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Begins a run explicitly. One that runs already stays as it is: the same request may be repeated.
    ///
    /// # Errors
    /// The run was stopped or has ended, belongs to somebody else, the brake is engaged, or no room is left.
    pub fn begin(&mut self, begin: Begin, trusted: bool, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        check_run_id(&begin.run_id)?;
        if begin.topics.len() > TOPICS_MAX {
            return Err(too_many_topics());
        }
        if let Some(run) = self.runs.get(&*begin.run_id) {
            if !trusted && run.facts.begun_by != begin.by {
                return Err(not_yours());
            }
            run.seen(now);
            return match run.facts.state {
                RunState::Running | RunState::Resuming => Ok(()),
                RunState::Stopped => Err(stopped(&run.facts)),
                RunState::Ended | RunState::Lost => Err(ended(&run.facts)),
            };
        }
        self.braked(begin.user_id.as_deref(), begin.org_id.as_deref())?;
        let lease = begin.lease_ms.unwrap_or(self.limits.lease.as_millis() as u64);
        let mut topics: Vec<TopicName> = Vec::new();
        for topic in begin.topics {
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        self.insert(
            RunFacts {
                run_id: begin.run_id,
                user_id: begin.user_id,
                thread_id: begin.thread_id,
                org_id: begin.org_id,
                agent_type: begin.agent_type,
                title: begin.title,
                begun_by: begin.by,
                began_at_ms: now.unix_ms,
                topics,
                lease_ms: lease,
                state: RunState::Running,
                stop: None,
                end: None,
            },
            now,
            effects,
        )
    }

    /// Adds a run that is not known, and its record.
    pub(crate) fn insert(&mut self, facts: RunFacts, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        self.make_room()?;
        let id = facts.run_id.clone();
        self.runs.insert(id.clone(), Run::new(facts, now));
        let revision = self.touch(&id);
        effects.undo.push(Undo { run_id: id.clone(), revision, before: None });
        self.save_run(&id, &mut effects.before);
        Ok(())
    }

    /// Whether a brake keeps runs of this user or organisation from beginning.
    pub(crate) fn braked(&self, user: Option<&str>, org: Option<&str>) -> Result<(), Refusal> {
        let scopes = [user.map(|id| Scope::User(id.into())), org.map(|id| Scope::Org(id.into()))];
        if self.brakes.is_empty() {
            return Ok(());
        }
        for scope in scopes.into_iter().flatten() {
            if self.brakes.get(&scope).is_some_and(|brake| brake.facts.state.engaged()) {
                return Err(Refusal::new(
                    ErrorCode::BrakeEngaged,
                    format!(
                        "the emergency brake of {}:{} is engaged: no run begins until it is released",
                        scope.kind(),
                        scope.id()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Refusal> {
        while self.runs.len() >= self.limits.known_max {
            let Some((_, oldest)) = self.ended.pop_first().or_else(|| self.stopped.pop_first()) else {
                return Err(Refusal::new(
                    ErrorCode::Unavailable,
                    format!("{} runs are under way, which is the limit; try again later", self.runs.len()),
                ));
            };
            self.forget(&oldest);
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, id: &str) {
        let Some(run) = self.runs.remove(id) else { return };
        self.saved.remove(&run.saved);
        for scope in run.facts.stop.iter().flat_map(|stop| &stop.held_by) {
            if let Some(brake) = self.brakes.get_mut(scope) {
                brake.held.remove(id);
                brake.awaited.remove(id);
            }
        }
    }

    /// Enters a run among those of which nothing is expected any more, if it is one.
    pub(crate) fn conclude(&mut self, id: &str) {
        let Some(run) = self.runs.get(id) else { return };
        let Some(at) = run.concluded_at_ms() else { return };
        let stop_at = run.facts.stop.as_ref().map(|stop| stop.at_ms);
        if run.facts.stop.as_ref().is_some_and(|stop| stop.is_final) {
            if let Some(stop_at) = stop_at {
                self.stopped.remove(&(stop_at, id.into()));
            }
            self.stopped.insert((at, id.into()));
        } else {
            self.ended.insert((at, id.into()));
        }
    }

    fn unconclude(&mut self, id: &str) {
        if let Some(at) = self.runs.get(id).and_then(Run::concluded_at_ms) {
            self.ended.remove(&(at, id.into()));
            self.stopped.remove(&(at, id.into()));
        }
    }

    /// Marks a run as changed.
    pub(crate) fn touch(&mut self, id: &str) -> u64 {
        self.revisions += 1;
        if let Some(run) = self.runs.get_mut(id) {
            run.revision = self.revisions;
        }
        self.revisions
    }

    pub(crate) fn touch_brake(&mut self, scope: &Scope) {
        self.revisions += 1;
        if let Some(brake) = self.brakes.get_mut(scope) {
            brake.revision = self.revisions;
        }
    }

    /// Writes a run's state down, and again what was written down longest ago, so that nothing known grows older in the state topic
    /// than its retention.
    pub(crate) fn save_run(&mut self, id: &str, out: &mut Vec<NewEvent>) {
        let Some(run) = self.runs.get_mut(id) else { return };
        self.records += 1;
        self.saved.remove(&run.saved);
        run.saved = self.records;
        run.dirty = false;
        self.saved.insert(self.records, Key::Run(id.into()));
        out.extend(notice::run_record(&run.facts));
        self.carry_forward(out);
    }

    pub(crate) fn save_brake(&mut self, scope: &Scope, out: &mut Vec<NewEvent>) {
        let Some(brake) = self.brakes.get_mut(scope) else { return };
        self.records += 1;
        self.saved.remove(&brake.saved);
        brake.saved = self.records;
        brake.dirty = false;
        self.saved.insert(self.records, Key::Brake(scope.clone()));
        out.extend(notice::brake_record(&brake.facts));
        self.carry_forward(out);
    }

    /// Drops a brake that is released altogether. Its last record says so.
    pub(crate) fn drop_brake(&mut self, scope: &Scope) {
        if let Some(brake) = self.brakes.remove(scope) {
            self.saved.remove(&brake.saved);
        }
    }

    fn carry_forward(&mut self, out: &mut Vec<NewEvent>) {
        let known = (self.runs.len() + self.brakes.len()) as u64;
        let age_max = (CARRY_AFTER * known).max(CARRY_AFTER_MIN);
        // Two for each one written, so that the old ones lose the race.
        for _ in 0..2 {
            let Some(oldest) = self.saved.first_entry() else { return };
            if self.records - oldest.key() <= age_max {
                return;
            }
            let key = oldest.remove();
            self.records += 1;
            match &key {
                Key::Run(id) => {
                    let Some(run) = self.runs.get_mut(id) else { continue };
                    run.saved = self.records;
                    out.extend(notice::run_record(&run.facts));
                }
                Key::Brake(scope) => {
                    let Some(brake) = self.brakes.get_mut(scope) else { continue };
                    brake.saved = self.records;
                    out.extend(notice::brake_record(&brake.facts));
                }
            }
            self.saved.insert(self.records, key);
        }
    }

    /// Records that the state topic must keep, so that what is written again in time is never lost from it.
    #[must_use]
    pub fn records_kept(limits: &Limits) -> u64 {
        2 * (CARRY_AFTER * (limits.known_max + limits.brakes_max) as u64).max(CARRY_AFTER_MIN)
    }

    /// Enters what a record of the log says, in the log's order.
    pub(crate) fn recorded(&mut self, earlier: u64, key: Key) -> u64 {
        self.saved.remove(&earlier);
        self.records += 1;
        self.saved.insert(self.records, key);
        self.records
    }

    /// Takes back changes whose append failed: nothing of them stands in the log. What others have built upon stays, and is written
    /// again with the next occasion.
    pub fn undo(&mut self, effects: Effects) {
        for undo in effects.undo.into_iter().rev() {
            let untouched = self.runs.get(&*undo.run_id).is_some_and(|run| run.revision == undo.revision);
            if !untouched {
                if let Some(run) = self.runs.get_mut(&*undo.run_id) {
                    run.dirty = true;
                }
                continue;
            }
            self.unconclude(&undo.run_id);
            match undo.before {
                None => self.forget(&undo.run_id),
                Some((revision, before)) => {
                    if let Some(run) = self.runs.get_mut(&*undo.run_id) {
                        run.facts = before;
                        run.revision = revision;
                        run.dirty = true;
                    }
                    self.conclude(&undo.run_id);
                    self.hold_again(&undo.run_id);
                }
            }
        }
    }
}

/// Whether a text can be a run's id.
pub(crate) fn check_run_id(id: &str) -> Result<(), Refusal> {
    let fits = id.len() <= RUN_ID_BYTES_MAX && TopicName::new(id).is_ok();
    if fits && id != "*" {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::InvalidFormat,
        format!(
            "`run_id` must have 1 to {RUN_ID_BYTES_MAX} bytes out of letters, digits and _ - . : @ | + = / ~, because it names the run's control topic"
        ),
    ))
}

pub(crate) fn too_many_topics() -> Refusal {
    Refusal::new(ErrorCode::TooManyTopics, format!("a run may use at most {TOPICS_MAX} topics: a stop is told on each of them"))
}

pub(crate) fn not_yours() -> Refusal {
    Refusal::new(ErrorCode::Forbidden, "this run belongs to another publisher; choose a run id of your own")
}

pub(crate) fn stopped(run: &RunFacts) -> Refusal {
    let (how, reason) = match &run.stop {
        Some(stop) => (
            format!(" at {} by a stop of its {}", towline_protocol::timestamp::iso(stop.at_ms), stop.scope.kind()),
            stop.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
        ),
        None => (String::new(), String::new()),
    };
    Refusal::new(
        ErrorCode::RunStopped,
        format!("run {} was stopped{how}{reason}: only run.stop_acknowledged and its terminal event are taken", run.run_id),
    )
}

pub(crate) fn ended(run: &RunFacts) -> Refusal {
    let how =
        if run.state == RunState::Lost { "was given up as lost: nothing was heard of it within its lease" } else { "has ended" };
    Refusal::new(ErrorCode::RunEnded, format!("run {} {how}; begin a new run under a new id", run.run_id))
}
