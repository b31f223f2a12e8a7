//! How other threads reach a worker.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::application::Application;
use crate::pipe::Source;
use crate::tls::TlsSession;

/// Names a connection of one worker, and no other that later sits in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// The slot: dense and small, reused after the connection is gone.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// Counts the connections of its worker; no other has it for the next two thousand million connections.
    #[must_use]
    pub fn serial(self) -> u32 {
        self.generation
    }

    pub(crate) fn token(self) -> mio::Token {
        mio::Token((self.generation as usize) << 32 | self.slot as usize)
    }

    pub(crate) fn of(token: mio::Token) -> Self {
        Self { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// A connection on its way to a worker.
pub enum Arrival {
    /// A WebSocket whose handshake is answered, and bytes that came with the request.
    WebSocket(TcpStream, Vec<u8>),
    /// The same over TLS: its session, and bytes that came with the request, decrypted.
    Tls(TcpStream, Box<TlsSession>, Vec<u8>),
    /// The writing end of an HTTP answer's body.
    Stream(Source),
}

pub(crate) enum Letter<A: Application> {
    Arrive(Arrival, A::Ticket),
    Note(A::Note),
    PipeWritable(ConnectionId),
    PipeClosed(ConnectionId),
    Stop,
}

/// The worker has too much waiting: refuse the newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker's mailbox is full")]
pub struct MailboxFull;

/// The way into a worker. Cheap to clone.
pub struct Mailbox<A: Application>(Arc<Inner<A>>);

struct Inner<A: Application> {
    letters: Mutex<Vec<Letter<A>>>,
    waker: mio::Waker,
    /// Set while the worker has been woken and has not yet emptied the box: saves a system call per letter.
    woken: AtomicBool,
    arrivals_max: usize,
}

impl<A: Application> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Application> Mailbox<A> {
    pub(crate) fn new(waker: mio::Waker, arrivals_max: usize) -> Self {
        Self(Arc::new(Inner { letters: Mutex::default(), waker, woken: AtomicBool::new(false), arrivals_max }))
    }

    /// Hands a connection over.
    ///
    /// # Errors
    /// [`MailboxFull`] if the worker does not keep up; the connection is dropped.
    pub fn arrive(&self, arrival: Arrival, ticket: A::Ticket) -> Result<(), MailboxFull> {
        {
            let mut letters = self.0.letters.lock();
            if letters.len() >= self.0.arrivals_max {
                return Err(MailboxFull);
            }
            letters.push(Letter::Arrive(arrival, ticket));
        }
        self.wake();
        Ok(())
    }

    /// Says something to the worker. Never refused: the sender bounds what it sends (one answer per request in flight, one
    /// notice per topic until it was read).
    pub fn note(&self, note: A::Note) {
        self.post(Letter::Note(note));
    }

    pub(crate) fn post(&self, letter: Letter<A>) {
        self.0.letters.lock().push(letter);
        self.wake();
    }

    fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            // An eventfd write fails only if its counter is full, and then the worker is awake.
            let _ = self.0.waker.wake();
        }
    }

    /// Takes all letters into `into`, which must be empty.
    pub(crate) fn empty(&self, into: &mut Vec<Letter<A>>) {
        self.0.woken.store(false, Ordering::Release);
        std::mem::swap(&mut *self.0.letters.lock(), into);
    }
}

pub(crate) fn is_interrupted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
}
