//! Publishing for runs: decide and append under one lock.

use std::sync::Arc;

use tokio::sync::oneshot;
use towline_log::{AppendError, LogFuture};
use towline_protocol::{NewEvent, Refusal};
use towline_runs::{Effects, Glance, Moment, Question};

use super::{Positions, Runs, Speaker};

/// Says that an event belongs to a run.
#[derive(Debug)]
pub struct Tag {
    /// Which event, by its place among those to be appended. Tags come in this order.
    pub at: usize,
    /// The run.
    pub run_id: Box<str>,
    /// Which kind of agent speaks.
    pub agent_type: Option<Box<str>>,
    /// Who publishes it.
    pub by: Arc<Speaker>,
}

/// What became of events that were to be appended.
pub struct Taken {
    /// Those that were not taken, by their places, in order.
    pub refused: Vec<(usize, Refusal)>,
    /// The positions of the others, in order. None: nothing is appended.
    pub append: Option<LogFuture<Result<Positions, AppendError>>>,
}

fn question<'a>(tag: &'a Tag, event: &'a NewEvent) -> Question<'a> {
    Question {
        run_id: &tag.run_id,
        topic: &event.topic,
        kind: &event.kind,
        event_id: &event.id,
        agent_type: tag.agent_type.as_deref(),
        by: &tag.by.actor,
        trusted: tag.by.trusted,
    }
}

impl Runs {
    /// Appends the events that their runs may still publish, in one call of the log, and none of them if one is refused and `atomic` is
    /// asked for. Events without a tag are of no run. The append begins now.
    pub fn append(self: &Arc<Self>, events: Vec<NewEvent>, tags: &[Tag], atomic: bool) -> Taken {
        if tags.is_empty() {
            let append = (!events.is_empty()).then(|| self.log.append(events));
            return Taken { refused: Vec::new(), append };
        }
        let now = Moment::of(&self.clock);
        match self.append_unchanged(events, tags, atomic, now) {
            Ok(taken) => taken,
            Err(events) => self.append_changing(events, tags, atomic, now),
        }
    }

    /// The usual case, under shared access: events of known runs that change nothing. Gives the events back if one changes something.
    fn append_unchanged(
        &self,
        mut events: Vec<NewEvent>,
        tags: &[Tag],
        atomic: bool,
        now: Moment,
    ) -> Result<Taken, Vec<NewEvent>> {
        let registry = self.registry.read();
        let mut refused: Vec<(usize, Refusal)> = Vec::new();
        for tag in tags {
            match registry.glance(&question(tag, &events[tag.at]), now) {
                Glance::Taken => {}
                Glance::Refused(refusal) => refused.push((tag.at, refusal)),
                Glance::Changes => return Err(events),
            }
        }
        if !refused.is_empty() {
            let mut at = 0;
            let mut next = refused.iter().map(|(at, _)| *at).peekable();
            events.retain(|_| {
                at += 1;
                next.next_if_eq(&(at - 1)).is_none()
            });
        }
        let held_back = events.is_empty() || (atomic && !refused.is_empty());
        // Enqueued before the lock is let go: a stop that comes now stands behind it.
        let append = (!held_back).then(|| self.log.append(events));
        Ok(Taken { refused, append })
    }

    fn append_changing(self: &Arc<Self>, events: Vec<NewEvent>, tags: &[Tag], atomic: bool, now: Moment) -> Taken {
        let mut registry = self.registry.write();
        let mut batch = Batch::default();
        let mut refused = Vec::new();
        let mut tags = tags.iter().peekable();
        for (at, event) in events.into_iter().enumerate() {
            let tag = tags.next_if(|tag| tag.at == at);
            let mut effects = Effects::default();
            if let Some(tag) = tag
                && let Err(refusal) = registry.admit(&question(tag, &event), now, &mut effects)
            {
                refused.push((at, refusal));
                continue;
            }
            batch.add(event, effects);
        }
        if batch.events.is_empty() || (atomic && !refused.is_empty()) {
            registry.undo(batch.effects);
            registry.mark_unwritten(&batch.own);
            return Taken { refused, append: None };
        }
        let Batch { events, mine, own, effects } = batch;
        let append = self.log.append(events);
        drop(registry);
        let append = if own.is_empty() { append } else { self.settled(append, mine, own, effects) };
        Taken { refused, append: Some(append) }
    }

    /// The publisher's positions of an append that has events of the gateway among them, and whose failure is taken back.
    fn settled(
        self: &Arc<Self>,
        append: LogFuture<Result<Positions, AppendError>>,
        mine: Vec<bool>,
        own: Vec<NewEvent>,
        effects: Effects,
    ) -> LogFuture<Result<Positions, AppendError>> {
        let runs = Arc::clone(self);
        self.in_any_case(async move {
            match append.await {
                Ok(positions) => {
                    runs.tell(&own);
                    Ok(positions.into_iter().zip(mine).filter_map(|(position, mine)| mine.then_some(position)).collect())
                }
                Err(error) => {
                    let mut registry = runs.registry.write();
                    registry.undo(effects);
                    registry.mark_unwritten(&own);
                    Err(error)
                }
            }
        })
    }

    /// Works to its end even if nobody waits for the answer.
    pub(super) fn in_any_case<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AppendError>> + Send + 'static,
    ) -> LogFuture<Result<T, AppendError>> {
        // Without a runtime there is no server: a test that waits for every answer.
        let Some(runtime) = &self.runtime else { return Box::pin(work) };
        let (sender, answer) = oneshot::channel();
        runtime.spawn(async move {
            // Whoever no longer waits does not care.
            let _ = sender.send(work.await);
        });
        Box::pin(async move { answer.await.unwrap_or(Err(AppendError::Closed)) })
    }

    /// Wakes those who wait for control events.
    pub(super) fn tell(&self, events: &[NewEvent]) {
        if events.iter().any(|event| event.topic.kind() == "control") {
            self.told.send_modify(|told| *told += 1);
        }
    }
}

/// Events in the order of the log, the publisher's and the gateway's own.
#[derive(Default)]
struct Batch {
    events: Vec<NewEvent>,
    mine: Vec<bool>,
    own: Vec<NewEvent>,
    effects: Effects,
}

impl Batch {
    fn add(&mut self, event: NewEvent, mut effects: Effects) {
        let (before, after) = (std::mem::take(&mut effects.before), std::mem::take(&mut effects.after));
        self.effects.join(effects);
        self.own(before);
        self.events.push(event);
        self.mine.push(true);
        self.own(after);
    }

    fn own(&mut self, events: Vec<NewEvent>) {
        self.mine.resize(self.mine.len() + events.len(), false);
        self.own.extend(events.iter().cloned());
        self.events.extend(events);
    }
}
