//! What happens by itself: leases run out, brakes have waited long enough, old runs are forgotten, failed writes are repeated.

use towline_protocol::NewEvent;
use towline_protocol::event::new_event_id;

use crate::brake::BrakeState;
use crate::moment::Moment;
use crate::notice;
use crate::registry::Registry;
use crate::run::{RunEnd, RunState};
use crate::scope::Scope;

/// Runs that are given up, or written again, at one time: more follow at the next.
const AT_ONCE_MAX: usize = 256;

impl Registry {
    /// Whether [`Registry::upkeep`] has something to do. Costs a look at each run.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        self.brakes_due(now).next().is_some()
            || self.runs.values().any(|run| run.dirty || (run.has_lease() && run.lease_is_over(now)))
            || self.brakes.values().any(|brake| brake.dirty)
            || self.ended.first().is_some_and(|(at, _)| self.is_old(*at, now))
            || self.stopped.first().is_some_and(|(at, _)| self.is_old(*at, now))
    }

    /// Gives up silent runs, moves brakes on, forgets what is old. The events are to be appended in this order.
    pub fn upkeep(&mut self, now: Moment) -> Vec<NewEvent> {
        let mut events = Vec::new();
        self.give_up_silent(now, &mut events);
        let due: Vec<Scope> = self.brakes_due(now).cloned().collect();
        for scope in due {
            match self.brakes.get_mut(&scope).map(|brake| brake.facts.state) {
                Some(BrakeState::Pausing) => self.move_brake(&scope, BrakeState::Partial, &mut events),
                Some(BrakeState::Resuming) => {
                    // Whoever has not shown a sign of life has its lease.
                    if let Some(brake) = self.brakes.get_mut(&scope) {
                        brake.awaited.clear();
                    }
                    self.progress(&scope, &mut events);
                }
                _ => {}
            }
        }
        self.write_again(&mut events);
        for old in [true, false] {
            loop {
                let set = if old { &mut self.ended } else { &mut self.stopped };
                let Some((at, _)) = set.first() else { break };
                let age = now.unix_ms.saturating_sub(*at);
                if u128::from(age) <= self.limits.remember.as_millis() {
                    break;
                }
                if let Some((_, id)) = set.pop_first() {
                    self.forget(&id);
                }
            }
        }
        events
    }

    fn is_old(&self, at_ms: u64, now: Moment) -> bool {
        u128::from(now.unix_ms.saturating_sub(at_ms)) > self.limits.remember.as_millis()
    }

    fn give_up_silent(&mut self, now: Moment, events: &mut Vec<NewEvent>) {
        let silent = self.runs.iter().filter(|(_, run)| run.has_lease() && run.lease_is_over(now));
        let silent: Vec<Box<str>> = silent.take(AT_ONCE_MAX).map(|(id, _)| id.clone()).collect();
        for id in &silent {
            if let Some(run) = self.runs.get_mut(id) {
                run.facts.state = RunState::Lost;
                run.facts.end = Some(RunEnd { outcome: "run.lost".into(), event_id: new_event_id(), at_ms: now.unix_ms });
            }
            self.touch(id);
            self.conclude(id);
            self.save_run(id, events);
        }
        for id in &silent {
            if let Some(run) = self.runs.get(id) {
                notice::lost(&run.facts, events);
            }
            self.answered(id, now, events);
        }
    }

    fn write_again(&mut self, events: &mut Vec<NewEvent>) {
        let runs: Vec<Box<str>> =
            self.runs.iter().filter(|(_, run)| run.dirty).take(AT_ONCE_MAX).map(|(id, _)| id.clone()).collect();
        for id in &runs {
            self.save_run(id, events);
        }
        let brakes: Vec<Scope> =
            self.brakes.iter().filter(|(_, brake)| brake.dirty).take(AT_ONCE_MAX).map(|(scope, _)| scope.clone()).collect();
        for scope in &brakes {
            self.save_brake(scope, events);
        }
    }

    /// A run is heard of outside of its events. Gives its state now, or none if it is not known.
    pub fn heartbeat(&mut self, id: &str, now: Moment, out: &mut Vec<NewEvent>) -> Option<RunState> {
        let run = self.runs.get_mut(id)?;
        run.seen(now);
        if run.facts.state == RunState::Resuming {
            run.facts.state = RunState::Running;
            self.touch(id);
            self.save_run(id, out);
            self.answered(id, now, out);
        }
        self.runs.get(id).map(|run| run.facts.state)
    }

    /// A heartbeat that changes nothing but the lease, under shared access. None: ask [`Registry::heartbeat`].
    #[must_use]
    pub fn quiet_heartbeat(&self, id: &str, now: Moment) -> Option<RunState> {
        let run = self.runs.get(id).filter(|run| run.facts.state != RunState::Resuming)?;
        run.seen(now);
        Some(run.facts.state)
    }

    /// An append of the gateway's own events failed: what they say of runs and brakes is written again at the next upkeep.
    pub fn mark_unwritten(&mut self, events: &[NewEvent]) {
        for event in events {
            let id = |name: &str| serde_json::from_slice::<serde_json::Value>(&event.data).ok()?.get(name).cloned();
            match &*event.kind {
                notice::KIND_RUN if event.topic.is_internal() => {
                    let run = id("run_id").and_then(|id| self.runs.get_mut(id.as_str()?));
                    if let Some(run) = run {
                        run.dirty = true;
                    }
                }
                notice::KIND_BRAKE if event.topic.is_internal() => {
                    let scope = id("scope").and_then(|scope| serde_json::from_value::<Scope>(scope).ok());
                    if let Some(brake) = scope.and_then(|scope| self.brakes.get_mut(&scope)) {
                        brake.dirty = true;
                    }
                }
                _ => {}
            }
        }
    }
}
