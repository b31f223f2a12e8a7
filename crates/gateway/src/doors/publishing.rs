//! What clients publish, and what they say to the application: stored with all that one turn of the worker brings.

use std::sync::Arc;

use towline_auth::Identity;
use towline_protocol::{ErrorBody, ErrorCode, PublishItem, PublishResult, ServerMessage};
use towline_sockets::{ConnectionId, Io};

use super::gate::{Gate, Note};
use super::session::Session;
use crate::inbox;
use crate::publish::{self, Prepared};

/// Publishes of one connection that may be under way: a pipeline, not a queue.
const PUBLISHES_IN_FLIGHT_MAX: u16 = 32;
/// What one call of the log is given at most, so that a busy turn does not become one huge batch.
const TOGETHER_EVENTS_MAX: usize = 4096;
const TOGETHER_BYTES_MAX: usize = 1 << 20;

/// What became of one `publish`.
pub struct Answer {
    pub(super) connection: ConnectionId,
    pub(super) id: Option<Box<str>>,
    pub(super) wanted: Wanted,
    pub(super) results: Vec<PublishResult>,
}

/// Which acknowledgement somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One result per event that was published.
    Results,
    /// That a message to the application is in its inbox.
    MessageAck,
}

/// What was published in this turn, by all connections of the worker.
#[derive(Default)]
pub struct Publishes {
    requests: Vec<Prepared>,
    askers: Vec<(ConnectionId, Option<Box<str>>, Wanted)>,
    events: usize,
    bytes: usize,
}

impl Gate {
    pub(super) fn publish(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        identity: &Arc<Identity>,
        id: Option<&str>,
        items: Vec<PublishItem<'_>>,
    ) {
        let batch_max = self.shared.config.events.batch_events_max;
        if items.is_empty() || items.len() > batch_max {
            let error = ErrorBody::new(ErrorCode::InvalidFormat, format!("`data.events` must hold 1 to {batch_max} events"));
            return self.complain(io, session, error, id);
        }
        if let Err(error) = self.shared.limits.publish(identity, items.len(), self.shared.clock.uptime()) {
            self.shared.metrics.limits.refused("publish_rate");
            // Not counted towards 4429: a publisher with many requests under way learns of its limit by all of their answers.
            return self.say(io, session.door, &ServerMessage::Error(error), id);
        }
        let publisher = self.shared.publisher(identity);
        let mut prepared = publish::prepare(publisher, items.into_iter().map(Ok), &self.shared.config.events.limits());
        if prepared.undecided().is_empty() {
            return self.store_soon(io, session, id, Wanted::Results, prepared);
        }
        session.awaiting = true;
        io.pause();
        let (shared, mailbox, connection) = (Arc::clone(&self.shared), self.mailbox.clone(), io.id());
        let (identity, id) = (Arc::clone(identity), id.map(Box::from));
        self.runtime.spawn(async move {
            shared.settle(&identity, &mut prepared).await;
            mailbox.note(Note::Settled(connection, id, prepared));
        });
    }

    /// Stores with all that this turn brings, and answers then.
    pub(super) fn store_soon(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        id: Option<&str>,
        wanted: Wanted,
        prepared: Prepared,
    ) {
        session.in_flight += 1;
        if session.in_flight >= PUBLISHES_IN_FLIGHT_MAX {
            io.pause();
        }
        self.publishes.events += prepared.accepted();
        self.publishes.bytes += prepared.body_bytes();
        self.publishes.requests.push(prepared);
        self.publishes.askers.push((io.id(), id.map(Box::from), wanted));
        if self.publishes.events >= TOGETHER_EVENTS_MAX || self.publishes.bytes >= TOGETHER_BYTES_MAX {
            self.store_publishes();
        }
    }

    /// Appends what all connections of this turn published in one call: one hand-over, one commit, one answer.
    pub(super) fn store_publishes(&mut self) {
        if self.publishes.requests.is_empty() {
            return;
        }
        let Publishes { requests, askers, .. } = std::mem::take(&mut self.publishes);
        let stored = self.shared.store_together(requests);
        let answers = async move {
            let answers = askers.into_iter().zip(stored.await);
            answers.map(|((connection, id, wanted), results)| Answer { connection, id, wanted, results }).collect()
        };
        if let Some(answers) = self.appends.begin(answers) {
            self.mailbox.note(Note::Published(answers));
        }
    }

    pub(super) fn stored(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        id: Option<&str>,
        wanted: Wanted,
        results: Vec<PublishResult>,
    ) {
        session.in_flight -= 1;
        if !session.awaiting && session.in_flight < PUBLISHES_IN_FLIGHT_MAX {
            io.resume();
        }
        match wanted {
            Wanted::Results => self.say(io, session.door, &ServerMessage::PublishAck { results }, id),
            Wanted::MessageAck => match inbox::stored_at(results) {
                Ok(at) => self.acknowledge(io, session, id, at),
                Err(error) => self.complain(io, session, error, id),
            },
        }
    }
}
