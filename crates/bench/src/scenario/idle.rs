//! User memory per idle connection.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::figures::Outcome;
use crate::loader::{Loader, Opening, gather};
use crate::systems::{Kind, System, towline};

const CONNECTIONS: usize = 15_000;
/// Opened before the first reading, so that what a server makes once is not counted as the connections'.
const WARM_UP: usize = 64;
/// From the last subscription to the second reading.
const QUIET: Duration = Duration::from_secs(5);
/// How many connections share the third topic.
const GROUP: usize = 100;

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "idle",
        "User memory per idle connection",
        &[
            "15,000 connections, opened 64 at a time, each with 4 subscriptions: a topic of its user, a topic of its own, one shared by 100 and one shared by all.",
            "Towline's connections carry a user each, shown by a JWT; nchan's and NATS's carry no identity.",
            "Memory is anonymous plus shared memory (Pss_Anon + Pss_Shmem) of the server's processes, read when 64 connections are open and again 5 s after the last of 15,000 has subscribed; the difference is divided by the connections between. A fresh server for every repetition.",
            "nchan: 2 workers with 19,000 preallocated connection slots each, which the first reading already contains. NATS: WebSocket without TLS and compression.",
        ],
        &[
            "The kernel's socket buffers are not in it.",
            "What a connection costs while it is being served: buffers in use show under load only.",
        ],
    );
    let kinds = [Kind::Towline, Kind::Nchan { workers: 2 }, Kind::NatsOfDebian, Kind::NatsOfPypi];
    let stands = kinds.into_iter().map(|kind| (kind.label(), kind)).collect();
    super::interleave(bench, &mut outcome, 3, stands, |outcome, _, kind| {
        let system = kind.start(bench)?;
        let bytes = measure(bench, &system, |who| system.dialect.subscriber(who, &topics(who)))?;
        outcome.record("bytes per connection", &system.name, "bytes", bytes);
        Ok(())
    });
    if let Err(error) = parts(bench, &mut outcome) {
        outcome.failed("Towline, in parts", &error);
    }
    outcome
}

/// What of it is the connection's, and what its topics'.
fn parts(bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let system = Kind::Towline.start(bench)?;
    let bare = |who| towline::handshake(system.address, &towline::user_token(&bench.clock, who));
    outcome.record("without a subscription", &system.name, "bytes", measure(bench, &system, bare)?);
    let system = Kind::Towline.start(bench)?;
    let shared = ["thread:1", "thread:2", "thread:3", "thread:4"].map(str::to_owned);
    let bytes = measure(bench, &system, |who| system.dialect.subscriber(who, &shared))?;
    outcome.record("with 4 subscriptions, all to topics that all share", &system.name, "bytes", bytes);
    Ok(())
}

fn measure(bench: &Bench, system: &System, opening: impl Fn(usize) -> Opening) -> Result<f64> {
    let clock = &bench.clock;
    let connections = if bench.quick { CONNECTIONS / 10 } else { CONNECTIONS };
    let mut loader = Loader::new()?;
    gather(&mut loader, clock, system.address, WARM_UP, &opening)?;
    rest(bench, &mut loader, QUIET / 2)?;
    let before = system.server.memory()?;
    gather(&mut loader, clock, system.address, connections - WARM_UP, |at| opening(at + WARM_UP))?;
    rest(bench, &mut loader, QUIET)?;
    let after = system.server.memory()?;
    anyhow::ensure!(loader.len() == connections, "{} of {connections} connections were left", loader.len());
    Ok(after.saturating_sub(before) as f64 / (connections - WARM_UP) as f64)
}

fn topics(who: usize) -> [String; 4] {
    let user = towline::user(who);
    [format!("user:{user}"), format!("thread:own-{who}"), format!("thread:group-{}", who / GROUP), "thread:all".to_owned()]
}

/// Leaves the server alone, but for its pings.
fn rest(bench: &Bench, loader: &mut Loader, span: Duration) -> Result<()> {
    let until = bench.clock.uptime() + span;
    while let Some(left) = until.checked_sub(bench.clock.uptime()).filter(|left| !left.is_zero()) {
        loader.pump(left.max(Duration::from_millis(1)), |_, _, _| {})?;
    }
    Ok(())
}
