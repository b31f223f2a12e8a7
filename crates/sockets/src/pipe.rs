//! The pipe between a worker and the body of an HTTP answer: a "socket" for event streams, with the same back-pressure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

/// What may lie between the worker and the HTTP connection. More waits in the log.
const CAPACITY_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// The worker was refused and wants to be told when there is room.
    full: bool,
    ended: bool,
    abandoned: bool,
    reader: Option<Waker>,
    /// Tells the worker: `true` for "writable again", `false` for "the reader is gone".
    notify: Option<Box<dyn Fn(bool) + Send + Sync>>,
}

/// The worker's end.
pub struct Source(Arc<Mutex<State>>);

/// The HTTP answer's end: poll it for bytes. Dropping it tells the worker that the client is gone.
pub struct PipeBody(Arc<Mutex<State>>);

/// A pipe with nothing in it.
#[must_use]
pub fn pipe() -> (Source, PipeBody) {
    let state = Arc::new(Mutex::new(State::default()));
    (Source(Arc::clone(&state)), PipeBody(state))
}

impl Source {
    /// A new pipe: the worker's end and the body's.
    #[must_use]
    pub fn pair() -> (Self, PipeBody) {
        pipe()
    }

    pub(crate) fn on_change(&self, notify: Box<dyn Fn(bool) + Send + Sync>) {
        let abandoned = {
            let mut state = self.0.lock();
            state.notify = Some(notify);
            state.abandoned
        };
        if abandoned {
            tell(&self.0, false);
        }
    }

    /// Takes as much as fits; `None` once the reader is gone.
    pub(crate) fn write(&self, slices: &[std::io::IoSlice<'_>]) -> Option<usize> {
        let mut state = self.0.lock();
        if state.abandoned {
            return None;
        }
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let take = total.min(CAPACITY_BYTES.saturating_sub(state.bytes));
        if take < total {
            state.full = true;
        }
        if take > 0 {
            let mut block = Vec::with_capacity(take);
            for slice in slices {
                let part = slice.len().min(take - block.len());
                block.extend_from_slice(&slice[..part]);
            }
            state.bytes += take;
            state.waiting.push_back(block.into());
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(take)
    }

    pub(crate) fn end(&self) {
        let reader = {
            let mut state = self.0.lock();
            state.ended = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.end();
        self.0.lock().notify = None;
    }
}

impl PipeBody {
    /// The next bytes; `None` when the worker ended the stream and all was taken.
    pub fn poll_bytes(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let (next, was_full) = {
            let mut state = self.0.lock();
            match state.waiting.pop_front() {
                Some(block) => {
                    state.bytes -= block.len();
                    (Some(block), std::mem::take(&mut state.full))
                }
                None if state.ended => return Poll::Ready(None),
                None => {
                    state.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        if was_full {
            tell(&self.0, true);
        }
        Poll::Ready(next)
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        tell(&self.0, false);
    }
}

/// Calls the worker without holding the lock that the worker's own calls take.
fn tell(state: &Mutex<State>, writable: bool) {
    let notify = state.lock().notify.take();
    if let Some(notify) = notify {
        notify(writable);
        let mut state = state.lock();
        if !state.ended {
            state.notify = Some(notify);
        }
    }
}
