//! Stopping a run or a thread, for good.

use towline_protocol::NewEvent;
use towline_protocol::event::new_event_id;

use crate::braking::{can_be_stopped, new_stop};
use crate::moment::Moment;
use crate::notice;
use crate::registry::Registry;
use crate::run::RunState;
use crate::scope::{Actor, Scope};

/// What became of an order to stop.
#[derive(Debug, Default)]
pub struct Stopped {
    /// Events to append, in this order: the states first, so that after a torn append everything is stopped of which a notice says so.
    pub events: Vec<NewEvent>,
    /// The runs that were stopped by it, and were not before.
    pub runs: Vec<Box<str>>,
}

impl Registry {
    /// Stops the runs that `scope` covers, those of `only_user` if one is named. From the position at which the events are appended,
    /// nothing of them is taken but an acknowledgement and a terminal event, and no resumption follows. What is stopped already or
    /// over stays as it is.
    pub fn stop(&mut self, scope: &Scope, only_user: Option<&str>, by: &Actor, reason: Option<&str>, now: Moment) -> Stopped {
        let mut stopped = Stopped::default();
        let covered = |run: &crate::run::Run| {
            run.belongs_to(scope)
                && can_be_stopped(run)
                && only_user.is_none_or(|user| run.facts.user_id.as_deref() == Some(user))
        };
        stopped.runs = match scope {
            Scope::Run(id) => {
                self.runs.get(id).filter(|run| covered(run)).map(|run| run.facts.run_id.clone()).into_iter().collect()
            }
            _ => self.runs.iter().filter(|(_, run)| covered(run)).map(|(id, _)| id.clone()).collect(),
        };
        for id in &stopped.runs {
            self.stop_one(id, scope, by, reason, now);
            self.save_run(id, &mut stopped.events);
        }
        for run in stopped.runs.iter().filter_map(|id| self.runs.get(id)) {
            notice::stopped(&run.facts, &mut stopped.events);
        }
        stopped
    }

    fn stop_one(&mut self, id: &str, scope: &Scope, by: &Actor, reason: Option<&str>, now: Moment) {
        let Some(run) = self.runs.get_mut(id) else { return };
        // It may be held by a brake, which goes on waiting for its acknowledgement.
        let former = run.facts.stop.take().filter(|_| run.facts.state == RunState::Stopped);
        let mut stop = new_stop(scope, by, reason, now, Vec::new(), true);
        if let Some(former) = former {
            stop.held_by = former.held_by;
            stop.acknowledged_at_ms = former.acknowledged_at_ms;
            stop.acknowledgement_id = former.acknowledgement_id;
            stop.notice_id = new_event_id();
        }
        let resuming = run.facts.state == RunState::Resuming;
        run.facts.stop = Some(stop);
        run.facts.state = RunState::Stopped;
        run.seen(now);
        self.touch(id);
        if resuming {
            for scope in crate::braking::brakes_of(&self.runs[id].facts).into_iter().flatten() {
                if let Some(brake) = self.brakes.get_mut(&scope) {
                    brake.awaited.remove(id);
                }
            }
        }
        self.conclude(id);
    }
}
