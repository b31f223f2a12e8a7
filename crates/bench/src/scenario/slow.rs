//! What sockets that never read do to those that do.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::figures::{Outcome, quantile};
use crate::loader::{Audience, Writes};
use crate::systems::Kind;

/// The sockets that are measured.
const READERS: usize = 500;
/// The other sockets.
const OTHERS: usize = 500;
/// Published before measuring, so that every stuck socket's buffers are full and it is far behind: 1,500 times 4 KiB.
const FILL: (usize, usize) = (1_500, 4_096);
const FILL_BURST: usize = 10;
/// The measured stream: 50 messages a second of 128 bytes.
const INTERVAL: Duration = Duration::from_millis(20);
const PAYLOAD_BYTES: usize = 128;
const SPAN: Duration = Duration::from_secs(8);
/// The gateway closes a socket that accepts nothing for 30 s; a run that took that long would not be what it says.
const STUCK_MAX: Duration = Duration::from_secs(28);

#[derive(Clone, Copy)]
enum Others {
    Read,
    NeverRead,
    Absent,
}

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "slow",
        "Slow readers: latency of the others",
        &[
            "1,000 subscribers of one topic, of which 500 never read a byte after subscribing (receive buffer 8 KiB). First 1,500 messages of 4 KiB (6 MB for each socket, more than the kernel buffers for one) are published in bursts of 10 as fast as the readers take them; then 50 messages of 128 bytes a second for 8 s, of which publish-to-delivery latency is taken at the 500 readers.",
            "Against it, interleaved: the same with all 1,000 reading (\"none slow\", the figure that is promised), and with the other 500 absent. A fresh server for each of five repetitions.",
            "Every reader's every delivery is checked; the ratio is of the median p99.",
        ],
        &["Loader and server share the cores: with 1,000 reading, the loader itself reads twice as much as with 500."],
    );
    let stands = [("none slow", Others::Read), ("500 never read", Others::NeverRead), ("the other 500 absent", Others::Absent)];
    let stands = stands.into_iter().map(|(name, others)| (name.to_owned(), others)).collect();
    super::interleave(bench, &mut outcome, 5, stands, |outcome, name, others| {
        let run = measure(bench, *others)?;
        outcome.record("p50", name, "ms", quantile(&run.latencies_ms, 0.5));
        outcome.record("p99", name, "ms", quantile(&run.latencies_ms, 0.99));
        outcome.record("server memory growth", name, "MiB", run.growth_mib);
        Ok(())
    });
    outcome
}

struct Run {
    latencies_ms: Vec<f64>,
    growth_mib: f64,
}

fn measure(bench: &Bench, others: Others) -> Result<Run> {
    let clock = &bench.clock;
    let system = Kind::Towline.start(bench)?;
    let count = if matches!(others, Others::Absent) { READERS } else { READERS + OTHERS };
    let mut audience = Audience::gather(&system, clock, "thread:slow", count)?;
    audience.publish(&system, 1, PAYLOAD_BYTES, Writes::Each)?;
    audience.await_all()?;
    let before = system.server.memory()?;
    // Every other socket, so that both kinds are spread alike over whatever order the server keeps.
    let readers: Vec<usize> = audience.subscribers.iter().copied().step_by(count / READERS).collect();
    if matches!(others, Others::NeverRead) {
        let stuck: Vec<usize> = audience.subscribers.iter().copied().filter(|id| !readers.contains(id)).collect();
        audience.stop_reading(&stuck)?;
    }
    let stuck_since = clock.uptime();
    for _ in 0..FILL.0 / FILL_BURST {
        audience.publish(&system, FILL_BURST, FILL.1, Writes::Each)?;
        audience.await_all()?;
    }
    let mut measured = vec![false; readers.iter().max().map_or(0, |max| max + 1)];
    for id in readers {
        measured[id] = true;
    }
    let mut latencies_ms = Vec::new();
    let first = audience.published();
    let mut sent: Vec<Duration> = Vec::new();
    let until = clock.uptime() + bench.span(SPAN);
    let mut due = clock.uptime();
    while clock.uptime() < until {
        if clock.uptime() >= due {
            sent.push(clock.uptime());
            audience.publish(&system, 1, PAYLOAD_BYTES, Writes::Each)?;
            due += INTERVAL;
        }
        let wait = due.saturating_sub(clock.uptime());
        audience.listen(wait, |id, number| {
            let at = number.checked_sub(first).and_then(|at| sent.get(usize::try_from(at).ok()?));
            if let (Some(true), Some(at)) = (measured.get(id), at) {
                latencies_ms.push((clock.uptime() - *at).as_secs_f64() * 1e3);
            }
        })?;
    }
    audience.await_all()?;
    anyhow::ensure!(
        clock.uptime() < stuck_since + STUCK_MAX,
        "the machine is too slow: stuck sockets would have been closed meanwhile"
    );
    let growth_mib = (system.server.memory()? as f64 - before as f64) / 1_048_576.0;
    Ok(Run { latencies_ms, growth_mib })
}
