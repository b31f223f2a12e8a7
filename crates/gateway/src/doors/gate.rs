//! The gate: what a reactor thread knows and how it answers the reactor's calls. The work itself is in the modules beside.

use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use towline_auth::{AuthError, Identity};
use towline_hub::{CatchUpPage, Hub, Listener};
use towline_log::ReadError;
use towline_protocol::{Asked, CloseCode, ErrorBody, ErrorCode, ServerMessage, Stamp};
use towline_sockets::websocket::Message;
use towline_sockets::{Application, ConnectionId, Connections, Ended, Io, Life, Mailbox};

use super::door::{self, Door};
use super::drain::Drain;
use super::headcount::Headcount;
use super::local_topics::LocalTopics;
use super::publishing::{Answer, Publishes, Wanted};
use super::recheck::Recheck;
use super::requests::HISTORY_CHANGED;
use super::session::{Session, State, Subscription};
use super::survey::{ClosedRing, Survey};
use super::tasks::Tasks;
use super::ticket::{JoinedTopics, Ticket};
use super::view::ClosedView;
use crate::publish::Prepared;
use crate::shared::Shared;

/// One reactor thread's side of the doors.
pub struct Gate {
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) runtime: Handle,
    pub(super) mailbox: Mailbox<Self>,
    pub(super) topics: LocalTopics,
    /// Topics with something new, to be swept when the turn ends.
    pub(super) advanced: Vec<u32>,
    /// Topics with seats to be moved together.
    pub(super) untidy: Vec<u32>,
    pub(super) publishes: Publishes,
    pub(super) appends: Tasks<Vec<Answer>>,
    pub(super) drain: Option<Drain>,
    pub(super) catch_up_serial: u32,
    pub(super) number: usize,
    /// All threads' mailboxes, in the order of their numbers.
    pub(super) colleagues: Arc<OnceLock<Vec<Mailbox<Self>>>>,
    pub(super) closed: ClosedRing,
    connections: [(&'static Door, Gauge); door::ALL.len()],
    buffer: Vec<u8>,
}

/// What other threads tell a gate.
pub enum Note {
    /// A watched topic has something new. Sent once until the gate has looked.
    Advanced(u32),
    /// The answer to a `subscribe`.
    Joined(ConnectionId, Option<Box<str>>, JoinedTopics),
    /// A page for a catch-up.
    Page(ConnectionId, u32, Result<CatchUpPage, ReadError>),
    /// The answers to the `publish` messages of one turn.
    Published(Vec<Answer>),
    /// An append can go on.
    Woken(usize),
    /// The answer to an `auth`.
    Authenticated(ConnectionId, Option<Box<str>>, Result<Arc<Identity>, AuthError>),
    /// Look at some connections for an operator.
    Survey(Box<Survey>),
    /// Who watches these topics?
    Headcount(Headcount),
    /// Which connections ended lately?
    Recall(oneshot::Sender<Vec<ClosedView>>),
    /// Events of a `publish` that nobody asks about any more.
    Settled(ConnectionId, Option<Box<str>>, Prepared),
    /// What became of a look at a connection's identity and topics.
    Rechecked(ConnectionId, Recheck),
    /// A user opened one connection too many, and this is the oldest.
    Superseded(ConnectionId),
    /// Say goodbye to everybody.
    Drain,
}

struct Bell(Mailbox<Gate>);

impl Listener for Bell {
    fn advanced(&self, topic: u32) {
        self.0.note(Note::Advanced(topic));
    }
}

impl Gate {
    pub(super) fn new(
        shared: Arc<Shared>,
        hub: Hub,
        runtime: Handle,
        mailbox: Mailbox<Self>,
        number: usize,
        colleagues: Arc<OnceLock<Vec<Mailbox<Self>>>>,
    ) -> Self {
        let connections = door::ALL.map(|door| (door, shared.metrics.connections(door.name)));
        Self {
            topics: LocalTopics::new(hub.register(Arc::new(Bell(mailbox.clone())))),
            shared,
            hub,
            runtime,
            appends: Tasks::new(mailbox.clone()),
            mailbox,
            advanced: Vec::new(),
            untidy: Vec::new(),
            publishes: Publishes::default(),
            drain: None,
            catch_up_serial: 0,
            number,
            colleagues,
            closed: ClosedRing::new(),
            connections,
            buffer: Vec::new(),
        }
    }

    /// Sends a message in the door's dialect, stamped with an id that is in the logs too.
    pub(super) fn say(&mut self, io: &mut Io<'_>, door: &Door, message: &ServerMessage, correlation_id: Option<&str>) {
        self.answer_to(Asked::Other, io, door, message, correlation_id);
    }

    /// The same as the answer to a request whose refusal looks different on some doors.
    pub(super) fn answer_to(
        &mut self,
        asked: Asked,
        io: &mut Io<'_>,
        door: &Door,
        message: &ServerMessage,
        correlation_id: Option<&str>,
    ) {
        let id = towline_protocol::event::new_event_id();
        if let ServerMessage::Error(error) = message {
            self.shared.metrics.error(error.code);
            tracing::debug!(trace_id = %id, code = error.code.as_str(), door = door.name, "error sent");
        }
        let stamp = Stamp { id: &id, ts_ms: self.shared.clock.unix_ms(), correlation_id, asked };
        self.shared.metrics.clients.replies.inc();
        self.buffer.clear();
        door.dialect.encode_message(message, stamp, &mut self.buffer);
        if door.dialect.is_binary() {
            io.send_binary(&self.buffer);
        } else {
            io.send(&self.buffer);
        }
    }

    /// Tells the client what it did wrong, and closes the connection if it keeps doing so.
    pub(super) fn complain(&mut self, io: &mut Io<'_>, session: &mut Session, error: ErrorBody, correlation_id: Option<&str>) {
        self.complain_of(Asked::Other, io, session, error, correlation_id);
    }

    /// The same about a request whose refusal looks different on some doors.
    pub(super) fn complain_of(
        &mut self,
        asked: Asked,
        io: &mut Io<'_>,
        session: &mut Session,
        error: ErrorBody,
        correlation_id: Option<&str>,
    ) {
        self.answer_to(asked, io, session.door, &ServerMessage::Error(error), correlation_id);
        if session.too_many_errors(self.shared.clock.uptime(), self.shared.config.sockets.errors_max) {
            self.close(io, CloseCode::TooManyErrors, "too many errors within a minute");
        }
    }

    pub(super) fn close(&self, io: &mut Io<'_>, code: CloseCode, reason: &str) {
        io.close(code.number(), reason);
    }

    /// Names a connection: unique within the life of the process.
    pub(super) fn connection_name(&self, id: ConnectionId) -> String {
        format!("{}-{}", self.number, id.serial())
    }

    fn answer(&mut self, connections: &mut Connections<'_, Self>, answers: Vec<Answer>) {
        for Answer { connection, id, wanted, results } in answers {
            if let Some((mut io, session)) = connections.get(connection) {
                self.stored(&mut io, session, id.as_deref(), wanted, results);
            }
        }
    }

    /// A cursor is served from elsewhere now.
    pub(super) fn enter(&self, subscription: &mut Subscription, state: State) {
        let clients = &self.shared.metrics.clients;
        let gauge = |state| match state {
            State::Live => None,
            State::Lagging => Some(&clients.lagging),
            State::CatchingUp => Some(&clients.catching_up),
        };
        if subscription.state != state {
            gauge(subscription.state).map(Gauge::dec);
            gauge(state).map(Gauge::inc);
            subscription.state = state;
        }
    }

    fn count_connection(&self, door: &Door, by: i64) {
        for (known, gauge) in &self.connections {
            if known.name == door.name {
                gauge.inc_by(by);
            }
        }
    }
}

impl Application for Gate {
    type Session = Session;
    type Ticket = Ticket;
    type Note = Note;

    fn opened(&mut self, io: &mut Io<'_>, ticket: Ticket) -> Session {
        let admission = match ticket {
            Ticket::Refused(refused) => {
                self.close(io, refused.code, &refused.reason);
                self.count_connection(refused.door, 1);
                return Session::new(refused.door, None, refused.place);
            }
            Ticket::Admitted(admission) => *admission,
        };
        let door = admission.door;
        self.count_connection(door, 1);
        self.shared.metrics.connections_opened(door.name).inc();
        let mut session = Session::new(door, Some(Arc::clone(&admission.identity)), admission.place);
        session.client = Some(admission.client);
        self.plan_first_recheck(&mut session);
        self.count_in(io.id(), &admission.identity);
        if let Some(deflate) = admission.compression {
            session.compression = Some(deflate.window);
            io.allow_compressed();
        }
        if door.talks {
            let topics = admission.joined.iter().map(|joined| joined.attachment.topic().name().to_string()).collect();
            let welcome = self.welcome(io.id(), door, &admission.identity, topics);
            self.say(io, door, &welcome, None);
        }
        session.subscriptions.reserve_exact(admission.joined.len());
        for joined in admission.joined {
            let gap = joined.gap;
            let topic = joined.attachment.topic().name().clone();
            if !self.seat(io.id(), &mut session, joined) {
                self.close(io, CloseCode::Internal, HISTORY_CHANGED);
                break;
            }
            if let Some(gap) = gap {
                self.say_gap(io, &session, &topic, gap);
            }
        }
        if let Some(topics) = admission.asked {
            self.subscribed(io, &mut session, None, topics);
        }
        if self.shared.draining() {
            self.close(io, CloseCode::Restart, "the server is going away");
        }
        session
    }

    fn message(&mut self, io: &mut Io<'_>, session: &mut Session, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                let began = self.shared.clock.uptime();
                self.request(io, session, text);
                let took = self.shared.clock.uptime().saturating_sub(began);
                self.shared.metrics.clients.message_seconds.observe(took.as_secs_f64());
            }
            Message::Binary(bytes) => self.binary_request(io, session, bytes),
            _ => {}
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, session: &mut Session) {
        self.deliver(io, session);
    }

    fn note(&mut self, connections: &mut Connections<'_, Self>, note: Note) {
        match note {
            Note::Advanced(topic) => self.advanced.push(topic),
            Note::Drain => self.begin_drain(connections),
            Note::Superseded(id) => self.superseded(connections, id),
            Note::Survey(survey) => self.survey(connections, *survey),
            Note::Headcount(asked) => self.count_heads(connections, asked),
            Note::Recall(reply) => drop(reply.send(self.recall())),
            Note::Joined(id, correlation_id, topics) => {
                if let Some((mut io, session)) = connections.get(id) {
                    session.awaiting = false;
                    io.resume();
                    self.subscribed(&mut io, session, correlation_id.as_deref(), topics);
                }
            }
            Note::Page(id, serial, page) => {
                self.shared.metrics.catch_up_reads.dec();
                if let Some((mut io, session)) = connections.get(id) {
                    self.page_came(&mut io, session, serial, page);
                }
            }
            Note::Published(answers) => self.answer(connections, answers),
            Note::Woken(task) => {
                if let Some(answers) = self.appends.go_on(task) {
                    self.answer(connections, answers);
                }
            }
            Note::Authenticated(id, correlation_id, result) => {
                if let Some((mut io, session)) = connections.get(id) {
                    session.awaiting = false;
                    self.authenticated(&mut io, session, correlation_id.as_deref(), result);
                    io.resume();
                }
            }
            Note::Settled(id, correlation_id, prepared) => {
                if let Some((mut io, session)) = connections.get(id) {
                    session.awaiting = false;
                    io.resume();
                    self.store_soon(&mut io, session, correlation_id.as_deref(), Wanted::Results, prepared);
                }
            }
            Note::Rechecked(id, recheck) => {
                if let Some((mut io, session)) = connections.get(id) {
                    self.rechecked(&mut io, session, recheck);
                }
            }
        }
    }

    fn turn_ends(&mut self, connections: &mut Connections<'_, Self>) {
        self.store_publishes();
        for topic in std::mem::take(&mut self.advanced) {
            self.sweep(connections, topic);
        }
        for topic in std::mem::take(&mut self.untidy) {
            self.topics.tidy(topic, |slot, seat| {
                // Also those that have just ended: they give back the seat that they have now.
                if let Some(session) = connections.session_in_slot(slot)
                    && let Some(at) = session.subscription(topic)
                {
                    session.subscriptions[at].seat = seat;
                }
            });
        }
        self.continue_drain(connections);
        let sent = connections.take_sent_bytes();
        if sent > 0 {
            self.shared.metrics.ws_sent_bytes.inc_by(sent);
        }
        let received = connections.take_received_bytes();
        if received > 0 {
            self.shared.metrics.ws_received_bytes.inc_by(received);
        }
    }

    fn tick(&mut self, io: &mut Io<'_>, session: &mut Session) {
        self.watch(io, session);
    }

    fn closed(&mut self, id: ConnectionId, mut session: Session, ended: Ended, life: Life) {
        let left = session.subscriptions.len() as i64;
        for mut subscription in std::mem::take(&mut session.subscriptions) {
            self.enter(&mut subscription, State::Live);
            self.topics.leave(subscription.topic, subscription.seat);
            self.untidy.push(subscription.topic);
        }
        self.shared.metrics.subscriptions.dec_by(left);
        self.shared.metrics.closed(ended.code());
        self.count_connection(session.door, -1);
        if let Some(identity) = &session.identity {
            self.count_out(id, identity);
        }
        self.shared.metrics.clients.lasted(session.door.name, life.age);
        self.remember(id, &mut session, ended, life);
        tracing::debug!(connection = %self.connection_name(id), door = session.door.name, code = ended.code(), "connection ended");
    }
}

/// The public face of a failed read; the details are in the server's log.
pub(super) fn read_failed(error: &ReadError) -> ErrorBody {
    tracing::error!(%error, "a read of the log failed");
    ErrorBody::new(ErrorCode::StorageFailed, "the log could not be read; try again later")
}
