//! How long a test waits before it fails. Bounds for failure only: nothing is decided by how long something takes.

use std::time::Duration;

use towline_clock::Clock;

/// Long enough for a busy machine; a test that works never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, looking again and again.
///
/// # Panics
/// If it does not hold within [`PATIENCE`]; `what` says what was awaited.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let clock = Clock::system();
    while !condition().await {
        assert!(clock.uptime() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
