//! Looking at a reactor thread's connections from outside: a few slots per turn, so that nobody's events wait for an operator's question.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use towline_auth::Identity;
use towline_protocol::{CloseCode, TopicName};
use towline_sockets::{ConnectionId, Connections, Ended, Io, Life};

use super::door::Door;
use super::gate::Gate;
use super::requests::seconds;
use super::session::Session;
use super::view::{ClosedView, ConnectionState, ConnectionView, SubscriptionView, ended_by, state_of};

/// Slots, and subscriptions in them, that are looked at in one turn: some tens of microseconds.
const UNITS_PER_TURN: usize = 1024;
/// Goodbyes said in one turn: each is a system call.
const GOODBYES_PER_TURN: usize = 64;
/// Ended connections that a thread remembers.
const CLOSED_MAX: usize = 256;

/// Which connections are meant. What is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<Box<str>>,
    /// Through which door, by its name.
    pub door: Option<Box<str>>,
    /// Following this topic.
    pub topic: Option<TopicName>,
    /// Doing this.
    pub state: Option<ConnectionState>,
    /// This one alone.
    pub serial: Option<u32>,
}

/// What is to be done with them.
#[derive(Debug, Clone)]
pub enum Task {
    /// Describe them, up to so many.
    List(usize),
    /// Describe those that are furthest behind, up to so many.
    Slowest(usize),
    /// Describe the first with its subscriptions.
    Describe,
    /// Close them with this reason.
    Disconnect(Box<str>),
}

/// A question to one reactor thread, beginning at a slot.
pub struct Survey {
    pub(super) task: Task,
    pub(super) filter: Filter,
    pub(super) from: u32,
    pub(super) reply: oneshot::Sender<Surveyed>,
}

/// What was found in the slots of one turn.
#[derive(Debug, Default)]
pub struct Surveyed {
    /// The connections.
    pub rows: Vec<ConnectionView>,
    /// The subscriptions of the one that was described.
    pub subscriptions: Vec<SubscriptionView>,
    /// How many were told goodbye.
    pub disconnected: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
}

/// A connection that has ended, as short as it can be kept.
pub struct Closed {
    id: ConnectionId,
    identity: Option<Arc<Identity>>,
    door: &'static Door,
    at_ms: u64,
    ended: Ended,
    life: Life,
}

impl Gate {
    pub(super) fn survey(&mut self, connections: &mut Connections<'_, Self>, survey: Survey) {
        let Survey { task, filter, from, reply } = survey;
        let mut found = Surveyed::default();
        let topic = match &filter.topic {
            Some(name) => match self.topics.number_of(name) {
                Some(number) => Some(number),
                // Nobody here follows it.
                None => return drop(reply.send(found)),
            },
            None => None,
        };
        let (end, mut slot, mut units) = (connections.slots_end(), from, 0);
        let mut slowest: Vec<(u64, u32)> = Vec::new();
        while slot < end && units < UNITS_PER_TURN {
            units += 1;
            if let Some((mut io, session)) = connections.in_slot(slot) {
                units += session.subscriptions.len();
                if self.matches(&io, session, &filter, topic) {
                    match &task {
                        Task::List(_) => found.rows.push(self.describe(&io, session)),
                        Task::Slowest(_) => slowest.push((self.lag(session), slot)),
                        Task::Describe => {
                            found.rows.push(self.describe(&io, session));
                            found.subscriptions = self.describe_subscriptions(session);
                        }
                        Task::Disconnect(_) if io.is_closing() => {}
                        Task::Disconnect(reason) => {
                            say_goodbye(&mut io, CloseCode::Disconnected, reason);
                            found.disconnected += 1;
                        }
                    }
                }
            }
            slot += 1;
            let enough = match &task {
                Task::List(most) => found.rows.len() == *most,
                Task::Slowest(_) => false,
                Task::Describe => !found.rows.is_empty(),
                Task::Disconnect(_) => found.disconnected == GOODBYES_PER_TURN,
            };
            if enough {
                break;
            }
        }
        if let Task::Slowest(most) = task {
            slowest.retain(|(lag, _)| *lag > 0);
            slowest.sort_unstable_by_key(|(lag, _)| std::cmp::Reverse(*lag));
            for (_, slot) in slowest.into_iter().take(most) {
                if let Some((io, session)) = connections.in_slot(slot) {
                    found.rows.push(self.describe(&io, session));
                }
            }
        }
        found.next = (slot < end).then_some(slot);
        // Whoever asked may have gone.
        let _ = reply.send(found);
    }

    fn matches(&self, io: &Io<'_>, session: &Session, filter: &Filter, topic: Option<u32>) -> bool {
        let user = |user: &str| session.identity.as_ref().is_some_and(|identity| *identity.subject == *user);
        filter.serial.is_none_or(|serial| io.id().serial() == serial)
            && filter.user.as_deref().is_none_or(user)
            && filter.door.as_deref().is_none_or(|door| session.door.name == door)
            && topic.is_none_or(|number| session.subscription(number).is_some())
            && filter.state.is_none_or(|state| state_of(io, session) == state)
    }

    fn describe(&self, io: &Io<'_>, session: &Session) -> ConnectionView {
        let age_ms = io.age().as_millis() as u64;
        ConnectionView {
            id: self.connection_name(io.id()),
            user: session.identity.as_ref().map(|identity| identity.subject.to_string()),
            org: session.identity.as_ref().and_then(|identity| identity.org.as_deref().map(str::to_owned)),
            door: session.door.name,
            address: session.client.map(|client| client.to_string()),
            state: state_of(io, session),
            connected_at: seconds(self.shared.clock.unix_ms().saturating_sub(age_ms)),
            silent_seconds: io.silent_for().as_secs_f64(),
            blocked_seconds: io.blocked_for().as_secs_f64(),
            subscriptions: session.subscriptions.len(),
            lag_events: self.lag(session),
            sent_bytes: io.sent_bytes(),
            received_bytes: io.received_bytes(),
        }
    }

    fn describe_subscriptions(&self, session: &Session) -> Vec<SubscriptionView> {
        let view = |subscription: &super::session::Subscription| {
            let local = self.topics.get(subscription.topic)?;
            let head = local.topic().head().map_or(subscription.after, |head| head.offset);
            Some(SubscriptionView {
                topic: local.name().to_string(),
                epoch: local.epoch.to_string(),
                after: subscription.after,
                head,
                lag_events: head.saturating_sub(subscription.after),
                state: subscription.state.into(),
            })
        };
        session.subscriptions.iter().filter_map(view).collect()
    }

    /// The worst lag among a connection's topics.
    fn lag(&self, session: &Session) -> u64 {
        let lag = |subscription: &super::session::Subscription| {
            let head = self.topics.get(subscription.topic)?.topic().head()?;
            Some(head.offset.saturating_sub(subscription.after))
        };
        session.subscriptions.iter().filter_map(lag).max().unwrap_or(0)
    }

    /// Remembers a connection that has ended.
    pub(super) fn remember(&mut self, id: ConnectionId, session: &mut Session, ended: Ended, life: Life) {
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        let (identity, door, at_ms) = (session.identity.take(), session.door, self.shared.clock.unix_ms());
        self.closed.push_back(Closed { id, identity, door, at_ms, ended, life });
    }

    /// What is remembered of ended connections, newest first.
    pub(super) fn recall(&self) -> Vec<ClosedView> {
        let view = |closed: &Closed| ClosedView {
            id: self.connection_name(closed.id),
            user: closed.identity.as_ref().map(|identity| identity.subject.to_string()),
            door: closed.door.name,
            closed_at: seconds(closed.at_ms),
            seconds: closed.life.age.as_secs_f64(),
            code: closed.ended.code(),
            by: ended_by(closed.ended),
            reason: closed.life.reason.as_deref().map(str::to_owned),
            sent_bytes: closed.life.sent_bytes,
            received_bytes: closed.life.received_bytes,
        };
        self.closed.iter().rev().map(view).collect()
    }
}

/// Where a thread keeps its ended connections.
pub(super) type ClosedRing = VecDeque<Closed>;

/// Closes a connection that has done nothing wrong.
pub(super) fn say_goodbye(io: &mut Io<'_>, code: CloseCode, reason: &str) {
    let code = code.number();
    // A socket that takes nothing is to learn it too.
    if io.is_blocked() { io.close_blocked(code, reason) } else { io.close(code, reason) }
}
