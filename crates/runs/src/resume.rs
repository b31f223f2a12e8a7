//! Releasing a brake: planned first, done once the log has it, so that no event of a resumed run can stand before its resumption.

use std::collections::BTreeSet;

use towline_protocol::NewEvent;
use towline_protocol::event::new_event_id;

use crate::brake::{BrakeFacts, BrakeState};
use crate::moment::Moment;
use crate::notice;
use crate::registry::Registry;
use crate::run::{RunFacts, RunState};
use crate::scope::{Actor, Scope};

/// A release that is on its way to the log.
#[derive(Debug)]
pub struct Resumption {
    /// Events to append, in this order: notices before states, so that after a torn append nothing runs that was not announced.
    pub events: Vec<NewEvent>,
    scope: Scope,
    revision: u64,
    brake: BrakeFacts,
    awaited: BTreeSet<Box<str>>,
    runs: Vec<(Box<str>, u64, RunFacts)>,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumptionOutcome {
    /// Its runs go on.
    Done,
    /// Somebody braked meanwhile; the brake stays.
    Overtaken,
}

impl Registry {
    /// Plans the release of an engaged brake. None if it is not engaged, or a release is on its way.
    ///
    /// Runs that acknowledged go on; those that never did stay stopped for good, because their output has holes.
    pub fn plan_resume(&mut self, scope: &Scope, by: &Actor, now: Moment) -> Option<Resumption> {
        let brake = self.brakes.get_mut(scope)?;
        if !brake.facts.state.engaged() || brake.releasing {
            return None;
        }
        brake.releasing = true;
        let mut facts = brake.facts.clone();
        facts.state = BrakeState::Resuming;
        facts.by = by.clone();
        let (mut events, mut records) = (Vec::new(), Vec::new());
        let (mut awaited, mut runs) = (BTreeSet::new(), Vec::new());
        notice::brake(&facts, &[], &mut events);
        for id in &brake.held {
            let Some(run) = self.runs.get(id).filter(|run| run.facts.state == RunState::Stopped) else { continue };
            let mut after = run.facts.clone();
            let Some(stop) = &mut after.stop else { continue };
            stop.held_by.retain(|other| other != scope);
            if stop.held_by.is_empty() && !stop.is_final {
                if stop.acknowledged_at_ms.is_some() {
                    after.stop = None;
                    after.state = RunState::Resuming;
                    awaited.insert(id.clone());
                    notice::resumed(&after, &new_event_id(), scope, by, now.unix_ms, &mut events);
                } else {
                    stop.is_final = true;
                }
            }
            records.extend(notice::run_record(&after));
            runs.push((id.clone(), run.revision, after));
        }
        if awaited.is_empty() {
            facts.state = BrakeState::Running;
            notice::brake(&facts, &[], &mut events);
        }
        records.extend(notice::brake_record(&facts));
        events.append(&mut records);
        Some(Resumption { events, scope: scope.clone(), revision: brake.revision, brake: facts, awaited, runs })
    }

    /// Does what was planned, once the log has it. What follows from being overtaken goes into `out`.
    pub fn resume(&mut self, plan: Resumption, now: Moment, out: &mut Vec<NewEvent>) -> ResumptionOutcome {
        let Resumption { scope, revision, brake: facts, mut awaited, runs, .. } = plan;
        // An answer that came meanwhile has changed the brake too, and only another brake has ended the release.
        let releasing = self.brakes.get(&scope).is_some_and(|brake| brake.releasing);
        if !releasing {
            return ResumptionOutcome::Overtaken;
        }
        for (id, revision, after) in runs {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            if run.revision != revision {
                // It ended, or was stopped by itself, or acknowledged too late, since the plan was made.
                awaited.remove(&id);
                self.let_go(&id, &scope, out);
                continue;
            }
            run.facts = after;
            run.seen(now);
            self.touch(&id);
            self.conclude(&id);
        }
        let deadline = self.patience(now);
        if let Some(brake) = self.brakes.get_mut(&scope) {
            brake.facts = facts;
            brake.held.clear();
            brake.awaited = awaited;
            brake.deadline = deadline;
            brake.releasing = false;
            let changed_meanwhile = brake.revision != revision;
            let released = brake.facts.state == BrakeState::Running;
            self.touch_brake(&scope);
            if changed_meanwhile {
                // Its record stands behind the plan's.
                self.save_brake(&scope, out);
            }
            if released {
                self.drop_brake(&scope);
            } else {
                self.progress(&scope, out);
            }
        }
        ResumptionOutcome::Done
    }

    /// The release could not be appended: everything stays as it was.
    pub fn abandon_resume(&mut self, plan: &Resumption) {
        if let Some(brake) = self.brakes.get_mut(&plan.scope) {
            brake.releasing = false;
        }
    }

    /// A run that changed while its brake was being released is held no longer, and does not go on if it was stopped.
    fn let_go(&mut self, id: &str, scope: &Scope, out: &mut Vec<NewEvent>) {
        let Some(run) = self.runs.get_mut(id) else { return };
        if let Some(stop) = &mut run.facts.stop {
            stop.held_by.retain(|other| other != scope);
            stop.is_final |= stop.held_by.is_empty() && run.facts.state == RunState::Stopped;
        }
        self.touch(id);
        self.conclude(id);
        // What the plan wrote down is out of date.
        self.save_run(id, out);
    }
}
