//! The operators' desk: asks the reactor threads one after another, each a few slots at a time, and puts the answers together.

use tokio::sync::oneshot;

use super::Doors;
use super::gate::Note;
use super::survey::{Filter, Survey, Surveyed, Task};
use super::view::ClosedView;

/// A place among all connections: connections do not move, so whoever goes on from here meets everyone who stays once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Which reactor thread.
    pub worker: usize,
    /// Which of its slots.
    pub slot: u32,
}

impl Doors {
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
