//! Futures that a reactor thread polls itself. An append's answer comes from the log's own thread: a trip through the runtime would
//! cost two more thread switches per commit. The log's futures may be polled on any thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;
use towline_sockets::Mailbox;

use super::gate::{Gate, Note};

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The futures of one worker.
pub struct Tasks<T> {
    mailbox: Mailbox<Gate>,
    running: Slab<(Running<T>, Waker)>,
}

/// Knocks at the worker's door when a future can go on.
struct Knock {
    mailbox: Mailbox<Gate>,
    task: usize,
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.mailbox.note(Note::Woken(self.task));
    }
}

impl<T> Tasks<T> {
    pub(super) fn new(mailbox: Mailbox<Gate>) -> Self {
        Self { mailbox, running: Slab::new() }
    }

    /// Begins a future; its result, if it has one at once.
    pub(super) fn begin(&mut self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let task = self.running.vacant_key();
        let waker = Waker::from(Arc::new(Knock { mailbox: self.mailbox.clone(), task }));
        self.running.insert((Box::pin(future), waker));
        self.go_on(task)
    }

    /// Polls a future that knocked; its result, if it is done. A late knock of one that is gone does nothing, or polls its
    /// successor once too often.
    pub(super) fn go_on(&mut self, task: usize) -> Option<T> {
        let (future, waker) = self.running.get_mut(task)?;
        match future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                drop(self.running.remove(task));
                Some(result)
            }
        }
    }
}
