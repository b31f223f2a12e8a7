//! Who watches a topic on a reactor thread, and how far behind the last of them is: a few seats per turn.

use std::sync::Arc;

use tokio::sync::oneshot;
use towline_protocol::TopicName;
use towline_sockets::Connections;

use super::gate::Gate;

/// Seats and topics that are looked at in one turn.
const UNITS_PER_TURN: usize = 1024;

/// A question to one reactor thread.
pub struct Headcount {
    pub(super) topics: Arc<[TopicName]>,
    /// Which topic and which of its seats to go on with.
    pub(super) from: (usize, usize),
    pub(super) reply: oneshot::Sender<Counted>,
}

/// What was counted in one turn.
pub struct Counted {
    /// Which of the topics, connections that follow it, the worst lag among them in events.
    pub(super) counts: Vec<(usize, u64, u64)>,
    /// Where to go on.
    pub(super) next: Option<(usize, usize)>,
}

impl Gate {
    pub(super) fn count_heads(&mut self, connections: &mut Connections<'_, Self>, asked: Headcount) {
        let Headcount { topics, from: (mut at, mut seat), reply } = asked;
        let (mut counts, mut units) = (Vec::new(), 0);
        while at < topics.len() && units < UNITS_PER_TURN {
            units += 1;
            let local = self.topics.number_of(&topics[at]).and_then(|number| Some((number, self.topics.get(number)?)));
            let Some((number, local)) = local else {
                (at, seat) = (at + 1, 0);
                continue;
            };
            let head = local.topic().head().map_or(0, |head| head.offset);
            let (mut heads, mut lag) = (0, 0);
            while seat < local.watchers() && units < UNITS_PER_TURN {
                units += 1;
                let session = local.watcher(seat).and_then(|slot| connections.session_in_slot(slot));
                if let Some(subscription) =
                    session.and_then(|session| Some(&session.subscriptions[session.subscription(number)?]))
                {
                    heads += 1;
                    lag = lag.max(head.saturating_sub(subscription.after));
                }
                seat += 1;
            }
            counts.push((at, heads, lag));
            if seat >= local.watchers() {
                (at, seat) = (at + 1, 0);
            }
        }
        let next = (at < topics.len()).then_some((at, seat));
        // Whoever asked may have gone.
        let _ = reply.send(Counted { counts, next });
    }
}
