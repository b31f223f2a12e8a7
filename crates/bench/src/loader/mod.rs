//! One thread, one epoll, up to 19,000 client sockets.
//!
//! The loader shares the machine with the server it measures, so it holds no buffer per connection and makes as few system calls as
//! it can: one read into one shared buffer per wake-up, one write per burst. It decides nothing: what arrives is handed to the
//! caller's closure together with an [`Outbox`] for an answer.

mod audience;
mod connection;
mod crowd;
mod frame;
mod inflate;
mod text_protocols;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

pub use audience::{Audience, Writes};
pub use connection::{Arrival, Opening, Outbox, Wire};
pub use crowd::gather;

use connection::Connection;
use inflate::Inflater;

/// Bytes read from one socket at once; also the largest frame that can be taken in.
const BUFFER_BYTES: usize = 512 * 1024;
/// Sockets looked at per wake-up.
const EVENTS_MAX: usize = 1024;

/// The sockets and their readiness.
pub struct Loader {
    poll: Poll,
    ready: Events,
    connections: Slab<Connection>,
    buffer: Box<[u8]>,
    inflater: Inflater,
    received: u64,
}

impl Loader {
    /// A loader without sockets.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            ready: Events::with_capacity(EVENTS_MAX),
            connections: Slab::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            inflater: Inflater::new(BUFFER_BYTES),
            received: 0,
        })
    }

    /// Sockets that are open or opening.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Bytes read from all sockets so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Begins to connect; `Arrival::Open` tells when the connection may be used. Identities are small and reused after a close.
    pub fn connect(&mut self, address: SocketAddr, opening: Opening) -> io::Result<usize> {
        let mut connection = Connection::connect(address, opening)?;
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        self.poll.registry().register(connection.stream(), Token(id), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(connection);
        Ok(id)
    }

    /// Queues messages on one connection and writes them with one call. A closed connection is an error.
    pub fn send(&mut self, id: usize, fill: impl FnOnce(&mut Outbox<'_>)) -> io::Result<()> {
        let connection = self.connections.get_mut(id).ok_or(io::ErrorKind::NotConnected)?;
        fill(&mut connection.outbox());
        connection.flush()
    }

    /// Never reads this socket again, and keeps it open with a small receive buffer, as a stuck client would.
    pub fn stop_reading(&mut self, id: usize) -> io::Result<()> {
        let connection = self.connections.get_mut(id).ok_or(io::ErrorKind::NotConnected)?;
        socket2::SockRef::from(&*connection.stream()).set_recv_buffer_size(8 * 1024)?;
        self.poll.registry().deregister(connection.stream())
    }

    /// Closes one socket at once.
    pub fn close(&mut self, id: usize) {
        self.connections.try_remove(id);
    }

    /// Waits for readiness at most `timeout`, then hands everything that has arrived to `hear`. A connection that closed, or whose
    /// outbox was told to, is gone when this returns.
    pub fn pump(&mut self, timeout: Duration, mut hear: impl FnMut(usize, Arrival<'_>, &mut Outbox<'_>)) -> io::Result<()> {
        match self.poll.poll(&mut self.ready, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.ready {
            let id = event.token().0;
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let ended = event.is_read_closed() || event.is_error();
            let tools = (&mut *self.buffer, &mut self.inflater);
            let goes_on = connection.advance(ended, tools, |arrival, outbox| hear(id, arrival, outbox));
            self.received += connection.take_received();
            if !goes_on {
                self.connections.remove(id);
            }
        }
        Ok(())
    }
}
