//! Taking up what the log says at start.

use towline_protocol::NewEvent;

use crate::brake::{Brake, BrakeFacts, BrakeState};
use crate::braking::brakes_of;
use crate::moment::Moment;
use crate::notice::{self, KIND_BRAKE, KIND_RUN};
use crate::registry::{Key, Registry};
use crate::run::{Run, RunFacts, RunState};
use crate::scope::Scope;

impl Registry {
    /// Takes one record of the state topic, in the log's order. Gives whether it could be understood.
    pub fn load(&mut self, kind: &str, data: &[u8], now: Moment) -> bool {
        match kind {
            KIND_RUN => {
                let Ok(facts) = serde_json::from_slice::<RunFacts>(data) else { return false };
                let id = facts.run_id.clone();
                let earlier = self.runs.remove(&id).map_or(0, |run| run.saved);
                let saved = self.recorded(earlier, Key::Run(id.clone()));
                let mut run = Run::new(facts, now);
                run.saved = saved;
                self.runs.insert(id, run);
                true
            }
            KIND_BRAKE => {
                let Ok(facts) = serde_json::from_slice::<BrakeFacts>(data) else { return false };
                let scope = facts.scope.clone();
                let earlier = self.brakes.remove(&scope).map_or(0, |brake| brake.saved);
                let saved = self.recorded(earlier, Key::Brake(scope.clone()));
                let mut brake = Brake::new(facts, self.patience(now));
                brake.saved = saved;
                self.brakes.insert(scope, brake);
                true
            }
            _ => false,
        }
    }

    /// Ends the loading: who waits for whom, whom to forget. Leases and time-outs begin anew, since nobody could be heard meanwhile.
    ///
    /// Gives what has to be said again, because the server may have ended in the middle of saying it: recent notices under their own
    /// ids, which the log recognises.
    pub fn loaded(&mut self, now: Moment) -> Vec<NewEvent> {
        let released: Vec<Scope> =
            self.brakes.iter().filter(|(_, brake)| brake.facts.state == BrakeState::Running).map(|(s, _)| s.clone()).collect();
        released.iter().for_each(|scope| self.drop_brake(scope));
        let mut again = Vec::new();
        let mut concluded: Vec<(u64, Box<str>)> = Vec::new();
        for (id, run) in &self.runs {
            concluded.extend(run.concluded_at_ms().map(|at| (at, id.clone())));
            if let (RunState::Stopped, Some(stop)) = (run.facts.state, &run.facts.stop)
                && self.is_recent(stop.at_ms, now)
            {
                notice::stopped(&run.facts, &mut again);
            }
            if let (RunState::Lost, Some(end)) = (run.facts.state, &run.facts.end)
                && self.is_recent(end.at_ms, now)
            {
                notice::lost(&run.facts, &mut again);
            }
            for scope in brakes_of(&run.facts).into_iter().flatten() {
                let Some(brake) = self.brakes.get_mut(&scope) else { continue };
                let held = run.facts.stop.as_ref().is_some_and(|stop| stop.held_by.contains(&scope));
                if held && !run.facts.state.over() {
                    brake.held.insert(id.clone());
                }
                let awaited =
                    if brake.facts.state.engaged() { held && run.unanswered() } else { run.facts.state == RunState::Resuming };
                if awaited {
                    brake.awaited.insert(id.clone());
                }
            }
        }
        for (_, id) in concluded {
            self.conclude(&id);
        }
        while self.runs.len() > self.limits.known_max
            && let Some((_, oldest)) = self.ended.pop_first().or_else(|| self.stopped.pop_first())
        {
            self.forget(&oldest);
        }
        // A brake whose last answer was written down and whose own record was not.
        let scopes: Vec<Scope> = self.brakes.keys().cloned().collect();
        for scope in scopes {
            self.progress(&scope, &mut again);
        }
        again
    }

    /// Whether the log still recognises the id of something said then.
    fn is_recent(&self, at_ms: u64, now: Moment) -> bool {
        u128::from(now.unix_ms.saturating_sub(at_ms)) < self.limits.repeat.as_millis()
    }
}
