//! Deliveries per second of the server's CPU, from one publisher to 1,000 subscribers.

use std::time::Duration;

use anyhow::Result;

use super::Stretch;
use crate::bench::Bench;
use crate::figures::Outcome;
use crate::loader::{Audience, Writes};
use crate::systems::{Kind, System};

const SUBSCRIBERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
/// The figures: one message in flight, and bursts of 32 as a client library and as a batch would write them.
const MODES: [(&str, usize, Writes); 3] = [
    ("one message in flight", 1, Writes::Each),
    ("bursts of 32", 32, Writes::Each),
    ("bursts of 32 in one write", 32, Writes::Together),
];
const SPAN: Duration = Duration::from_secs(3);

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "fanout",
        "Deliveries per second of server CPU",
        &[
            "1,000 subscribers of one topic, one publisher over WebSocket, JSON payloads of 128 bytes. One message in flight: the next one is published when all 1,000 have the last. Bursts of 32: the next burst is published when all 32,000 deliveries have been read; 32 messages with a write each, as a client library sends them one after the other, or with one write for all.",
            "Every delivery's number is checked: a lost, doubled or reordered message fails the run.",
            "Five repetitions of 3 s, interleaved over the systems, after a warm-up of 1 s each. CPU is user plus system time of all the server's processes.",
            "Towline keeps every event durably (fsync before it is acknowledged) and wraps it in an envelope with id, topic, time and position; the peers keep messages in memory and deliver the bare payload.",
            "nchan: access_log off, a buffer of 10,000 messages, 1 or 2 nginx workers. NATS: core NATS over WebSocket without TLS and compression, defaults otherwise.",
        ],
        &[
            "Loader and server share the cores, so deliveries per second of wall time say little about either.",
            "One topic, one publisher; not many topics at once.",
        ],
    );
    let kinds = [Kind::Towline, Kind::Nchan { workers: 2 }, Kind::Nchan { workers: 1 }, Kind::NatsOfDebian, Kind::NatsOfPypi];
    let mut stands = Vec::new();
    for kind in kinds.into_iter().filter(|kind| bench.wants(&kind.label())) {
        match stand(bench, kind) {
            Ok(stand) => stands.push((stand.0.name.clone(), stand)),
            Err(error) => outcome.failed(&kind.label(), &error),
        }
    }
    super::interleave(bench, &mut outcome, 5, stands, |outcome, name, (system, audience)| {
        for (figure, burst, writes) in MODES {
            let (delivered, cpu, wall) = measure(bench, system, audience, (burst, writes), bench.span(SPAN))?;
            outcome.record(figure, name, "deliveries per CPU-second", delivered / cpu);
            outcome.record(&format!("{figure}, wall"), name, "deliveries per second", delivered / wall);
        }
        Ok(())
    });
    outcome
}

fn stand(bench: &Bench, kind: Kind) -> Result<(System, Audience)> {
    let system = kind.start(bench)?;
    let mut audience = Audience::gather(&system, &bench.clock, "thread:fanout", SUBSCRIBERS)?;
    for (_, burst, writes) in MODES {
        measure(bench, &system, &mut audience, (burst, writes), Duration::from_millis(500))?;
    }
    Ok((system, audience))
}

/// Publishes for this long; answers deliveries, seconds of CPU and seconds.
fn measure(
    bench: &Bench,
    system: &System,
    audience: &mut Audience,
    (burst, writes): (usize, Writes),
    span: Duration,
) -> Result<(f64, f64, f64)> {
    let stretch = Stretch::begin(&bench.clock, &system.server);
    let (before, until) = (audience.delivered(), bench.clock.uptime() + span);
    while bench.clock.uptime() < until {
        audience.publish(system, burst, PAYLOAD_BYTES, writes)?;
        audience.await_all()?;
    }
    let (cpu, wall) = stretch.end();
    Ok(((audience.delivered() - before) as f64, cpu, wall))
}
