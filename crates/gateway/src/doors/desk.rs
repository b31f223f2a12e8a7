//! The operators' desk: asks the reactor threads one after another, each a few slots at a time, and puts the answers together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use towline_hub::Topic;
use towline_log::ReadError;
use towline_protocol::{StartRequest, TopicName};

use super::Doors;
use super::gate::Note;
use super::headcount::Headcount;
use super::survey::{Filter, Survey, Surveyed, Task};
use super::tap::Tap;
use super::view::ClosedView;

/// A place among all connections: connections do not move, so whoever goes on from here meets everyone who stays once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Which reactor thread.
    pub worker: usize,
    /// Which of its slots.
    pub slot: u32,
}

/// Who watches a topic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heads {
    /// Connections that follow it.
    pub subscribers: u64,
    /// The worst lag among them, in events.
    pub lag_events: u64,
}

impl Doors {
    /// The topics that somebody watches, in the order of their names.
    pub async fn watched(&self, prefix: &str, after: &str, most: usize) -> Vec<Arc<Topic>> {
        let (hub, prefix, after) = (self.hub.clone(), prefix.to_owned(), after.to_owned());
        // It looks at all of them.
        tokio::task::spawn_blocking(move || hub.watched(&prefix, &after, most)).await.unwrap_or_default()
    }

    /// Whether somebody watches this topic.
    #[must_use]
    pub fn watches(&self, topic: &TopicName) -> bool {
        self.hub.watched_topic(topic).is_some()
    }

    /// Who watches these topics, in their order. False if time ran out before all were counted.
    pub async fn count_heads(&self, topics: &[TopicName], most: Duration) -> (Vec<Heads>, bool) {
        let began = self.shared.clock.uptime();
        let (mut heads, mut complete) = (vec![Heads::default(); topics.len()], true);
        let topics: Arc<[TopicName]> = topics.into();
        for mailbox in &self.mailboxes {
            let mut from = (0, 0);
            loop {
                let (reply, answer) = oneshot::channel();
                mailbox.note(Note::Headcount(Headcount { topics: Arc::clone(&topics), from, reply }));
                let Ok(counted) = answer.await else { break };
                for (at, subscribers, lag_events) in counted.counts {
                    heads[at].subscribers += subscribers;
                    heads[at].lag_events = heads[at].lag_events.max(lag_events);
                }
                let Some(next) = counted.next else { break };
                if self.shared.clock.uptime().saturating_sub(began) > most {
                    complete = false;
                    break;
                }
                from = next;
            }
        }
        (heads, complete)
    }

    /// Cursors for an operator; `None` if too many look already.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn tap(&self, topics: &[TopicName], start: &StartRequest) -> Result<Option<Tap>, ReadError> {
        self.taps.open(topics, start).await
    }

    /// Looks at the next few connections from `at` on, and says where to go on. `None`: there are no more, or the threads are gone.
    pub async fn survey(&self, at: Place, filter: &Filter, task: &Task) -> Option<(Surveyed, Option<Place>)> {
        let mailbox = self.mailboxes.get(at.worker)?;
        let (reply, answer) = oneshot::channel();
        mailbox.note(Note::Survey(Box::new(Survey { task: task.clone(), filter: filter.clone(), from: at.slot, reply })));
        let found = answer.await.ok()?;
        let next = match found.next {
            Some(slot) => Some(Place { slot, ..at }),
            None if at.worker + 1 < self.mailboxes.len() => Some(Place { worker: at.worker + 1, slot: 0 }),
            None => None,
        };
        Some((found, next))
    }

    /// The connections that ended last, newest first.
    pub async fn recently_closed(&self) -> Vec<ClosedView> {
        let mut all = Vec::new();
        for mailbox in &self.mailboxes {
            let (reply, answer) = oneshot::channel();
            mailbox.note(Note::Recall(reply));
            all.extend(answer.await.unwrap_or_default());
        }
        all.sort_by(|a, b| b.closed_at.total_cmp(&a.closed_at));
        all
    }
}
