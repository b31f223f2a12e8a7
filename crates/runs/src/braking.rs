//! Engaging a brake, and what its runs' answers make of it.

use std::time::Duration;

use towline_protocol::event::new_event_id;
use towline_protocol::{ErrorCode, NewEvent, Refusal};

use crate::brake::{Brake, BrakeFacts, BrakeState};
use crate::moment::Moment;
use crate::notice;
use crate::registry::Registry;
use crate::run::{Run, RunFacts, RunState, RunStop};
use crate::scope::{Actor, Scope};

/// What became of an order to brake.
#[derive(Debug, Default)]
pub struct Braked {
    /// Events to append, in this order. Empty if the brake was engaged already.
    pub events: Vec<NewEvent>,
    /// How many runs were stopped by it.
    pub runs: usize,
}

impl Registry {
    /// Engages the brake of a user or an organisation: from the position at which `events` are appended, nothing of its runs is taken.
    /// An engaged brake stays as it is.
    ///
    /// # Errors
    /// More brakes are engaged than can be kept.
    pub fn brake(&mut self, scope: &Scope, by: &Actor, reason: Option<&str>, now: Moment) -> Result<Braked, Refusal> {
        let mut braked = Braked::default();
        if let Some(brake) = self.brakes.get_mut(scope) {
            if brake.facts.state.engaged() {
                if std::mem::take(&mut brake.releasing) {
                    self.release_is_overtaken(scope, &mut braked.events);
                }
                return Ok(braked);
            }
        } else if self.brakes.len() >= self.limits.brakes_max {
            return Err(Refusal::new(ErrorCode::Unavailable, "too many brakes are engaged at once; stop single runs instead"));
        }
        let facts = BrakeFacts {
            scope: scope.clone(),
            state: BrakeState::Pausing,
            by: by.clone(),
            reason: reason.map(Into::into),
            activated_at_ms: now.unix_ms,
            obeyed: 0,
        };
        let mut brake = Brake::new(facts, now.uptime + self.limits.stop_timeout);
        let mut newly = Vec::new();
        for (id, run) in self.runs.iter_mut().filter(|(_, run)| run.belongs_to(scope)) {
            let facts = &mut run.facts;
            let stopped = match (&mut facts.stop, facts.state) {
                (_, state) if state.runs() => {
                    facts.stop = Some(new_stop(scope, by, reason, now, vec![scope.clone()], false));
                    facts.state = RunState::Stopped;
                    true
                }
                // Another brake holds it already: this one has to let go too.
                (Some(stop), RunState::Stopped) if !stop.is_final => {
                    stop.held_by.push(scope.clone());
                    false
                }
                _ => continue,
            };
            run.seen(now);
            brake.held.insert(id.clone());
            if run.unanswered() {
                brake.awaited.insert(id.clone());
            } else {
                brake.facts.obeyed += 1;
            }
            newly.push((id.clone(), stopped));
        }
        if let Some(earlier) = self.brakes.get(scope) {
            brake.saved = earlier.saved;
        }
        self.brakes.insert(scope.clone(), brake);
        self.touch_brake(scope);
        // All states first: after a torn append everything is stopped of which a notice says so.
        self.save_brake(scope, &mut braked.events);
        for (id, _) in &newly {
            self.touch(id);
            self.save_run(id, &mut braked.events);
        }
        self.tell_brake(scope, &mut braked.events);
        for (id, _) in newly.iter().filter(|(_, stopped)| *stopped) {
            braked.runs += 1;
            if let Some(run) = self.runs.get(id) {
                notice::stopped(&run.facts, &mut braked.events);
            }
        }
        self.progress(scope, &mut braked.events);
        Ok(braked)
    }

    /// Somebody brakes while a release is on its way: the brake stays, and says so behind whatever the release has said.
    fn release_is_overtaken(&mut self, scope: &Scope, out: &mut Vec<NewEvent>) {
        self.touch_brake(scope);
        let held: Vec<Box<str>> = self.brakes.get(scope).into_iter().flat_map(|brake| &brake.held).cloned().collect();
        self.save_brake(scope, out);
        for id in &held {
            self.touch(id);
            if let Some(stop) = self.runs.get_mut(id).and_then(|run| run.facts.stop.as_mut()) {
                // An event of its own: its former id is known to the log.
                stop.notice_id = new_event_id();
            }
            self.save_run(id, out);
        }
        self.tell_brake(scope, out);
        for run in held.iter().filter_map(|id| self.runs.get(id)) {
            notice::stopped(&run.facts, out);
        }
    }

    /// A run acknowledged, ended, was lost or showed a sign of life: its brakes may have waited for it.
    pub(crate) fn answered(&mut self, id: &str, now: Moment, out: &mut Vec<NewEvent>) {
        let Some(run) = self.runs.get(id) else { return };
        run.seen(now);
        let over = run.facts.state.over();
        for scope in brakes_of(&run.facts).into_iter().flatten() {
            let Some(brake) = self.brakes.get_mut(&scope) else { continue };
            if over {
                brake.held.remove(id);
            }
            if !brake.awaited.remove(id) {
                continue;
            }
            if brake.facts.state.engaged() {
                brake.facts.obeyed += 1;
            }
            self.touch_brake(&scope);
            if !self.progress(&scope, out) {
                self.save_brake(&scope, out);
            }
        }
    }

    /// An answer was taken back because its append failed.
    pub(crate) fn hold_again(&mut self, id: &str) {
        let Some(run) = self.runs.get(id) else { return };
        for scope in brakes_of(&run.facts).into_iter().flatten() {
            let Some(brake) = self.brakes.get_mut(&scope) else { continue };
            let held = run.facts.stop.as_ref().is_some_and(|stop| stop.held_by.contains(&scope));
            if held {
                brake.held.insert(id.into());
            }
            let awaited = (held && run.unanswered()) || run.facts.state == RunState::Resuming;
            if awaited && brake.awaited.insert(id.into()) && brake.facts.state.engaged() {
                brake.facts.obeyed = brake.facts.obeyed.saturating_sub(1);
                brake.facts.state = BrakeState::Pausing;
                brake.dirty = true;
            }
        }
    }

    /// Moves a brake on for which nothing is awaited any more. Gives whether it moved.
    pub(crate) fn progress(&mut self, scope: &Scope, out: &mut Vec<NewEvent>) -> bool {
        let settled = |brake: &&Brake| brake.awaited.is_empty() && !brake.releasing;
        let Some(brake) = self.brakes.get(scope).filter(settled) else { return false };
        match brake.facts.state {
            BrakeState::Pausing | BrakeState::Partial => self.move_brake(scope, BrakeState::Paused, out),
            BrakeState::Resuming => {
                self.move_brake(scope, BrakeState::Running, out);
                self.drop_brake(scope);
            }
            BrakeState::Paused | BrakeState::Running => return false,
        }
        true
    }

    pub(crate) fn move_brake(&mut self, scope: &Scope, to: BrakeState, out: &mut Vec<NewEvent>) {
        let Some(brake) = self.brakes.get_mut(scope) else { return };
        brake.facts.state = to;
        self.touch_brake(scope);
        self.save_brake(scope, out);
        self.tell_brake(scope, out);
    }

    fn tell_brake(&self, scope: &Scope, out: &mut Vec<NewEvent>) {
        if let Some(brake) = self.brakes.get(scope) {
            notice::brake(&brake.facts, &self.stuck(brake), out);
        }
    }

    /// Brakes that have waited long enough.
    pub(crate) fn brakes_due(&self, now: Moment) -> impl Iterator<Item = &Scope> {
        let waits = |brake: &Brake| !brake.releasing && matches!(brake.facts.state, BrakeState::Pausing | BrakeState::Resuming);
        self.brakes.iter().filter(move |(_, brake)| waits(brake) && brake.deadline <= now.uptime).map(|(scope, _)| scope)
    }

    /// How long a brake waits for its runs.
    pub(crate) fn patience(&self, now: Moment) -> Duration {
        now.uptime + self.limits.stop_timeout
    }
}

/// The brakes that can cover a run.
pub(crate) fn brakes_of(facts: &RunFacts) -> [Option<Scope>; 2] {
    [facts.user_id.clone().map(Scope::User), facts.org_id.clone().map(Scope::Org)]
}

pub(crate) fn new_stop(
    scope: &Scope,
    by: &Actor,
    reason: Option<&str>,
    now: Moment,
    held_by: Vec<Scope>,
    is_final: bool,
) -> RunStop {
    RunStop {
        scope: scope.clone(),
        by: by.clone(),
        reason: reason.map(Into::into),
        at_ms: now.unix_ms,
        notice_id: new_event_id(),
        is_final,
        held_by,
        acknowledged_at_ms: None,
        acknowledgement_id: None,
    }
}

/// Whether a stop can still be given to it.
pub(crate) fn can_be_stopped(run: &Run) -> bool {
    run.facts.state.runs() || (run.facts.state == RunState::Stopped && run.facts.stop.as_ref().is_some_and(|stop| !stop.is_final))
}
