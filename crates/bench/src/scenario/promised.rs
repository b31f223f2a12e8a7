//! The figures that an earlier system promised its users: time to connect, messages per second, and the CPU of 100 quiet
//! connections. (The fourth, memory per connection, is the `idle` scenario.) Beside them the time from publish to delivery.

use std::time::Duration;

use anyhow::Result;

use super::Stretch;
use crate::bench::Bench;
use crate::figures::{Outcome, quantile};
use crate::loader::{Audience, Loader, Writes, gather};
use crate::systems::{Kind, System, towline};

const CONNECTS: usize = 500;
const ROUNDS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
const SPAN: Duration = Duration::from_secs(2);
/// The quiet connections, how often each sends a ping of its own, and for how long they are watched.
const QUIET: (usize, Duration, Duration) = (100, Duration::from_secs(15), Duration::from_secs(45));

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "promised",
        "Connecting, round trips, and quiet connections",
        &[
            "Time to connect: TCP connect, upgrade, identity and the confirmation of one subscription, 500 one after the other.",
            "Publish to delivery: one publisher and one subscriber over WebSocket, 1,000 messages of 128 bytes, one at a time; Towline's are durable (fsync) before they are delivered, the peers' are not. Messages per second: the same pair, bursts of 32 (not with nchan, which numbers the messages of a second with 16 bits and stalls where there are more).",
            "Quiet connections: 100 subscribed connections that each send a ping every 15 s beside the server's own heartbeats, watched for 45 s; CPU of the server as a share of one core.",
        ],
        &["A network: everything is on loopback."],
    );
    let kinds = [Kind::Towline, Kind::Nchan { workers: 2 }, Kind::NatsOfPypi];
    let mut stands = Vec::new();
    for kind in kinds.into_iter().filter(|kind| bench.wants(&kind.label())) {
        match kind.start(bench) {
            Ok(system) => stands.push((system.name.clone(), (kind, system))),
            Err(error) => outcome.failed(&kind.label(), &error),
        }
    }
    super::interleave(bench, &mut outcome, 3, stands, |outcome, name, (kind, system)| {
        connects(bench, outcome, name, system)?;
        let mut audience = round_trips(bench, outcome, name, system)?;
        match kind {
            Kind::Nchan { .. } => Ok(()),
            _ => messages(bench, outcome, name, system, &mut audience),
        }
    });
    if let Err(error) = quiet(bench, &mut outcome) {
        outcome.failed("Towline, 100 quiet connections", &error);
    }
    outcome
}

fn connects(bench: &Bench, outcome: &mut Outcome, name: &str, system: &System) -> Result<()> {
    let mut loader = Loader::new()?;
    let topics = ["thread:connect".to_owned()];
    let mut times = Vec::new();
    for who in 0..CONNECTS {
        let joined = gather(&mut loader, &bench.clock, system.address, 1, |_| system.dialect.subscriber(who, &topics))?;
        times.push(joined[0].took.as_secs_f64() * 1e3);
        loader.close(joined[0].id);
    }
    outcome.record("connect, p50", name, "ms", quantile(&times, 0.5));
    outcome.record("connect, p99", name, "ms", quantile(&times, 0.99));
    Ok(())
}

fn round_trips(bench: &Bench, outcome: &mut Outcome, name: &str, system: &System) -> Result<Audience> {
    // A topic per repetition, so that no earlier message is heard.
    let topic = format!("thread:round-{}", fastrand::u32(..));
    let mut audience = Audience::gather(system, &bench.clock, &topic, 1)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let sent = bench.clock.uptime();
        audience.publish(system, 1, PAYLOAD_BYTES, Writes::Each)?;
        audience.await_all()?;
        times.push((bench.clock.uptime() - sent).as_secs_f64() * 1e3);
    }
    outcome.record("publish to delivery, p50", name, "ms", quantile(&times, 0.5));
    outcome.record("publish to delivery, p99", name, "ms", quantile(&times, 0.99));
    Ok(audience)
}

fn messages(bench: &Bench, outcome: &mut Outcome, name: &str, system: &System, audience: &mut Audience) -> Result<()> {
    let (before, began) = (audience.delivered(), bench.clock.uptime());
    while bench.clock.uptime() < began + bench.span(SPAN) {
        audience.publish(system, 32, PAYLOAD_BYTES, Writes::Each)?;
        audience.await_all()?;
    }
    let seconds = (bench.clock.uptime() - began).as_secs_f64();
    outcome.record("messages per second", name, "messages per second", (audience.delivered() - before) as f64 / seconds);
    Ok(())
}

fn quiet(bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let (count, interval, span) = QUIET;
    let system = Kind::Towline.start(bench)?;
    let mut loader = Loader::new()?;
    let topics = ["thread:quiet".to_owned()];
    let joined = gather(&mut loader, &bench.clock, system.address, count, |who| system.dialect.subscriber(who, &topics))?;
    let began = bench.clock.uptime();
    let span = bench.span(span);
    let stretch = Stretch::begin(&bench.clock, &system.server);
    let mut pinged = 0u32;
    while bench.clock.uptime() < began + span {
        let due = began + interval * pinged / count as u32;
        if bench.clock.uptime() >= due {
            loader.send(joined[pinged as usize % count].id, |outbox| outbox.send(towline::PING))?;
            pinged += 1;
        }
        loader.pump(due.saturating_sub(bench.clock.uptime()), |_, _, _| {})?;
    }
    let (cpu, wall) = stretch.end();
    anyhow::ensure!(loader.len() == count, "{} of {count} connections were left", loader.len());
    outcome.record("CPU of 100 quiet connections", &system.name, "% of a core", cpu / wall * 100.0);
    Ok(())
}
