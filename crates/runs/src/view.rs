//! Runs and brakes as the interface shows them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use towline_protocol::timestamp::iso;

use crate::brake::{Brake, BrakeState};
use crate::moment::Moment;
use crate::notice::STUCK_SHOWN_MAX;
use crate::registry::Registry;
use crate::run::{Run, RunState};
use crate::scope::{Actor, Scope};

/// A run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunView {
    /// Its id.
    pub run_id: Box<str>,
    /// Where it stands.
    pub state: RunState,
    /// Whose run it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Box<str>>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Box<str>>,
    /// The organisation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_id: Option<Box<str>>,
    /// Which kind of agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<Box<str>>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
    /// Who began it.
    pub begun_by: Actor,
    /// When, ISO 8601.
    pub began_at: String,
    /// Where its events go.
    pub topics: Vec<String>,
    /// It is lost when nothing was heard of it for this long.
    pub lease_ms: u64,
    /// When that will be, if it is silent until then; only while something is expected of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ends_at: Option<String>,
    /// How it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopView>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndView>,
}

/// How a run was stopped.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StopView {
    /// By a stop of what.
    pub scope: Scope,
    /// Who stopped it.
    pub by: Actor,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// When, ISO 8601.
    pub at: String,
    /// No resumption follows.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// When the run acknowledged, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EndView {
    /// The terminal event's type; `run.lost` if the lease ran out.
    pub outcome: Box<str>,
    /// The terminal event's id.
    pub event_id: Box<str>,
    /// When, ISO 8601.
    pub at: String,
}

/// A brake.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BrakeView {
    /// Where it stands.
    pub state: BrakeState,
    /// Whose brake it is.
    pub scope: Scope,
    /// When it was engaged, ISO 8601; missing if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<String>,
    /// Who engaged or released it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// How many runs have stopped because of it.
    pub paused_tasks_count: u64,
    /// Runs that have not acknowledged in time, at most 100. Nothing of them is taken all the same.
    pub stuck_tasks: Vec<StuckTask>,
}

/// A run that has not acknowledged in time.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StuckTask {
    /// The run.
    pub run_id: Box<str>,
    /// Which kind of agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<Box<str>>,
    /// When it was told to stop, ISO 8601.
    pub since: String,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only this thread's.
    pub thread_id: Option<String>,
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those behind this place: when it began, and its id.
    pub after: Option<(u64, String)>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs, in the order of [`RunState::ALL`].
    pub runs: [u64; RunState::ALL.len()],
    /// Brakes that are engaged.
    pub brakes_engaged: u64,
}

impl Registry {
    /// A run.
    #[must_use]
    pub fn view(&self, id: &str, now: Moment) -> Option<RunView> {
        self.runs.get(id).map(|run| shown(run, now))
    }

    /// Whether events of a run are taken.
    #[must_use]
    pub fn goes_on(&self, id: &str) -> bool {
        self.runs.get(id).is_some_and(|run| run.facts.state.runs())
    }

    /// Whose run it is: its user, and who began it.
    #[must_use]
    pub fn owners(&self, id: &str) -> Option<(Option<&str>, &Actor)> {
        self.runs.get(id).map(|run| (run.facts.user_id.as_deref(), &run.facts.begun_by))
    }

    /// Runs, the newest first; and where to go on, if there are more.
    #[must_use]
    pub fn list(&self, filter: &Filter, limit: usize, now: Moment) -> (Vec<RunView>, Option<(u64, Box<str>)>) {
        let thread = filter.thread_id.as_deref().map(|id| Scope::Thread(id.into()));
        let after = filter.after.as_ref().map(|(at, id)| (Reverse(*at), &**id));
        let mut first: BTreeMap<(Reverse<u64>, &str), &Run> = BTreeMap::new();
        for (id, run) in &self.runs {
            let facts = &run.facts;
            let key = (Reverse(facts.began_at_ms), &**id);
            let wanted = filter.state.is_none_or(|state| facts.state == state)
                && filter.user_id.as_ref().is_none_or(|user| facts.user_id.as_deref() == Some(user))
                && thread.as_ref().is_none_or(|thread| run.belongs_to(thread))
                && after.is_none_or(|after| key > after);
            if wanted {
                first.insert(key, run);
                if first.len() > limit + 1 {
                    first.pop_last();
                }
            }
        }
        let more = first.len() > limit;
        let runs: Vec<RunView> = first.values().take(limit).map(|run| shown(run, now)).collect();
        let last = first.keys().take(limit).next_back().map(|(Reverse(at), id)| (*at, Box::from(*id)));
        (runs, last.filter(|_| more))
    }

    /// A brake; one that is not engaged is running.
    #[must_use]
    pub fn brake_view(&self, scope: &Scope) -> BrakeView {
        match self.brakes.get(scope) {
            Some(brake) => BrakeView {
                state: brake.facts.state,
                scope: scope.clone(),
                activated_at: Some(iso(brake.facts.activated_at_ms)),
                by: Some(brake.facts.by.clone()),
                reason: brake.facts.reason.clone(),
                paused_tasks_count: brake.facts.obeyed,
                stuck_tasks: self.stuck(brake),
            },
            None => BrakeView {
                state: BrakeState::Running,
                scope: scope.clone(),
                activated_at: None,
                by: None,
                reason: None,
                paused_tasks_count: 0,
                stuck_tasks: Vec::new(),
            },
        }
    }

    /// How many there are, for operators.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for run in self.runs.values() {
            if let Some(count) = RunState::ALL.iter().position(|state| *state == run.facts.state) {
                counts.runs[count] += 1;
            }
        }
        counts.brakes_engaged = self.brakes.values().filter(|brake| brake.facts.state.engaged()).count() as u64;
        counts
    }

    /// The runs that a brake waits for in vain.
    pub(crate) fn stuck(&self, brake: &Brake) -> Vec<StuckTask> {
        if brake.facts.state != BrakeState::Partial {
            return Vec::new();
        }
        let runs = brake.awaited.iter().filter_map(|id| self.runs.get(id)).take(STUCK_SHOWN_MAX);
        let since = |run: &Run| run.facts.stop.as_ref().map_or(brake.facts.activated_at_ms, |stop| stop.at_ms);
        runs.map(|run| StuckTask {
            run_id: run.facts.run_id.clone(),
            agent_type: run.facts.agent_type.clone(),
            since: iso(since(run)),
        })
        .collect()
    }
}

fn shown(run: &Run, now: Moment) -> RunView {
    let facts = &run.facts;
    RunView {
        run_id: facts.run_id.clone(),
        state: facts.state,
        user_id: facts.user_id.clone(),
        thread_id: facts.thread_id.clone(),
        org_id: facts.org_id.clone(),
        agent_type: facts.agent_type.clone(),
        title: facts.title.clone(),
        begun_by: facts.begun_by.clone(),
        began_at: iso(facts.began_at_ms),
        topics: facts.topics.iter().map(ToString::to_string).collect(),
        lease_ms: facts.lease_ms,
        lease_ends_at: run.has_lease().then(|| iso(run.lease_ends_at_ms(now))),
        stop: facts.stop.as_ref().map(|stop| StopView {
            scope: stop.scope.clone(),
            by: stop.by.clone(),
            reason: stop.reason.clone(),
            at: iso(stop.at_ms),
            is_final: stop.is_final,
            acknowledged_at: stop.acknowledged_at_ms.map(iso),
        }),
        end: facts.end.as_ref().map(|end| EndView {
            outcome: end.outcome.clone(),
            event_id: end.event_id.clone(),
            at: iso(end.at_ms),
        }),
    }
}
