//! What clients ask, and the one answer that each request gets.

use std::borrow::Cow;
use std::sync::Arc;

use towline_auth::{AuthError, Delegation, Identity};
use towline_hub::Joined;
use towline_log::{Gap, GapReason};
use towline_protocol::event::ATTRIBUTE_BYTES_MAX;
use towline_protocol::message::{Subscribed, TopicRefusal};
use towline_protocol::{
    Asked, ClientMessage, CloseCode, Dialect, ErrorBody, ErrorCode, GapCause, GapNotice, Position, ServerMessage, StartRequest,
    TopicName, TopicRequest,
};
use towline_sockets::{ConnectionId, Io};

use super::door::Door;
use super::gate::{Gate, Note, read_failed};
use super::joining::Joining;
use super::session::{Session, State, Subscription};
use super::ticket::JoinedTopics;
use crate::authorization::Right;
use crate::offer;
use crate::shared::Shared;

/// Why a connection is closed whose cursor stands in a history that is no more: whoever resumes is told of the gap.
pub(super) const HISTORY_CHANGED: &str = "the topic's history changed; reconnect to resume";

impl Gate {
    pub(super) fn welcome(&self, id: ConnectionId, door: &Door, identity: &Identity, topics: Vec<String>) -> ServerMessage {
        let config = &self.shared.config;
        let sockets = &config.sockets;
        ServerMessage::Welcome {
            connection_id: self.connection_name(id),
            user_id: identity.subject.to_string(),
            server_time: seconds(self.shared.clock.unix_ms()),
            heartbeat_interval_ms: sockets.heartbeat_interval.as_millis() as u64,
            idle_timeout_ms: sockets.idle_timeout.as_millis() as u64,
            topics,
            expires_at: identity.expires_at_ms.map(seconds),
            limits: offer::limits(config),
            features: (door.dialect == Dialect::Unified).then(|| offer::features(config)),
        }
    }

    pub(super) fn request(&mut self, io: &mut Io<'_>, session: &mut Session, text: &str) {
        self.shared.metrics.messages_received.inc();
        let Some(identity) = session.identity.clone() else { return };
        let request = match session.door.dialect.decode(text) {
            Ok(request) => request,
            Err(decline) => {
                let error = ErrorBody::new(decline.code, decline.message);
                self.complain_of(decline.asked, io, session, error, decline.id.as_deref());
                return;
            }
        };
        let id = request.id.as_deref();
        // What keeps a connection alive or brings a fresh token is neither asked for a valid one nor counted: a client at its limit must
        // not lose its connection for being quiet.
        if let Some(asked) = needs_token(&request.message) {
            if identity.expired(self.shared.clock.unix_ms()) {
                // The connection is closed within a second; until then nothing is done in the name of a token that has ended.
                let error = ErrorBody::new(ErrorCode::TokenExpired, "the token has expired; send `auth` with a fresh one");
                return self.complain_of(asked, io, session, error, id);
            }
            if let Err(error) = self.shared.limits.message(&identity, self.shared.clock.uptime()) {
                self.shared.metrics.limits.refused("user_messages");
                return self.complain_of(asked, io, session, error, id);
            }
        }
        match request.message {
            ClientMessage::Ping => self.say(io, session.door, &ServerMessage::Pong {}, id),
            // What was seen last is for the application's statistics and for later engines; delivery goes by the cursor.
            ClientMessage::Pong(_) => {}
            ClientMessage::Subscribe(topics) => self.subscribe(io, session, &identity, id, topics),
            ClientMessage::Unsubscribe(topics) => self.unsubscribe(io, session, id, &topics),
            ClientMessage::Publish(items) => self.publish(io, session, &identity, id, items),
            ClientMessage::Message(message) => self.take_message(io, session, &identity, id, &message),
            ClientMessage::Auth(token) => self.refresh(io, session, id, &token),
        }
    }

    fn subscribe(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        identity: &Arc<Identity>,
        id: Option<&str>,
        topics: Vec<TopicRequest<'_>>,
    ) {
        let mut accepted: Vec<(TopicName, StartRequest)> = Vec::new();
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        let room = self.shared.config.sockets.topics_per_connection_max;
        let mut taken = session.subscriptions.len();
        if topics.is_empty() || topics.len() > room {
            let error = ErrorBody::new(ErrorCode::TooManyTopics, format!("`topics` must name 1 to {room} topics"));
            return self.complain_of(Asked::Subscribe, io, session, error, id);
        }
        let most = self.shared.config.sockets.subscriptions_per_second_max;
        if let Err(wait) = session.ask_for(topics.len(), self.shared.clock.uptime(), most) {
            self.shared.metrics.limits.refused("subscribe_rate");
            let error = ErrorBody::new(ErrorCode::RateLimited, format!("a connection may ask for {most} topics a second"));
            return self.complain_of(Asked::Subscribe, io, session, error.retry_after(wait), id);
        }
        for topic in topics {
            let name = match not_refused(&self.shared, identity, &topic.topic) {
                Ok(name) => name,
                Err(refusal) => {
                    self.shared.metrics.error(refusal.code);
                    refused.push(refusal);
                    continue;
                }
            };
            let known = self.topics.number_of(&name).is_some_and(|number| session.subscription(number).is_some());
            if !known && taken == room {
                let message = format!("a connection may follow at most {room} topics; unsubscribe from one first");
                refused.push(TopicRefusal { topic: name.to_string(), code: ErrorCode::TooManyTopics, message });
            } else if kept.contains(&name) || accepted.iter().any(|(other, _)| *other == name) {
                // Named twice.
            } else if known && topic.from == StartRequest::Latest {
                // What was published since it was followed and is not written yet is not skipped: the cursor stays where it is.
                kept.push(name);
            } else {
                taken += usize::from(!known);
                accepted.push((name, topic.from));
            }
        }
        if accepted.is_empty() {
            return self.subscribed(io, session, id, JoinedTopics { joined: Vec::new(), kept, refused });
        }
        session.awaiting = true;
        io.pause();
        let (hub, mailbox, connection) = (self.hub.clone(), self.mailbox.clone(), io.id());
        let (shared, identity, id) = (Arc::clone(&self.shared), Arc::clone(identity), id.map(Box::from));
        self.runtime.spawn(async move {
            let accepted = shared.readable_of(&identity, accepted, &mut refused).await;
            let mut joined = Vec::with_capacity(accepted.len());
            let mut joining = Joining::new(&hub, &shared.metrics);
            for (name, start) in accepted {
                let result = joining.join(&name, &start).await;
                joined.push((name, result));
            }
            mailbox.note(Note::Joined(connection, id, JoinedTopics { joined, kept, refused }));
        });
    }

    pub(super) fn subscribed(&mut self, io: &mut Io<'_>, session: &mut Session, id: Option<&str>, topics: JoinedTopics) {
        let JoinedTopics { joined, kept, refused: mut errors } = topics;
        let mut subscriptions: Vec<Subscribed> = kept.iter().filter_map(|name| self.where_it_is(session, name)).collect();
        session.subscriptions.reserve_exact(joined.len());
        for (name, result) in joined {
            match result {
                Ok(joined) => {
                    subscriptions.push(Subscribed {
                        topic: name.to_string(),
                        from: joined.from,
                        to: joined.head,
                        complete: joined.gap.is_none(),
                        gap: joined.gap.map(notice),
                    });
                    self.shared.metrics.gaps.inc_by(u64::from(joined.gap.is_some()));
                    if !self.seat(io.id(), session, joined) {
                        return self.close(io, CloseCode::Internal, HISTORY_CHANGED);
                    }
                }
                Err(error) => {
                    let ErrorBody { code, message, .. } = read_failed(&error);
                    errors.push(TopicRefusal { topic: name.to_string(), code, message });
                }
            }
        }
        // The answer goes out before the first event of these subscriptions: both are written in this order by this thread.
        self.answer_to(Asked::Subscribe, io, session.door, &ServerMessage::SubscribeAck { subscriptions, errors }, id);
    }

    /// A subscription that goes on as it is.
    fn where_it_is(&self, session: &Session, name: &TopicName) -> Option<Subscribed> {
        let number = self.topics.number_of(name)?;
        let after = session.subscriptions[session.subscription(number)?].after;
        let local = self.topics.get(number)?;
        let from = Position { epoch: local.epoch, offset: after };
        let to = local.topic().head().filter(|head| head.epoch == from.epoch && head.offset > after).unwrap_or(from);
        Some(Subscribed { topic: name.to_string(), from, to, complete: true, gap: None })
    }

    /// Gives a cursor its seat; a second subscription to the same topic moves the first. False if the topic's history changed
    /// between the join and now: the cursor would count in another one than its neighbours.
    pub(super) fn seat(&mut self, id: ConnectionId, session: &mut Session, joined: Joined) -> bool {
        let (from, head) = (joined.from, joined.head);
        let known = self.topics.number_of(joined.attachment.topic().name()).and_then(|number| self.topics.get(number));
        if known.is_some_and(|local| local.epoch != from.epoch) {
            return false;
        }
        let number = self.topics.open(joined.attachment, from.epoch);
        let replay_to = if from.offset < head.offset { head.offset } else { 0 };
        let at = match session.subscription(number) {
            Some(at) => {
                if session.catch_up.as_ref().is_some_and(|catch_up| catch_up.topic == number) {
                    session.catch_up = None;
                }
                at
            }
            None => {
                let seat = self.topics.sit(number, id.slot());
                let state = State::Live;
                session.subscriptions.push(Subscription { after: 0, replay_to: 0, topic: number, seat, replayed: 0, state });
                self.shared.metrics.subscriptions.inc();
                session.subscriptions.len() - 1
            }
        };
        let subscription = &mut session.subscriptions[at];
        subscription.after = from.offset;
        subscription.replay_to = replay_to;
        subscription.replayed = 0;
        self.enter(subscription, State::Live);
        // The topic may have advanced between the join and now, when nobody listened yet.
        self.advanced.push(number);
        true
    }

    fn unsubscribe(&mut self, io: &mut Io<'_>, session: &mut Session, id: Option<&str>, topics: &[Cow<'_, str>]) {
        let (mut gone, mut errors) = (Vec::new(), Vec::new());
        for topic in topics {
            let number = TopicName::new(topic).ok().and_then(|name| self.topics.number_of(&name));
            match number.filter(|number| session.subscription(*number).is_some()) {
                Some(number) => {
                    self.unseat(session, number);
                    gone.push(topic.to_string());
                }
                None => errors.push(TopicRefusal {
                    topic: shown(topic),
                    code: ErrorCode::NotFound,
                    message: "this connection does not follow that topic".into(),
                }),
            }
        }
        self.answer_to(Asked::Unsubscribe, io, session.door, &ServerMessage::UnsubscribeAck { topics: gone, errors }, id);
    }

    pub(super) fn unseat(&mut self, session: &mut Session, number: u32) {
        let Some(at) = session.subscription(number) else { return };
        let mut subscription = session.subscriptions.swap_remove(at);
        self.enter(&mut subscription, State::Live);
        if session.catch_up.as_ref().is_some_and(|catch_up| catch_up.topic == number) {
            session.catch_up = None;
        }
        self.topics.leave(subscription.topic, subscription.seat);
        self.untidy.push(number);
        self.shared.metrics.subscriptions.dec();
    }

    fn refresh(&mut self, io: &mut Io<'_>, session: &mut Session, id: Option<&str>, token: &str) {
        let asks = self.shared.delegation.as_ref().is_some_and(Delegation::decides_connections);
        if !asks && let Some(result) = self.shared.auth.try_authenticate(token) {
            return self.authenticated(io, session, id, result);
        }
        session.awaiting = true;
        io.pause();
        let (shared, mailbox, connection) = (Arc::clone(&self.shared), self.mailbox.clone(), io.id());
        let (id, token) = (id.map(Box::from), token.to_owned());
        self.runtime.spawn(async move {
            let result = match shared.auth.authenticate(&token).await {
                Ok(identity) => shared.admit(identity).await,
                Err(error) => Err(error),
            };
            mailbox.note(Note::Authenticated(connection, id, result));
        });
    }

    /// Takes a fresh token: the same person goes on with the same cursors, less those that the new token does not grant.
    pub(super) fn authenticated(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        id: Option<&str>,
        result: Result<Arc<Identity>, AuthError>,
    ) {
        let identity = match result {
            Ok(identity) => identity,
            Err(error) => {
                self.shared.metrics.auth_failure(error.code());
                return self.complain(io, session, ErrorBody::new(error.code(), error.public_message()), id);
            }
        };
        let same = session.identity.as_ref().is_some_and(|old| old.subject == identity.subject && old.kind == identity.kind);
        if !same {
            let message = "the token belongs to somebody else; open a new connection for another user";
            return self.complain(io, session, ErrorBody::new(ErrorCode::Forbidden, message), id);
        }
        let expires_at = identity.expires_at_ms.map(seconds);
        session.warned_of_expiry = false;
        self.say(io, session.door, &ServerMessage::AuthAck { expires_at }, id);
        // It was looked at when the token was judged, and revocations may have been made since.
        session.revocations_seen = 0;
        session.identity = Some(identity);
        self.plan_recheck_of_fresh(session);
        let lost = self.topics_lost(session);
        self.take_topics(io, session, lost, "the new token does not allow", id);
    }

    pub(super) fn say_gap(&mut self, io: &mut Io<'_>, session: &Session, topic: &TopicName, gap: Gap) {
        self.shared.metrics.gaps.inc();
        self.say(io, session.door, &ServerMessage::Gap { topic: topic.to_string(), gap: notice(gap) }, None);
    }
}

/// What a request asks for that only a valid token may ask; `None` for what keeps a connection alive or brings a fresh one.
fn needs_token(message: &ClientMessage<'_>) -> Option<Asked> {
    match message {
        ClientMessage::Ping | ClientMessage::Pong(_) | ClientMessage::Auth(_) => None,
        ClientMessage::Subscribe(_) => Some(Asked::Subscribe),
        ClientMessage::Unsubscribe(_) => Some(Asked::Unsubscribe),
        ClientMessage::Publish(_) | ClientMessage::Message(_) => Some(Asked::Other),
    }
}

/// A topic, unless it is certain already that it may not be followed: the rest is what [`Shared::readable_of`] asks about.
pub(super) fn not_refused(shared: &Shared, identity: &Identity, topic: &str) -> Result<TopicName, TopicRefusal> {
    let refusal = |code, message: String| TopicRefusal { topic: shown(topic), code, message };
    let name = TopicName::new(topic).map_err(|error| refusal(ErrorCode::InvalidTopic, error.to_string()))?;
    if shared.right_to_read(identity, &name) == Right::Refused {
        return Err(refusal(ErrorCode::Forbidden, "your token does not allow this topic".into()));
    }
    Ok(name)
}

fn shown(topic: &str) -> String {
    let mut end = topic.len().min(ATTRIBUTE_BYTES_MAX).min(TopicName::BYTES_MAX);
    while !topic.is_char_boundary(end) {
        end -= 1;
    }
    topic[..end].to_owned()
}

pub(crate) fn notice(gap: Gap) -> GapNotice {
    let reason = match gap.reason {
        GapReason::Trimmed => GapCause::Trimmed,
        GapReason::EpochChanged => GapCause::EpochChanged,
        GapReason::UnknownId => GapCause::UnknownId,
        GapReason::Damaged => GapCause::Damaged,
    };
    GapNotice { reason, requested: gap.requested, resume_after: gap.resume_after }
}

pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
