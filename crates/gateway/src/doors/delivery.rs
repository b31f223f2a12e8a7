//! Delivery: moving cursors over shared frames, as far as each socket goes.

use std::io::IoSlice;
use std::sync::Arc;

use smallvec::SmallVec;
use towline_hub::{Run, Served, progress, slices};
use towline_log::{Gap, GapReason};
use towline_protocol::{Dialect, Offset, Position, ServerMessage, TopicName, cursor};
use towline_sockets::{Connections, Io};

use super::gate::Gate;
use super::session::{Session, State};

/// An event stream's frames get a line of their own each, so they are copied, in pieces of about this size.
const STREAM_PIECE_BYTES: usize = 16 * 1024;

/// What the last subscriber of a sweep was served: most of the others stand at the same place.
struct SweepCache {
    format: usize,
    after: Offset,
    runs: SmallVec<[Arc<Run>; 2]>,
}

/// How a write went.
pub(super) enum Written {
    /// Everything went out.
    All,
    /// The socket is full: it goes on when it is writable.
    Part,
}

impl Gate {
    /// A topic has something new: each watcher whose socket takes it gets it.
    pub(super) fn sweep(&mut self, connections: &mut Connections<'_, Self>, number: u32) {
        let Some(local) = self.topics.get(number) else { return };
        let topic = Arc::clone(local.topic());
        let Some(head) = topic.look(self.topics.listener(), number) else { return };
        if head.epoch != local.epoch {
            return self.new_epoch(connections, number, head);
        }
        let mut cache: Option<SweepCache> = None;
        let watchers = local.watchers();
        for seat in 0..watchers {
            let Some(slot) = self.topics.get(number).and_then(|local| local.watcher(seat)) else { continue };
            let Some((mut io, session)) = connections.in_slot(slot) else { continue };
            let Some(at) = session.subscription(number) else { continue };
            let subscription = &session.subscriptions[at];
            if !io.is_clear() || subscription.state == State::CatchingUp || session.door.dialect == Dialect::Sse {
                // Its own turn comes when the socket takes more, or now where delivery is not shared.
                if io.is_clear() {
                    self.deliver(&mut io, session);
                } else if io.is_blocked() {
                    self.lags(session, at);
                }
                continue;
            }
            let (format, after) = (session.format(), subscription.after);
            if cache.as_ref().is_none_or(|cache| cache.format != format || cache.after != after) {
                match topic.serve(format, head.epoch, after) {
                    Served::Runs(runs) => cache = Some(SweepCache { format, after, runs }),
                    Served::Nothing | Served::Behind | Served::OtherHistory => {
                        self.deliver(&mut io, session);
                        continue;
                    }
                }
            }
            let Some(cache) = &cache else { continue };
            if let Written::All = self.write_runs(&mut io, session, at, &cache.runs)
                && session.subscriptions[at].after < head.offset
            {
                self.deliver(&mut io, session);
            }
        }
    }

    /// Moves all cursors of a connection as far as its socket goes.
    pub(super) fn deliver(&mut self, io: &mut Io<'_>, session: &mut Session) {
        if session.catch_up.is_some() {
            self.write_pages(io, session);
        }
        let mut at = 0;
        while at < session.subscriptions.len() && io.is_clear() {
            if session.subscriptions[at].state != State::CatchingUp {
                self.deliver_topic(io, session, at);
            }
            at += 1;
        }
    }

    fn deliver_topic(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize) {
        let number = session.subscriptions[at].topic;
        let Some((topic, epoch)) = self.topics.get(number).map(|local| (Arc::clone(local.topic()), local.epoch)) else { return };
        while io.is_clear() {
            match topic.serve(session.format(), epoch, session.subscriptions[at].after) {
                Served::Runs(runs) => match self.write_runs(io, session, at, &runs) {
                    Written::All => {}
                    Written::Part => return self.lags(session, at),
                },
                Served::Nothing => return self.reached_head(io, session, at, topic.name()),
                Served::Behind => return self.begin_catch_up(io, session, at),
                // The sweep that comes next tells the client and moves the cursor.
                Served::OtherHistory => return,
            }
        }
    }

    fn lags(&self, session: &mut Session, at: usize) {
        let subscription = &mut session.subscriptions[at];
        if subscription.state == State::Live {
            self.enter(subscription, State::Lagging);
            self.shared.metrics.lagging.inc();
        }
    }

    fn reached_head(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize, topic: &TopicName) {
        let subscription = &mut session.subscriptions[at];
        if subscription.state == State::Lagging {
            self.enter(subscription, State::Live);
            self.shared.metrics.rejoined.inc();
        }
        if subscription.replay_to == 0 || subscription.after < subscription.replay_to {
            return;
        }
        let (replayed, offset) = (u64::from(subscription.replayed), subscription.after);
        subscription.replay_to = 0;
        let Some(epoch) = self.topics.get(subscription.topic).map(|local| local.epoch) else { return };
        self.shared.metrics.replay_events.observe(replayed as f64);
        if session.door.talks {
            let caught_up = ServerMessage::CaughtUp { topic: topic.to_string(), replayed, epoch, offset };
            self.say(io, session.door, &caught_up, None);
        }
    }

    /// Writes what follows the cursor and moves it.
    pub(super) fn write_runs(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize, runs: &[Arc<Run>]) -> Written {
        if session.door.dialect == Dialect::Sse {
            return self.write_stream(io, session, at, runs);
        }
        let subscription = &mut session.subscriptions[at];
        let taken = io.write(&slices(runs, subscription.after));
        let progress = progress(runs, subscription.after, taken);
        if !progress.rest.is_empty() {
            io.hold(progress.rest);
        }
        subscription.after = progress.after;
        subscription.replayed = subscription.replayed.saturating_add(progress.frames as u32);
        self.shared.metrics.frames_delivered.inc_by(progress.frames);
        if progress.complete { Written::All } else { Written::Part }
    }

    /// The same for an event stream, where each frame has the positions of all topics in front.
    fn write_stream(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize, runs: &[Arc<Run>]) -> Written {
        let after = session.subscriptions[at].after;
        let mut piece = Vec::with_capacity(STREAM_PIECE_BYTES);
        for (offset, frame) in runs.iter().flat_map(|run| run.frames_after(after)) {
            let subscription = &mut session.subscriptions[at];
            subscription.after = offset;
            subscription.replayed = subscription.replayed.saturating_add(1);
            self.shared.metrics.frames_delivered.inc();
            let positions = session.subscriptions.iter().filter_map(|subscription| {
                let local = self.topics.get(subscription.topic)?;
                Some((local.name(), Position { epoch: local.epoch, offset: subscription.after }))
            });
            piece.extend_from_slice(format!("id: {}\n", cursor::encode_many(positions)).as_bytes());
            piece.extend_from_slice(frame);
            if piece.len() >= STREAM_PIECE_BYTES {
                if !write_piece(io, &piece) {
                    return Written::Part;
                }
                piece.clear();
            }
        }
        if write_piece(io, &piece) { Written::All } else { Written::Part }
    }

    /// Continuity was lost: every cursor of the topic goes on in the new history, and is told so.
    fn new_epoch(&mut self, connections: &mut Connections<'_, Self>, number: u32, head: Position) {
        let Some(local) = self.topics.get_mut(number) else { return };
        let old = std::mem::replace(&mut local.epoch, head.epoch);
        let name = local.name().clone();
        let watchers = local.watchers();
        for seat in 0..watchers {
            let Some(slot) = self.topics.get(number).and_then(|local| local.watcher(seat)) else { continue };
            let Some((mut io, session)) = connections.in_slot(slot) else { continue };
            let Some(at) = session.subscription(number) else { continue };
            let requested = Some(Position { epoch: old, offset: session.subscriptions[at].after });
            // A page that is on its way belongs to the old history.
            if session.catch_up.as_ref().is_some_and(|catch_up| catch_up.topic == number) {
                session.catch_up = None;
            }
            let subscription = &mut session.subscriptions[at];
            // From the beginning of the new history: what it holds already has not been seen by anybody here.
            (subscription.after, subscription.replay_to) = (0, 0);
            self.enter(subscription, State::Live);
            let gap = Gap { reason: GapReason::EpochChanged, requested, resume_after: Position::start_of(head.epoch) };
            self.say_gap(&mut io, session, &name, gap);
        }
        // Their gaps are queued; what follows is delivered behind them.
    }
}

fn write_piece(io: &mut Io<'_>, piece: &[u8]) -> bool {
    if piece.is_empty() {
        return true;
    }
    let taken = io.write(&[IoSlice::new(piece)]);
    if taken < piece.len() {
        io.hold(&piece[taken..]);
    }
    taken == piece.len()
}
