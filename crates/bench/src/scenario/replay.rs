//! Replaying 100,000 events of one topic to one client over its socket.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::Stretch;
use crate::bench::Bench;
use crate::figures::Outcome;
use crate::loader::{Arrival, Loader, gather};
use crate::payload::{number_in, payload};
use crate::systems::{Kind, System, towline};

const EVENTS: usize = 100_000;
const PAYLOAD_BYTES: usize = 128;
/// Events per request while the topic is filled.
const BATCH: usize = 250;
const TOPIC: &str = "thread:replay";
const DEADLINE: Duration = Duration::from_secs(60);

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "replay",
        "Replay over one socket",
        &[
            "100,000 events of 128 bytes in one topic, published before; one client connects and subscribes from `earliest`. The time runs from the connect to the last event's arrival; every event's number is checked. Five repetitions after a warm-up.",
        ],
        &["The events are in the page cache: not what a cold disk does.", "One client at a time."],
    );
    if let Err(error) = replay(bench, &mut outcome) {
        outcome.failed("Towline", &error);
    }
    outcome
}

fn replay(bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let system = Kind::Towline.start(bench)?;
    fill(bench, &system)?;
    once(bench, &system)?;
    let stretch = Stretch::begin(&bench.clock, &system.server);
    let repetitions = bench.repetitions(5);
    for _ in 0..repetitions {
        let seconds = once(bench, &system)?;
        outcome.record("per second", &system.name, "events per second", EVENTS as f64 / seconds);
    }
    let (cpu, _) = stretch.end();
    outcome.record("per CPU-second", &system.name, "events per CPU-second", (EVENTS * repetitions) as f64 / cpu);
    Ok(())
}

/// Publishes the events over HTTP, one request at a time.
fn fill(bench: &Bench, system: &System) -> Result<()> {
    let mut loader = Loader::new()?;
    let poster = gather(&mut loader, &bench.clock, system.address, 1, |_| towline::poster())?[0].id;
    for first in (0..EVENTS).step_by(BATCH) {
        let payloads: Vec<Vec<u8>> = (first..first + BATCH).map(|number| payload(number as u64, PAYLOAD_BYTES)).collect();
        loader.send(poster, |outbox| outbox.send(&towline::post(system.address, TOPIC, &payloads)))?;
        let until = bench.clock.uptime() + DEADLINE;
        let mut answered = false;
        let mut trouble: Option<String> = None;
        while !answered {
            loader.pump(Duration::from_millis(100), |_, arrival, _| match arrival {
                Arrival::Message(_) => answered = true,
                Arrival::Refused(why) => trouble = Some(String::from_utf8_lossy(why).into_owned()),
                Arrival::Closed(why) => trouble = Some(why.to_owned()),
                Arrival::Open | Arrival::Line(_) => {}
            })?;
            if let Some(why) = trouble {
                bail!("filling the topic was refused: {why}");
            }
            ensure!(bench.clock.uptime() < until, "filling the topic took too long");
        }
    }
    Ok(())
}

/// Replays once; answers the seconds it took.
fn once(bench: &Bench, system: &System) -> Result<f64> {
    let mut loader = Loader::new()?;
    let began = bench.clock.uptime();
    loader.connect(system.address, towline::replaying(system.address, TOPIC))?;
    let (mut next, mut hint, mut wrong) = (0u64, 0, 0u64);
    let mut closed: Option<String> = None;
    while next < EVENTS as u64 {
        loader.pump(Duration::from_millis(100), |_, arrival, _| match arrival {
            Arrival::Message(message) => {
                if let Some(number) = number_in(message, &mut hint) {
                    wrong += u64::from(number != next);
                    next = number + 1;
                }
            }
            Arrival::Closed(why) => closed = Some(why.to_owned()),
            Arrival::Open | Arrival::Line(_) | Arrival::Refused(_) => {}
        })?;
        if let Some(why) = closed {
            bail!("the socket was lost at event {next}: {why}");
        }
        ensure!(bench.clock.uptime() < began + DEADLINE, "only {next} of {EVENTS} events came within 60 s");
    }
    ensure!(wrong == 0, "{wrong} events were not the one that was due");
    Ok((bench.clock.uptime() - began).as_secs_f64())
}
