//! The workers as one: started together, stopped together.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use towline_clock::Clock;
use towline_websocket::Limits;

use crate::application::Application;
use crate::mailbox::{Letter, Mailbox};
use crate::worker::{WAKE, Worker};

/// What a reactor may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads, each with its own sockets. One for two cores by default: the others are for whoever feeds them.
    pub workers: usize,
    /// Bounds of what a client may send.
    pub limits: Limits,
    /// A connection whose own replies wait in more bytes than this is not read from until they are gone.
    pub replies_bytes_max: usize,
    /// How long a closing connection may take to answer the close frame.
    pub close_timeout: Duration,
    /// Letters that may wait for a worker before newcomers are refused.
    pub arrivals_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            limits: Limits::default(),
            replies_bytes_max: 16 * 1024,
            close_timeout: Duration::from_secs(5),
            arrivals_max: 4096,
        }
    }
}

/// The running workers.
pub struct Reactor<A: Application> {
    mailboxes: Vec<Mailbox<A>>,
    threads: Vec<JoinHandle<()>>,
}

impl<A: Application> Reactor<A> {
    /// Starts the workers; `make` builds the application of each, and is told its number and mailbox.
    ///
    /// # Errors
    /// If the system gives no threads or no readiness queues.
    pub fn start(settings: &Settings, clock: &Clock, mut make: impl FnMut(usize, Mailbox<A>) -> A) -> io::Result<Self>
    where
        A: Send,
    {
        let mut reactor = Self { mailboxes: Vec::new(), threads: Vec::new() };
        for number in 0..settings.workers.max(1) {
            let poll = Poll::new()?;
            let mailbox = Mailbox::new(Waker::new(poll.registry(), WAKE)?, settings.arrivals_max);
            let application = make(number, mailbox.clone());
            let (settings, clock, own) = (settings.clone(), clock.clone(), mailbox.clone());
            let thread = std::thread::Builder::new()
                .name(format!("sockets-{number}"))
                .spawn(move || Worker::new(poll, own, settings, clock, application).run())?;
            reactor.mailboxes.push(mailbox);
            reactor.threads.push(thread);
        }
        Ok(reactor)
    }

    /// The ways in, one per worker.
    #[must_use]
    pub fn mailboxes(&self) -> &[Mailbox<A>] {
        &self.mailboxes
    }

    /// Drops every connection at once and waits for the threads. To part politely, have the application close them first.
    pub fn stop(mut self) {
        for mailbox in &self.mailboxes {
            mailbox.post(Letter::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a socket worker had panicked");
            }
        }
    }
}
