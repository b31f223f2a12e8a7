//! Blocking work away from whoever polls: on the Tokio runtime's blocking threads, or, where the poller is on no runtime, on a thread of
//! its own.

use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Starts `work` and resolves with what it returns, or with an error if it panicked or no thread could be had. Dropping the receiver does not
/// stop the work.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let work = move || {
        // Whoever no longer waits does not care.
        let _ = done.send(work());
    };
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => {
            if let Err(error) = thread::Builder::new().name("towline-read".into()).spawn(work) {
                tracing::error!(%error, "no thread for a read of the log");
            }
        }
    }
    result
}
