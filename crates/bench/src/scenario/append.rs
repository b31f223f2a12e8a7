//! Durable appends: 256 publishers with one event in flight each, acknowledged after an fsync.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Stretch;
use crate::bench::Bench;
use crate::figures::{Outcome, quantile};
use crate::loader::{Arrival, Loader, Opening, gather};
use crate::payload::payload;
use crate::server::Server;
use crate::systems::{Kind, nats, redis, towline};

const PUBLISHERS: usize = 256;
const PAYLOAD_BYTES: usize = 300;
const SPAN: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);

/// Makes the request of publisher `who` for one payload.
type Request = dyn Fn(usize, &[u8]) -> Vec<u8>;

/// A server that appends, its publishers, and how they speak.
struct Stand {
    server: Rc<Server>,
    loader: Loader,
    publishers: HashMap<usize, Publisher>,
    request: Box<Request>,
    /// An answer with these bytes is an acknowledgement.
    acknowledged: &'static [u8],
    sent: u64,
}

#[derive(Clone, Copy)]
struct Publisher {
    who: usize,
    since: Duration,
}

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "append",
        "Durable appends",
        &[
            "256 publishers over 256 connections, each with one event of 300 bytes in flight, each to a topic (subject, stream) of its own; an event counts when its acknowledgement, which follows an fsync, has been read.",
            "Towline: its defaults, through its WebSocket (`publish` messages) and through `POST /api/v1/events` with keep-alive. NATS: one JetStream file stream, `sync_interval: always`, plain TCP protocol with a reply inbox per publisher. Redis: `appendonly yes`, `appendfsync always`, snapshots and rewrites off, one XADD at a time per connection.",
            "Five repetitions of 4 s, interleaved, after a warm-up of 1 s each. CPU is user plus system time of the server's processes.",
        ],
        &[
            "Replication: one node each.",
            "Another disk: how long an fsync takes decides how many appends share one.",
            "The kernel's own threads for the disk are not counted, for any of them.",
        ],
    );
    let mut stands = Vec::new();
    match towline_stands(bench) {
        Ok(both) => stands.extend(both),
        Err(error) => outcome.failed("Towline", &error),
    }
    for (name, stand) in [("NATS JetStream", jetstream(bench)), ("Redis Streams", redis_streams(bench))] {
        match stand {
            Ok(stand) => stands.push(stand),
            Err(error) => outcome.failed(name, &error),
        }
    }
    super::interleave(bench, &mut outcome, 5, stands, |outcome, name, stand| {
        work(bench, stand, bench.span(WARM_UP))?;
        let server = stand.server.clone();
        let stretch = Stretch::begin(&bench.clock, &server);
        let latencies = work(bench, stand, bench.span(SPAN))?;
        let (cpu, wall) = stretch.end();
        outcome.record("per CPU-second", name, "events per CPU-second", latencies.len() as f64 / cpu);
        outcome.record("per second", name, "events per second", latencies.len() as f64 / wall);
        outcome.record("acknowledged after, p50", name, "ms", quantile(&latencies, 0.5));
        outcome.record("acknowledged after, p99", name, "ms", quantile(&latencies, 0.99));
        Ok(())
    });
    outcome
}

/// Publishes for this long; answers how long each acknowledgement took, in milliseconds.
fn work(bench: &Bench, stand: &mut Stand, span: Duration) -> Result<Vec<f64>> {
    let clock = &bench.clock;
    let Stand { loader, publishers, request, acknowledged, sent, .. } = stand;
    let ids: Vec<usize> = publishers.keys().copied().collect();
    let until = clock.uptime() + span;
    let mut in_flight = 0usize;
    let mut latencies = Vec::new();
    let mut trouble: Option<String> = None;
    for id in ids {
        if let Some(publisher) = publishers.get_mut(&id) {
            publisher.since = clock.uptime();
            loader.send(id, |outbox| outbox.send(&request(publisher.who, &payload(*sent, PAYLOAD_BYTES))))?;
            *sent += 1;
            in_flight += 1;
        }
    }
    while in_flight > 0 {
        loader.pump(Duration::from_millis(100), |id, arrival, outbox| {
            let Some(publisher) = publishers.get_mut(&id) else { return };
            match arrival {
                Arrival::Message(answer) if answer.windows(acknowledged.len()).any(|window| window == *acknowledged) => {
                    let now = clock.uptime();
                    latencies.push((now - publisher.since).as_secs_f64() * 1e3);
                    if now < until {
                        publisher.since = now;
                        outbox.send(&request(publisher.who, &payload(*sent, PAYLOAD_BYTES)));
                        *sent += 1;
                    } else {
                        in_flight -= 1;
                    }
                }
                // Welcomes, pings and the like.
                Arrival::Message(answer) if !answer.windows(7).any(|window| window == b"\"error\"") => {}
                Arrival::Message(answer) | Arrival::Refused(answer) => {
                    trouble.get_or_insert_with(|| String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned());
                }
                Arrival::Closed(why) => {
                    trouble.get_or_insert_with(|| why.to_owned());
                }
                Arrival::Open | Arrival::Line(_) => {}
            }
        })?;
        if let Some(why) = trouble {
            bail!("an append was not acknowledged: {why}");
        }
        if clock.uptime() > until + Duration::from_secs(20) {
            bail!("{in_flight} appends were not acknowledged within 20 s");
        }
    }
    Ok(latencies)
}

fn stand(
    bench: &Bench,
    name: &str,
    (server, address): (Rc<Server>, SocketAddr),
    opening: impl FnMut(usize) -> Opening,
    request: impl Fn(usize, &[u8]) -> Vec<u8> + 'static,
    acknowledged: &'static [u8],
) -> Result<(String, Stand)> {
    let mut loader = Loader::new()?;
    let joined = gather(&mut loader, &bench.clock, address, PUBLISHERS, opening)?;
    let publishers = joined.iter().enumerate().map(|(who, one)| (one.id, Publisher { who, since: Duration::ZERO })).collect();
    Ok((name.to_owned(), Stand { server, loader, publishers, request: Box::new(request), acknowledged, sent: 0 }))
}

fn towline_stands(bench: &Bench) -> Result<[(String, Stand); 2]> {
    let system = Kind::Towline.start(bench)?;
    let (server, address) = (Rc::new(system.server), system.address);
    let socket = |who: usize, payload: &[u8]| towline::publish(&topic(who), payload);
    let post = move |who: usize, payload: &[u8]| towline::post(address, &topic(who), &[payload.to_vec()]);
    Ok([
        stand(bench, "Towline, WebSocket", (server.clone(), address), |_| towline::service(address), socket, b"\"offset\"")?,
        stand(bench, "Towline, HTTP", (server, address), |_| towline::poster(), post, b"\"offset\"")?,
    ])
}

fn topic(who: usize) -> String {
    format!("thread:p{who}")
}

fn jetstream(bench: &Bench) -> Result<(String, Stand)> {
    let program = bench.nats_of_pypi()?;
    let (server, address) = nats::start_jetstream(&bench.clock, program, bench.directory()?)?;
    gather(&mut Loader::new()?, &bench.clock, address, 1, |_| nats::create_stream())?;
    let name = format!("NATS JetStream {}", program.version);
    stand(bench, &name, (Rc::new(server), address), nats::stream_publisher, nats::append, b"\"seq\":")
}

fn redis_streams(bench: &Bench) -> Result<(String, Stand)> {
    let program = bench.redis()?;
    let started = redis::start(&bench.clock, program, bench.directory()?)?;
    let name = format!("Redis Streams {}", program.version);
    stand(bench, &name, (Rc::new(started.0), started.1), |_| redis::publisher(), redis::append, b"-")
}
