//! The life of a subscription over its connections, as a pure state machine: `(state, input, now) -> actions`.
//!
//! It knows no socket, no timer and no task. `now` is any monotonic time.

use std::collections::BTreeMap;
use std::time::Duration;

use towline_protocol::message::{Subscribed, TopicRefusal};
use towline_protocol::{AfterClose, CloseCode, ServerMessage, StartRequest, TopicName};

use crate::backoff::Backoff;
use crate::event::Event;
use crate::track::{Track, Verdict};
use crate::update::{Gap, Hole, StopReason, Update};
use crate::wire::{self, Incoming};

/// Topics asked for in one message: a few kilobytes, below any server's limit.
const TOPICS_PER_REQUEST: usize = 25;
/// Topics reported in one `pong`.
const SEEN_MAX: usize = 25;
/// A topic that was refused for a passing reason is asked again after this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// The shortest pause, whatever a server hints: none may turn its clients into a storm.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// The longest pause that a server can impose.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What the driver has to do, in order.
#[derive(Debug)]
pub(crate) enum Action {
    Send(String),
    Emit(Update),
    /// Get a fresh token and hand it to [`Session::token`].
    FetchToken,
    /// Close the socket with this code and treat it as gone.
    Close {
        code: CloseCode,
        reason: &'static str,
    },
}

/// How a connection, or the attempt to get one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A close frame came.
    Code { code: u16, reason: String },
    /// The server answered the handshake with this status.
    Refused { status: u16, message: String, retry_after: Option<Duration> },
    /// The network, or this side, ended it.
    Lost { reason: String },
}

/// What comes after an ending.
#[derive(Debug)]
pub(crate) enum Next {
    /// Connect again after the delay, and tell the consumer.
    Retry(Duration, Update),
    /// Never again.
    Stop(StopReason),
}

pub(crate) struct Session {
    topics: BTreeMap<TopicName, Track>,
    backoff: Backoff,
    can_refresh: bool,
    idle_timeout: Duration,
    requests: u64,
    connections: u64,
    last_heard: Duration,
    pinged: bool,
    /// Authentication refusals since the last welcome.
    refusals: u32,
    retry_after: Option<Duration>,
    ask_again_at: Option<Duration>,
    last_refusal: String,
}

impl Session {
    pub(crate) fn new(
        topics: impl IntoIterator<Item = (TopicName, StartRequest)>,
        backoff: Backoff,
        can_refresh: bool,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            topics: topics.into_iter().map(|(topic, start)| (topic, Track::new(start))).collect(),
            backoff,
            can_refresh,
            idle_timeout,
            requests: 0,
            connections: 0,
            last_heard: Duration::ZERO,
            pinged: false,
            refusals: 0,
            retry_after: None,
            ask_again_at: None,
            last_refusal: "no topic was given".to_owned(),
        }
    }

    /// The socket is open. Nothing is asked before the server's welcome: a server that refuses closes instead.
    pub(crate) fn opened(&mut self, now: Duration) {
        self.heard(now);
        self.retry_after = None;
        self.ask_again_at = None;
    }

    /// Bytes came, or the consumer kept the driver from looking for them.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.last_heard = now;
        self.pinged = false;
    }

    /// When [`Session::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Duration {
        let patience = if self.pinged { self.idle_timeout } else { self.idle_timeout / 2 };
        let silent = self.last_heard + patience;
        self.ask_again_at.map_or(silent, |at| at.min(silent))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        let silence = now.saturating_sub(self.last_heard);
        if silence >= self.idle_timeout {
            return vec![Action::Close {
                code: CloseCode::HeartbeatTimeout,
                reason: "nothing was heard from the server for too long",
            }];
        }
        if silence >= self.idle_timeout / 2 && !self.pinged {
            self.pinged = true;
            actions.push(Action::Send(wire::ping()));
        }
        if self.ask_again_at.is_some_and(|at| at <= now) {
            self.ask_again_at = None;
            let closed: Vec<_> =
                self.topics.iter().filter(|(_, track)| !track.is_open()).map(|(topic, _)| topic.clone()).collect();
            self.ask(&closed, &mut actions);
        }
        actions
    }

    /// A text frame came.
    pub(crate) fn frame(&mut self, text: &str, now: Duration) -> Vec<Action> {
        self.heard(now);
        let mut actions = Vec::new();
        match wire::read(text) {
            Ok(Incoming::Event(event)) => self.event(event, &mut actions),
            Ok(Incoming::Message { message, correlation_id }) => {
                self.message(*message, correlation_id.as_deref(), now, &mut actions);
            }
            Ok(Incoming::Unknown) => {}
            Err(_) => actions.push(Action::Close {
                code: CloseCode::Protocol,
                reason: "the server sent a frame that is no envelope, so order can no longer be proven",
            }),
        }
        actions
    }

    /// A fresh token was fetched while the connection stands.
    pub(crate) fn token(&self, token: &str) -> Vec<Action> {
        vec![Action::Send(wire::auth(token))]
    }

    fn event(&mut self, event: Box<Event>, actions: &mut Vec<Action>) {
        let topic = event.topic.clone();
        // The server may follow topics for the user that this subscription did not ask for.
        let Some(track) = self.topics.get_mut(&topic) else { return };
        let hole = |after| Action::Emit(Update::Hole(Hole { topic: topic.to_string(), after, got: event.position }));
        match track.judge(&event) {
            Verdict::Next => actions.push(Action::Emit(Update::Event(event))),
            Verdict::Drop => {}
            Verdict::Hole { after } => {
                actions.push(hole(after));
                self.ask(&[topic], actions);
            }
            Verdict::Broken { after } => {
                actions.push(hole(after));
                actions.push(Action::Close { code: CloseCode::Protocol, reason: "events do not follow each other" });
            }
        }
    }

    fn message(&mut self, message: ServerMessage, correlation_id: Option<&str>, now: Duration, actions: &mut Vec<Action>) {
        match message {
            ServerMessage::Welcome { connection_id, user_id, .. } => {
                self.backoff.reset();
                self.refusals = 0;
                let resumed = self.connections > 0;
                self.connections += 1;
                actions.push(Action::Emit(Update::Connected { connection_id, user_id, resumed }));
                let all: Vec<_> = self.topics.keys().cloned().collect();
                self.ask(&all, actions);
            }
            ServerMessage::SubscribeAck { subscriptions, errors } => {
                for subscribed in &subscriptions {
                    self.subscribed(subscribed, correlation_id, actions);
                }
                for refusal in errors {
                    self.refused(refusal, now, actions);
                }
            }
            ServerMessage::Gap { topic, gap } => {
                let track = self.topics.get_mut(topic.as_str()).filter(|track| track.is_open());
                if let Some(gap) = track.and_then(|track| track.gap(gap)) {
                    actions.push(Action::Emit(Update::Gap(Gap::new(&topic, gap))));
                }
            }
            ServerMessage::CaughtUp { topic, replayed, epoch, offset } => {
                if self.topics.get(topic.as_str()).is_some_and(Track::is_open) {
                    let position = towline_protocol::Position { epoch, offset };
                    actions.push(Action::Emit(Update::CaughtUp { topic, replayed, position }));
                }
            }
            ServerMessage::Ping {} => {
                let seen = self.topics.iter().filter_map(|(topic, track)| Some((topic, track.last_id()?))).take(SEEN_MAX);
                actions.push(Action::Send(wire::pong(seen)));
            }
            ServerMessage::AuthExpiring { seconds_left, .. } => actions.push(if self.can_refresh {
                Action::FetchToken
            } else {
                Action::Emit(Update::AuthExpiring { remaining: Duration::from_secs(seconds_left) })
            }),
            ServerMessage::Reconnect { retry_after_ms } => self.retry_after = Some(Duration::from_millis(retry_after_ms)),
            ServerMessage::Error(body) => {
                // A `subscribe` that is refused as a whole.
                let asked = self.topics.iter().filter(|(_, track)| track.awaits(correlation_id));
                let asked: Vec<String> = asked.map(|(topic, _)| topic.to_string()).collect();
                if asked.is_empty() {
                    actions.push(Action::Emit(Update::Error(body)));
                } else {
                    for topic in asked {
                        self.refused(TopicRefusal { topic, code: body.code, message: body.message.clone() }, now, actions);
                    }
                }
            }
            ServerMessage::Pong {}
            | ServerMessage::AuthAck { .. }
            | ServerMessage::UnsubscribeAck { .. }
            | ServerMessage::PublishAck { .. }
            | ServerMessage::MessageAck { .. } => {}
        }
    }

    fn subscribed(&mut self, answer: &Subscribed, correlation_id: Option<&str>, actions: &mut Vec<Action>) {
        let Some(track) = self.topics.get_mut(answer.topic.as_str()).filter(|track| track.awaits(correlation_id)) else { return };
        let gap = track.opened(answer);
        actions.push(Action::Emit(Update::Subscribed { topic: answer.topic.clone(), from: answer.from, to: answer.to }));
        if let Some(gap) = gap {
            actions.push(Action::Emit(Update::Gap(Gap::new(&answer.topic, gap))));
        }
    }

    fn refused(&mut self, refusal: TopicRefusal, now: Duration, actions: &mut Vec<Action>) {
        if refusal.code.retryable() {
            self.ask_again_at.get_or_insert(now + ASK_AGAIN_AFTER);
        } else if self.topics.remove(refusal.topic.as_str()).is_some() {
            self.last_refusal.clone_from(&refusal.message);
        }
        actions.push(Action::Emit(Update::Refused { topic: refusal.topic, code: refusal.code, message: refusal.message }));
        if self.topics.is_empty() {
            actions.push(Action::Close { code: CloseCode::Normal, reason: "no topics are left" });
        }
    }

    fn ask(&mut self, topics: &[TopicName], actions: &mut Vec<Action>) {
        for some in topics.chunks(TOPICS_PER_REQUEST) {
            self.requests += 1;
            let id = format!("s{}", self.requests);
            let mut wanted = Vec::with_capacity(some.len());
            for topic in some {
                if let Some(track) = self.topics.get_mut(topic) {
                    track.asked(&id);
                    wanted.push((topic.clone(), track.resume_from()));
                }
            }
            actions.push(Action::Send(wire::subscribe(&id, &wanted)));
        }
    }

    /// The connection is gone, or could not be made.
    pub(crate) fn ended(&mut self, ending: Ending) -> Next {
        for track in self.topics.values_mut() {
            track.closed();
        }
        if self.topics.is_empty() {
            return Next::Stop(StopReason::NoTopics(std::mem::take(&mut self.last_refusal)));
        }
        let mut hint = self.retry_after.take();
        let (code, reason) = match ending {
            Ending::Lost { reason } => (None, reason),
            Ending::Code { code, reason } => {
                let known = CloseCode::ALL.iter().find(|known| known.number() == code);
                // A code that this version does not know may be a newer server's: back-off bounds the harm of trying again.
                match known.map_or(AfterClose::Resume, |known| known.after()) {
                    AfterClose::NewToken if self.gives_up_on_auth() => return Next::Stop(StopReason::Unauthorized(reason)),
                    AfterClose::Stop if code == CloseCode::Forbidden.number() => {
                        return Next::Stop(StopReason::Forbidden(reason));
                    }
                    AfterClose::Stop => return Next::Stop(StopReason::Closed { code, reason }),
                    AfterClose::NewToken | AfterClose::Resume => (Some(code), reason),
                }
            }
            Ending::Refused { status: 401, message, .. } if self.gives_up_on_auth() => {
                return Next::Stop(StopReason::Unauthorized(message));
            }
            Ending::Refused { status: 403, message, .. } => return Next::Stop(StopReason::Forbidden(message)),
            // Other refusals of the client's request do not heal by repeating it, except those that speak of time or load.
            Ending::Refused { status, message, .. }
                if (400..500).contains(&status) && ![401, 408, 421, 425, 429].contains(&status) =>
            {
                return Next::Stop(StopReason::NotASocket { status, message });
            }
            Ending::Refused { status, message, retry_after } => {
                hint = hint.or(retry_after);
                (None, format!("the server answered {status}: {message}"))
            }
        };
        let own = self.backoff.next_delay();
        let retry_in = hint.map_or(own, |hint| hint.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
        Next::Retry(retry_in, Update::Disconnected { code, reason, retry_in })
    }

    /// One refusal is answered with a fresh token, where there may be one; a second in a row is final.
    fn gives_up_on_auth(&mut self) -> bool {
        self.refusals += 1;
        !self.can_refresh || self.refusals > 1
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
