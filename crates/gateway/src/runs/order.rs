//! Orders: begin, stop, brake, resume. What they change is in force once they are given, and durable once they are answered.

use std::sync::Arc;

use towline_log::{AppendError, LogFuture};
use towline_protocol::{NewEvent, Refusal, TopicName};
use towline_runs::{Actor, Begin, Effects, Moment, Registry, Scope};

use super::{EVENTS_PER_CALL_MAX, Positions, Runs, Speaker, UNSAID_MAX};

/// Where something that was said stands.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Placed {
    /// The topic.
    pub topic: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its epoch.
    pub epoch: towline_protocol::Epoch,
    /// Its offset.
    pub offset: u64,
}

/// The answer to an order that was carried out: how many runs it met, and where its notices stand.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Runs that it changed.
    pub runs: Vec<Box<str>>,
    /// Notices, the gateway's own records not among them.
    pub notices: Vec<Placed>,
}

type Answer<T> = LogFuture<Result<T, AppendError>>;

impl Runs {
    /// Begins a run. It is known, and its events are taken, once this returns; the future says when it is durable.
    ///
    /// # Errors
    /// Why it may not begin.
    pub fn begin(self: &Arc<Self>, begin: Begin, speaker: &Speaker) -> Result<Answer<()>, Refusal> {
        let mut registry = self.registry.write();
        let mut effects = Effects::default();
        registry.begin(begin, speaker.trusted, Moment::of(&self.clock), &mut effects)?;
        let own = std::mem::take(&mut effects.before);
        if own.is_empty() {
            return Ok(Box::pin(std::future::ready(Ok(()))));
        }
        let append = self.log.append(own.clone());
        drop(registry);
        let runs = Arc::clone(self);
        Ok(self.in_any_case(async move {
            let appended = append.await;
            if appended.is_err() {
                let mut registry = runs.registry.write();
                registry.undo(effects);
                registry.mark_unwritten(&own);
            }
            appended.map(|_| ())
        }))
    }

    /// Stops what a scope covers, for good. In force once this returns; the future says where the notices stand.
    pub fn stop(self: &Arc<Self>, scope: &Scope, only_user: Option<&str>, by: &Actor, reason: Option<&str>) -> Answer<Done> {
        let (answer, runs) = self.order(|registry, now| {
            let stopped = registry.stop(scope, only_user, by, reason, now);
            (stopped.events, stopped.runs)
        });
        self.in_any_case(async move { Ok(Done { runs, notices: answer.await? }) })
    }

    /// Engages a brake. In force once this returns; the future says where the notices stand, and how many runs were stopped.
    ///
    /// # Errors
    /// Too many brakes are engaged.
    pub fn brake(self: &Arc<Self>, scope: &Scope, by: &Actor, reason: Option<&str>) -> Result<Answer<Vec<Placed>>, Refusal> {
        let (answer, refusal) = self.order(|registry, now| match registry.brake(scope, by, reason, now) {
            Ok(braked) => (braked.events, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        });
        refusal.map_or(Ok(answer), Err)
    }

    /// Releases a brake once the log has the release. Where it is not engaged, nothing happens.
    pub fn resume(self: &Arc<Self>, scope: &Scope, by: &Actor) -> Answer<Vec<Placed>> {
        let mut registry = self.registry.write();
        let Some(mut plan) = registry.plan_resume(scope, by, Moment::of(&self.clock)) else {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        };
        // Agents go on when they hear of it on a control topic, so they hear of it last: once their events are taken again.
        let (control, events): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.events).into_iter().partition(|event| event.topic.kind() == "control");
        let said = said(&events);
        let appends = self.append_all(events);
        drop(registry);
        let runs = Arc::clone(self);
        self.in_any_case(async move {
            match positions(appends).await {
                Ok(positions) => {
                    let (answer, _) = runs.order(|registry, now| {
                        let mut after = Vec::new();
                        let outcome = registry.resume(plan, now, &mut after);
                        let mut out = of_those_that_go_on(registry, control);
                        out.append(&mut after);
                        (out, outcome)
                    });
                    let mut placed = placed(said, positions);
                    placed.extend(answer.await?);
                    Ok(placed)
                }
                Err(error) => {
                    runs.registry.write().abandon_resume(&plan);
                    Err(error)
                }
            }
        })
    }

    /// A sign of life outside of events. None: no such run.
    pub fn heartbeat(self: &Arc<Self>, run_id: &str) -> Option<towline_runs::RunState> {
        if let Some(state) = self.read(|registry, now| registry.quiet_heartbeat(run_id, now)) {
            return Some(state);
        }
        let (_, state) = self.order(|registry, now| {
            let mut out = Vec::new();
            let state = registry.heartbeat(run_id, now, &mut out);
            (out, state)
        });
        state
    }

    /// Decides, and appends what follows, under one lock. The future says where it stands; if it could not be appended, it is in force
    /// all the same, and tried again by the upkeep.
    pub(super) fn order<T>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Registry, Moment) -> (Vec<NewEvent>, T),
    ) -> (Answer<Vec<Placed>>, T) {
        let mut registry = self.registry.write();
        let (events, answer) = decide(&mut registry, Moment::of(&self.clock));
        if events.is_empty() {
            return (Box::pin(std::future::ready(Ok(Vec::new()))), answer);
        }
        let kept = events.clone();
        let appends = self.append_all(events);
        drop(registry);
        let runs = Arc::clone(self);
        let settled = self.in_any_case(async move {
            match positions(appends).await {
                Ok(positions) => {
                    runs.tell(&kept);
                    Ok(placed(said(&kept), positions))
                }
                Err(error) => {
                    runs.registry.write().mark_unwritten(&kept);
                    runs.say_later(kept);
                    Err(error)
                }
            }
        });
        (settled, answer)
    }

    /// One call of the log after another, all enqueued now.
    fn append_all(&self, events: Vec<NewEvent>) -> Vec<LogFuture<Result<Positions, AppendError>>> {
        let mut appends = Vec::with_capacity(events.len().div_ceil(EVENTS_PER_CALL_MAX));
        let mut rest = events.into_iter().peekable();
        while rest.peek().is_some() {
            appends.push(self.log.append(rest.by_ref().take(EVENTS_PER_CALL_MAX).collect()));
        }
        appends
    }

    fn say_later(&self, events: Vec<NewEvent>) {
        let mut unsaid = self.unsaid.lock();
        unsaid.extend(events.into_iter().filter(|event| !event.topic.is_internal()));
        let too_many = unsaid.len().saturating_sub(UNSAID_MAX);
        if too_many > 0 {
            unsaid.drain(..too_many);
            tracing::error!(
                count = too_many,
                "notices of stops were dropped because the log takes nothing; the stops are in force"
            );
        }
    }

    /// What could not be said so far.
    pub(super) fn unsaid(&self) -> Vec<NewEvent> {
        self.unsaid.lock().drain(..).collect()
    }

    pub(super) fn has_unsaid(&self) -> bool {
        !self.unsaid.lock().is_empty()
    }
}

/// The control notices of those runs that were not stopped by themselves, or ended, while their brake was being released. A run's notice
/// on the topic that holds all controls follows the one on its own.
fn of_those_that_go_on(registry: &Registry, mut notices: Vec<NewEvent>) -> Vec<NewEvent> {
    let all = TopicName::all_controls();
    let mut goes_on = false;
    notices.retain(|notice| {
        if notice.topic != all {
            goes_on = notice.topic.as_str().strip_prefix("control:").is_some_and(|run_id| registry.goes_on(run_id));
        }
        goes_on
    });
    notices
}

/// The positions of several calls, in order. The first failure counts.
async fn positions(appends: Vec<LogFuture<Result<Positions, AppendError>>>) -> Result<Positions, AppendError> {
    let mut all = Vec::new();
    let mut failed = None;
    for append in appends {
        match append.await {
            Ok(positions) => all.extend(positions),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(all), Err)
}

fn said(events: &[NewEvent]) -> Vec<(TopicName, Box<str>)> {
    events.iter().map(|event| (event.topic.clone(), event.kind.clone())).collect()
}

fn placed(said: Vec<(TopicName, Box<str>)>, positions: Positions) -> Vec<Placed> {
    let placed = said.into_iter().zip(positions).filter(|((topic, _), _)| !topic.is_internal());
    placed
        .map(|((topic, kind), at)| Placed {
            topic: topic.to_string(),
            kind: kind.into(),
            epoch: at.position.epoch,
            offset: at.position.offset,
        })
        .collect()
}
