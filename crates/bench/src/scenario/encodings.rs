//! What an event costs on the wire and in CPU, as JSON and as MessagePack, plain and compressed.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Stretch;
use crate::bench::Bench;
use crate::figures::Outcome;
use crate::loader::{Audience, Writes};
use crate::payload;
use crate::systems::System;
use crate::systems::towline::{self, Speech};

const SUBSCRIBERS: usize = 1_000;
const SPEECHES: [(&str, Speech); 4] = [
    ("JSON", Speech { binary: false, compressed: false }),
    ("JSON, compressed", Speech { binary: false, compressed: true }),
    ("MessagePack", Speech { binary: true, compressed: false }),
    ("MessagePack, compressed", Speech { binary: true, compressed: true }),
];
const MODES: [(&str, usize); 2] = [("one event in flight", 1), ("bursts of 32", 32)];
const SPAN: Duration = Duration::from_secs(3);

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "encodings",
        "Encodings and compression",
        &[
            "1,000 subscribers of one topic, one publisher over WebSocket, events of an agent's step with about 280 bytes of data. One event in flight, and bursts of 32 with one write for all. A server for each encoding, `sockets.compression` on in those that compress, the other settings as they are by default.",
            "Bytes are what a subscriber's socket receives, frame headers included. Every delivery's number is checked; a compressed payload is inflated by the loader once for all who get the same bytes, so that the loader's own work does not weigh on what is measured. CPU is the server's: encoding and compressing once, delivering a thousand times, and the publisher's share.",
            "Five repetitions of 3 s, interleaved, after a warm-up of half a second.",
        ],
        &["Other events have other ratios: a short one gains little, a long one with repetitions much more."],
    );
    let mut stands = Vec::new();
    for (name, speech) in SPEECHES {
        match stand(bench, speech) {
            Ok(stand) => stands.push((name.to_owned(), stand)),
            Err(error) => outcome.failed(name, &error),
        }
    }
    super::interleave(bench, &mut outcome, 5, stands, |outcome, name, (system, audience)| {
        for (mode, burst) in MODES {
            let measured = measure(bench, system, audience, burst, bench.span(SPAN))?;
            outcome.record(&format!("{mode}, wire"), name, "bytes per delivery", measured.bytes);
            outcome.record(&format!("{mode}, CPU"), name, "µs per delivery", measured.cpu_us);
        }
        Ok(())
    });
    outcome
}

fn stand(bench: &Bench, speech: Speech) -> Result<(System, Audience)> {
    let environment = [("TOWLINE_SOCKETS_COMPRESSION", speech.compressed.to_string())];
    let system = towline::start_speaking(&bench.clock, bench.towline()?, bench.directory()?, &environment, speech)?;
    let mut audience = Audience::gather(&system, &bench.clock, "thread:encodings", SUBSCRIBERS)?;
    for (_, burst) in MODES {
        measure(bench, &system, &mut audience, burst, Duration::from_millis(500))?;
    }
    Ok((system, audience))
}

/// Per delivery.
struct Measured {
    bytes: f64,
    cpu_us: f64,
}

fn measure(bench: &Bench, system: &System, audience: &mut Audience, burst: usize, span: Duration) -> Result<Measured> {
    let stretch = Stretch::begin(&bench.clock, &system.server);
    let (delivered, received) = (audience.delivered(), audience.received());
    let until = bench.clock.uptime() + span;
    while bench.clock.uptime() < until {
        audience.publish_made(system, burst, Writes::Together, payload::step)?;
        audience.await_all()?;
    }
    let (cpu, _) = stretch.end();
    let delivered = (audience.delivered() - delivered) as f64;
    ensure!(delivered > 0.0, "nothing was delivered");
    // The publisher's answers are one in a thousand.
    Ok(Measured { bytes: (audience.received() - received) as f64 / delivered, cpu_us: cpu * 1e6 / delivered })
}
