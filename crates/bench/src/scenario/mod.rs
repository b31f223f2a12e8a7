//! The scenarios, one per file. Each takes the bench and gives an outcome; what cannot be measured is in the outcome too.

mod append;
mod encodings;
mod fanout;
mod handshake;
mod idle;
mod promised;
mod replay;
mod slow;

use std::time::Duration;

use anyhow::Result;
use towline_clock::Clock;

use crate::bench::Bench;
use crate::figures::Outcome;

/// A scenario's name and what runs it.
pub type Scenario = (&'static str, fn(&Bench) -> Outcome);

/// All scenarios, in the order in which they are run and shown.
pub const ALL: [Scenario; 8] = [
    ("idle", idle::run),
    ("fanout", fanout::run),
    ("slow", slow::run),
    ("append", append::run),
    ("replay", replay::run),
    ("handshake", handshake::run),
    ("encodings", encodings::run),
    ("promised", promised::run),
];

/// Runs `measure` for each of `stands` in turn, `repetitions` times over (A, B, A, B, …), so that a slow minute of the machine meets
/// all of them. A stand that fails is noted and leaves.
fn interleave<T>(
    bench: &Bench,
    outcome: &mut Outcome,
    repetitions: usize,
    mut stands: Vec<(String, T)>,
    mut measure: impl FnMut(&mut Outcome, &str, &mut T) -> Result<()>,
) {
    stands.retain(|(name, _)| bench.wants(name));
    for _ in 0..bench.repetitions(repetitions) {
        stands.retain_mut(|(name, stand)| match measure(outcome, name, stand) {
            Ok(()) => true,
            Err(error) => {
                outcome.failed(name, &error);
                false
            }
        });
    }
}

/// CPU time and wall time of a stretch of work.
struct Stretch<'a> {
    clock: &'a Clock,
    server: &'a crate::server::Server,
    cpu: Duration,
    began: Duration,
}

impl<'a> Stretch<'a> {
    fn begin(clock: &'a Clock, server: &'a crate::server::Server) -> Self {
        Self { clock, server, cpu: server.cpu(), began: clock.uptime() }
    }

    /// Seconds of the server's CPU and of the wall since the beginning.
    fn end(self) -> (f64, f64) {
        ((self.server.cpu() - self.cpu).as_secs_f64(), (self.clock.uptime() - self.began).as_secs_f64())
    }
}
